package buffer

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The tail of the store's last page is torn off, at every length: opening ends
// in the store as it was or in a new one, and what is salvaged was stored.
func TestTornTailOfEveryLength(t *testing.T) {
	path := storePath(t)
	file := filled(t, path, false)
	page := os.Getpagesize()
	end := int(metaOf(t, file).pages) * page
	if end > len(file) {
		t.Fatalf("the file has %d octets, its meta page says %d", len(file), end)
	}
	for cut := 1; cut <= page; cut++ {
		useTorn(t, path, file[:end-cut], fmt.Sprintf("last %d octets lost", cut))
		if cut%64 == 0 {
			clearAside(t, path)
		}
	}
}

// clearAside removes the stores that were set aside, having looked at what can
// be salvaged of them.
func clearAside(t *testing.T, path string) {
	t.Helper()
	for _, aside := range asides(t, path) {
		if _, err := Salvage(aside, func(r Record) error {
			if len(r.Body) != 700 && len(r.Body) != 20_000 && len(r.Body) != 1 {
				return fmt.Errorf("%s %d has %d octets", r.Stream, r.N, len(r.Body))
			}
			return nil
		}); err != nil {
			t.Errorf("salvage %s: %v", aside, err)
		}
		if err := os.Remove(aside); err != nil {
			t.Fatal(err)
		}
	}
}

func asides(t *testing.T, path string) []string {
	t.Helper()
	found, err := filepath.Glob(path + asideSuffix + "*")
	if err != nil {
		t.Fatal(err)
	}
	return found
}
