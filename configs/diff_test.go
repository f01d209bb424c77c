package configs

import (
	"slices"
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	const site = `site: {id: A, name: old}
meters: [{id: m1, url: "tcp://127.0.0.1:1", unit: 1, profile: p}, {id: m2, url: "tcp://127.0.0.1:1", unit: 2, profile: p}]
ways: [{id: W1, meter: m1, rating_a: 300}, {id: W2, meter: m2, rating_a: 300}]
uplink: {broker: "tcp://127.0.0.1:1"}
`
	read := func(pairs ...string) *Config {
		t.Helper()
		c, _, faults := Parse("x", []byte(strings.NewReplacer(pairs...).Replace(site)))
		if c == nil || len(faults) > 0 {
			t.Fatal(faults)
		}
		return c
	}
	for _, tt := range []struct {
		name  string
		pairs []string
		want  []string
	}{
		{"nothing", nil, nil},
		{"a default that is written out", []string{"name: old", "name: old, timezone: Europe/London"}, nil},
		{"a name", []string{"name: old", "name: new"}, []string{`~ site.name: "old" -> "new"`}},
		{"the order of meters", []string{"id: m1, url", "id: m2, url", "unit: 1", "unit: 2", "id: m2, url", "id: m1, url", "unit: 2", "unit: 1"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, c := range Diff(read(), read(tt.pairs...)) {
				got = append(got, c.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	more := read("ways: [", "ways: [{id: W3, meter: m3, rating_a: 100}, ", "meters: [", `meters: [{id: m3, url: "tcp://127.0.0.1:1", unit: 3, profile: p}, `)
	all := Diff(read(), more)
	added := slices.ContainsFunc(all, func(c Change) bool { return c.String() == `+ ways[W3].meter: "m3"` })
	if other := slices.ContainsFunc(all, func(c Change) bool { return !strings.Contains(c.Path, "W3") && !strings.Contains(c.Path, "m3") }); !added || other {
		t.Errorf("a way more: %q", all)
	}
}
