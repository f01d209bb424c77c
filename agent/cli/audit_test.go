package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The example of the page is whole; with one figure altered, its place is named.
func TestAuditVerify(t *testing.T) {
	page, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```jsonl\n")
	example, _, _ = strings.Cut(example, "```")
	tests := []struct {
		name, text string
		code       int
		want       string
	}{
		{"whole", example, 0, "3 records, no fault"},
		{"altered", strings.Replace(example, `"source":"c-17","to":"active"`, `"source":"c-18","to":"active"`, 1), 1, "BROKEN at record 3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "audit.jsonl")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if code, out, errs := invoke("audit", "verify", file); code != tt.code || !strings.Contains(out, tt.want) {
				t.Errorf("exit %d, %s%s, want %d with %q", code, out, errs, tt.code, tt.want)
			}
		})
	}
	if code, _, errs := invoke("audit", "verify", "--store", t.TempDir()); code != 1 || !strings.Contains(errs, "open store") {
		t.Errorf("a folder without a store: exit %d, %s", code, errs)
	}
}
