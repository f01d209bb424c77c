package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"lvagent/agent/credentials"
	"lvagent/configs"
)

func enrolCommand() *cobra.Command {
	var config, out, install, ca string
	var force bool
	c := &cobra.Command{
		Use:   "enrol",
		Short: "Make the agent's key, and put its certificate in place",
		Long: `Makes an ECDSA P-256 key on this device, which never leaves it, and a request
for a certificate in the name of site.id. The key in use stays until the
certificate is there.

With --install it checks the certificate that the CA issued (key, name, dates,
chain, use) and puts it in place with the key. A running agent connects with it
within a quarter of an hour by itself.`,
		Example: "  lvagent enrol --config /etc/lvagent/site.yaml\n  lvagent enrol --config /etc/lvagent/site.yaml --install agent.pem",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Other faults do not matter here: the certificates may be one of them.
			cfg, _, faults := configs.Load(config)
			switch {
			case cfg == nil:
				printFaults(cmd.ErrOrStderr(), faults)
				return errFault
			case !configs.ValidID(cfg.Site.ID):
				return fmt.Errorf("enrol: %s: site.id %q is no name for a certificate", config, cfg.Site.ID)
			}
			files := credentials.Files{CA: cfg.Uplink.TLS.CA, Cert: cfg.Uplink.TLS.Cert, Key: cfg.Uplink.TLS.Key}
			if files.Key == "" || files.Cert == "" {
				return fmt.Errorf("enrol: %s: uplink.tls names no files of key and certificate", config)
			}
			if out != "" {
				files.Key, files.Cert = filepath.Join(out, filepath.Base(files.Key)), filepath.Join(out, filepath.Base(files.Cert))
			}
			if ca != "" {
				files.CA = ca
			}
			w := cmd.OutOrStdout()
			if install != "" {
				text, err := os.ReadFile(install)
				if err != nil {
					return fmt.Errorf("enrol: %w", err)
				}
				leaf, err := files.Install(cfg.Site.ID, text, time.Now())
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "%s: certificate of %s, valid until %s\n", files.Cert, leaf.Subject.CommonName, leaf.NotAfter.UTC().Format(time.RFC3339))
				return nil
			}
			key, request, err := files.Enrol(cfg.Site.ID, force)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%s: the new key; it stays here\n%s: the request, in the name of %s\n\nNext:\n"+
				"  1. have the CA sign %s, for authentication as a client\n"+
				"  2. lvagent enrol --config %s --install CERTIFICATE\n", key, request, cfg.Site.ID, request, config)
			return nil
		},
	}
	c.Flags().StringVar(&config, "config", "/etc/lvagent/site.yaml", "the site file")
	c.Flags().StringVar(&out, "out", "", "folder of key and certificate (default: those of uplink.tls)")
	c.Flags().StringVar(&install, "install", "", "file of the certificate to put in place")
	c.Flags().StringVar(&ca, "ca", "", "with --install: file of the CA that signed it (default: uplink.tls.ca)")
	c.Flags().BoolVar(&force, "force", false, "overwrite a key that waits for its certificate")
	return c
}
