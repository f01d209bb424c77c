package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Enrolment works on a site file whose certificates are not there yet, and says
// what comes next.
func TestEnrol(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "site.yaml")
	text := "site: {id: EPN-1}\nuplink: {broker: \"ssl://broker.example:8883\", tls: {ca: /no/ca.pem, cert: /no/agent.pem, key: /no/agent.key}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := invoke("enrol", "--config", file, "--out", folder)
	if code != 0 || !strings.Contains(out, "--install CERTIFICATE") || !strings.Contains(out, filepath.Join(folder, "agent.key.csr")) {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if info, err := os.Stat(filepath.Join(folder, "agent.key.new")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info, err)
	}
	for _, tt := range []struct {
		name string
		args []string
		want string
		code int
	}{
		{"a key waits", []string{"--out", folder}, "there is a key that waits", 1},
		{"a key waits, forced", []string{"--out", folder, "--force"}, "", 0},
		{"the certificate is not there", []string{"--install", "/no/such.pem"}, "open /no/such.pem", 1},
		{"a certificate that is none", []string{"--out", folder, "--install", file}, "not a PEM certificate", 1},
		{"a site file that is not there", []string{"--config", "/no/site.yaml"}, "/no/site.yaml", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, _, errs := invoke(append([]string{"enrol", "--config", file}, tt.args...)...)
			if code != tt.code || !strings.Contains(errs, tt.want) {
				t.Errorf("exit %d, want %d and %q:\n%s", code, tt.code, tt.want, errs)
			}
		})
	}
}
