package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"lvagent/agent"
	"lvagent/agent/points"
	"lvagent/configs"
)

func pointsCommand() *cobra.Command {
	var config, format string
	c := &cobra.Command{
		Use:   "points",
		Short: "Print the DNP3 point list",
		Long: `Prints the DNP3 point list: index, name, unit, event class, deadband, and where the
same is said on MQTT. Without --config it is the template that holds for every
substation; with it, the names of this one's ways and groups. As xml it is a
device profile after the DNP3 schema of 2014.`,
		Example: "  lvagent points --format md\n  lvagent points --config /etc/lvagent/site.yaml --format csv > points.csv\n  lvagent points --config /etc/lvagent/site.yaml --format xml > profile.xml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			site, profile := &points.Site{}, &points.Profile{Device: "lvagent", Version: agent.Version, Name: "any substation", Address: 1024, Unsolicited: true}
			if config != "" {
				cfg, _, faults := configs.Load(config)
				if len(faults) > 0 || cfg == nil {
					printFaults(c.ErrOrStderr(), faults)
					return errFault
				}
				site = agent.Slots(cfg)
				profile.Name, profile.Listen, profile.Secure = cfg.Site.ID, cfg.DNP3.Listen, cfg.DNP3.TLS.Cert != ""
				profile.Address = uint16(cfg.DNP3.Address)
				for _, m := range cfg.DNP3.Masters {
					profile.Masters = append(profile.Masters, uint16(m.Address))
				}
			}
			write := map[string]func(io.Writer, []points.Row) error{
				"md": points.WriteMarkdown, "csv": points.WriteCSV, "json": points.WriteJSON,
				"xml": func(w io.Writer, rows []points.Row) error { return points.WriteProfile(w, profile, rows) },
			}[format]
			if write == nil {
				return fmt.Errorf("points: --format %q is none of md, csv, json, xml", format)
			}
			return write(c.OutOrStdout(), points.List(site))
		},
	}
	c.Flags().StringVar(&config, "config", "", "a site file whose ways and groups have their names in the list")
	c.Flags().StringVar(&format, "format", "md", "md, csv, json, or xml (a device profile)")
	return c
}
