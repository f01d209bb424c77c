package dnp3_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Each test and conversation that docs/dnp3.md names exists.
func TestDocumentNamesWhatExists(t *testing.T) {
	page, err := os.ReadFile("../docs/dnp3.md")
	if err != nil {
		t.Fatal(err)
	}
	var code []byte
	for _, pattern := range []string{"*_test.go", "*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			code = append(code, b...)
		}
	}
	names := regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w+`).FindAll(page, -1)
	if len(names) < 50 {
		t.Errorf("%d tests are named", len(names))
	}
	for _, name := range names {
		if !bytes.Contains(code, append([]byte("func "), append(name, '(')...)) {
			t.Errorf("%s does not exist", name)
		}
	}
	for _, file := range regexp.MustCompile(`testdata/\w+\.txt`).FindAll(page, -1) {
		if _, err := os.Stat(string(file)); err != nil {
			t.Error(err)
		}
	}
}
