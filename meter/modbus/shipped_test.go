package modbus

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shippedFiles returns the profiles that come with the agent.
func shippedFiles(t testing.TB) map[string]*Profile {
	t.Helper()
	files, err := filepath.Glob("../../configs/meters/*.yaml")
	if err != nil || len(files) < 14 {
		t.Fatalf("%d profiles found: %v", len(files), err)
	}
	all := map[string]*Profile{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, faults := ParseProfile(source)
		for _, f := range faults {
			t.Errorf("%s:%v", file, f)
		}
		if p != nil {
			all[strings.TrimSuffix(filepath.Base(file), ".yaml")] = p
		}
	}
	return all
}

// Each shipped profile holds, is called as its file, says what it rests on, and
// has vectors for every value that it reads and for values that are none.
func TestShippedProfiles(t *testing.T) {
	for name, p := range shippedFiles(t) {
		t.Run(name, func(t *testing.T) {
			if p.ID() != name {
				t.Errorf("id %q", p.ID())
			}
			if level, source := p.Evidence(); level != "third-party" || source == "" {
				t.Errorf("evidence %q, %q; none of them was checked on a meter", level, source)
			}
			var covered, none [quantities]bool
			negative := false
			for _, v := range p.vectors {
				for _, x := range v.want {
					covered[x.quantity] = covered[x.quantity] || x.why == 0
					none[x.quantity] = none[x.quantity] || x.why != 0
					negative = negative || x.quantity == active && x.value < 0
				}
			}
			for q := range quantities {
				if p.has(q) && !covered[q] {
					t.Errorf("no vector reads %s", q)
				}
				if p.has(q) && q < neutral && q != reactive && !none[q] {
					t.Errorf("no vector has a %s that is none", q)
				}
			}
			if !negative && name != "circutor-cvm-c10" { // it has consumed power only
				t.Error("no vector has a negative power")
			}
		})
	}
}

// The requests of one poll, as a person would have chosen them.
func TestShippedPlans(t *testing.T) {
	plans := map[string][]Block{
		"abb-b23":               {{3, 0x5b00, 36}},
		"accuenergy-acuvim2":    {{3, 16386, 40}},
		"carlo-gavazzi-em24":    {{4, 0, 36}},
		"carlo-gavazzi-em24-e1": {{3, 0, 36}},
		"carlo-gavazzi-em340":   {{4, 0, 36}},
		"circutor-cvm-c10":      {{4, 0, 42}},
		"eastron-sdm630":        {{4, 0, 30}, {4, 0xe0, 2}},
		"hager-ecr380d":         {{3, 0xb000, 37}},
		"janitza-umg801":        {{3, 19000, 42}},
		"janitza-umg96rm":       {{3, 19000, 42}},
		"lovato-dmg610":         {{4, 1, 30}, {4, 107, 2}},
		"schneider-acti9":       {{4, 2999, 60}},
		"schneider-iem3000":     {{3, 2999, 60}},
		"schneider-pm5000":      {{3, 2999, 68}},
		"siemens-pac2200":       {{3, 1, 36}},
		"socomec-digiware":      {{3, 0x4800, 68}},
		"sunspec-float":         {{3, 4, 48}},
		"sunspec-int":           {{3, 3, 30}},
	}
	all := shippedFiles(t)
	for name, p := range all {
		want, known := plans[name]
		if !known {
			t.Errorf("%s: its plan is not in the table: %+v", name, p.Blocks())
		} else if got := p.Blocks(); !slices.Equal(got, want) {
			t.Errorf("%s: requests %+v, want %+v", name, got, want)
		}
	}
	// Ways of one device.
	for _, tt := range []struct {
		name string
		way  int
		want []Block
	}{
		{"socomec-digiware", 2, []Block{{3, 0x5000, 68}}},
		{"socomec-digiware", 6, []Block{{3, 0x7000, 68}}},
		{"janitza-umg801", 2, []Block{{3, 19000, 6}, {3, 19200, 30}}},
		{"janitza-umg801", 3, []Block{{3, 19000, 6}, {3, 19300, 30}}},
		{"janitza-umg801", 12, []Block{{3, 19000, 6}, {3, 20200, 30}}},
	} {
		if got := all[tt.name].BlocksOf(tt.way); !slices.Equal(got, tt.want) {
			t.Errorf("%s, way %d: requests %+v, want %+v", tt.name, tt.way, got, tt.want)
		}
	}
}
