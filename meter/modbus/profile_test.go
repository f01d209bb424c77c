package modbus

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"lvagent/meter"
)

const shippedProfile = "../../configs/meters/eastron-sdm630.yaml"

func shipped(t testing.TB) *Profile {
	t.Helper()
	source, err := os.ReadFile(shippedProfile)
	if err != nil {
		t.Fatal(err)
	}
	p, faults := ParseProfile(source)
	for _, f := range faults {
		t.Errorf("%s:%v", shippedProfile, f)
	}
	if p == nil {
		t.FailNow()
	}
	return p
}

func TestShippedProfile(t *testing.T) {
	p := shipped(t)
	if p.ID() != "eastron-sdm630" {
		t.Errorf("id %q", p.ID())
	}
	want := []Block{{Function: 4, Addr: 0, N: 30}, {Function: 4, Addr: 0xe0, N: 2}}
	if got := p.Blocks(); !slices.Equal(got, want) {
		t.Errorf("requests %+v, want %+v", got, want)
	}
	if level, source := p.Evidence(); level != "third-party" || source == "" {
		t.Errorf("evidence %q, %q", level, source)
	}
	if len(p.vectors) != 3 {
		t.Errorf("%d vectors, want 3", len(p.vectors))
	}
}

// small is a complete profile of an integer meter with document numbers from 1.
const small = `schema: 1
id: test-meter
vendor: Nobody
models: [T1]
evidence: {level: bench, source: made up}
base: 1
timeout: 800ms
max_read_regs: 20
max_gap: 2
no_read: [[90, 99]]
defaults: {fc: 3, type: u16}
registers:
  - {quantity: v, addr: [1, 2, 3], unit: V, scale: 0.1, invalid: [0xffff], range: [0, 300]}
  - {quantity: i, addr: [4, 6, 8], unit: mA, type: u32, order: CDAB}
  - {quantity: p, addr: [10, 11, 12], unit: kW, scale: 0.01, type: s16}
  - {quantity: q, addr: [100, 102, 104], unit: var, type: s32}
not_supported: [n]
vectors:
  - name: one
    words: [{fc: 3, addr: 1, raw: [2301, 0xffff, 3001]}]
    want: {v: [230100, sentinel, out_of_range]}
`

func TestSmallProfile(t *testing.T) {
	p, faults := ParseProfile([]byte(small))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	want := []Block{{3, 0, 12}, {3, 99, 6}}
	if got := p.Blocks(); !slices.Equal(got, want) {
		t.Errorf("requests %+v, want %+v", got, want)
	}
}

func TestFaultsOfAProfile(t *testing.T) {
	tests := []struct {
		name     string
		old, new string
		want     []string // line: path: beginning of the message
	}{
		{"unknown key", "vendor: Nobody", "vendor: Nobody\nvender: N", []string{"4: vender: unknown key"}},
		{"unknown key in a register", "scale: 0.1,", "skale: 0.1,", []string{"13: registers[0].skale: unknown key"}},
		{"key twice", "vendor: Nobody", "vendor: Nobody\nvendor: N", []string{"4: vendor: is there twice"}},
		{"bare duration", "timeout: 800ms", "timeout: 800", []string{"7: timeout: 800 has no unit"}},
		{"no time at all", "timeout: 800ms", "timeout: 0s", []string{"7: timeout: 0s is not more than 0"}},
		{"bad type", "type: u32", "type: u33", []string{`14: registers[1].type: unknown "u33"`}},
		{"type nowhere", "type: u16}", "order: ABCD}", []string{"13: registers[0].type: is missing"}},
		{"bad order", "order: CDAB", "order: ACBD", []string{`14: registers[1].order: unknown "ACBD"`}},
		{"unit of another quantity", "unit: mA", "unit: W", []string{`14: registers[1].unit: unknown "W"`}},
		{"missing quantity", "not_supported: [n]", "", []string{"13: registers: quantity n is missing"}},
		{"quantity both there and not", "[n]", "[n, q]", []string{"13: registers: quantity q has registers and"}},
		{"quantity twice", "quantity: q", "quantity: p", []string{
			"13: registers: quantity q is missing", "16: registers: quantity p is there twice",
			`16: registers[3].unit: unknown "var"`}},
		{"overlap", "addr: [10, 11, 12]", "addr: [9, 11, 12]", []string{"15: registers[2].addr[0]: overlaps registers[1].addr[2]"}},
		{"same register twice", "addr: [10, 11, 12]", "addr: [10, 11, 11]", []string{"15: registers[2].addr[2]: overlaps registers[2].addr[1]"}},
		{"base 1 has no register 0", "addr: [1, 2, 3]", "addr: [0, 2, 3]", []string{"13: registers[0].addr[0]: 0 is outside 1 to 65536"}},
		{"after the last register", "addr: [100, 102, 104]", "addr: [100, 102, 65536]", []string{"16: registers[3].addr[2]: ends after the last register"}},
		{"in a no_read range", "addr: [100, 102, 104]", "addr: [98, 102, 104]", []string{"16: registers[3].addr[0]: lies in a no_read range"}},
		{"longer than a request", "max_read_regs: 20", "max_read_regs: 1", []string{
			"14: registers[1].addr: takes 2 registers, max_read_regs is 1", "16: registers[3].addr: takes 2"}},
		{"two phases", "addr: [1, 2, 3]", "addr: [1, 2]", []string{"13: registers[0].addr: 2 addresses, want 3"}},
		{"octal", "addr: [10, 11, 12]", "addr: [010, 11, 12]", []string{`15: registers[2].addr[0]: want a whole number`}},
		{"scale 0", "scale: 0.1,", "scale: 0,", []string{"13: registers[0].scale: 0 is 0"}},
		{"range upside down", "range: [0, 300]", "range: [300, 0]", []string{"13: registers[0].range: want lowest below highest"}},
		{"invalid pattern too long", "invalid: [0xffff]", "invalid: [0x10000]", []string{"13: registers[0].invalid[0]: 65536 is outside"}},
		{"evidence of an unknown level", "level: bench", "level: sure", []string{`5: evidence.level: unknown "sure"`}},
		{"no vectors", small[strings.Index(small, "vectors:"):], "vectors: []\n", []string{"18: vectors: a profile has at least one"}},
		{"vectors missing", small[strings.Index(small, "vectors:"):], "", []string{"1: vectors: is missing"}},
		{"vector that does not hold", "[230100,", "[230200,", []string{"21: vectors[0].want.v[0]: words [08fd]: got 230100, want 230200"}},
		{"sentinel taken for a value", "invalid: [0xffff], range: [0, 300]", "range: [0, 7000]", []string{
			"13: registers[0].range: want lowest"}},
		{"vector without words", "want: {v", "want: {p: [0, 0, 0], v", []string{
			"21: vectors[0].want.p[0]: the vector has no words", "21: vectors[0].want.p[1]: the vector", "21: vectors[0].want.p[2]: the vector"}},
		{"alias", "models: [T1]", "models: &m [T1]\nno: *m", []string{"5: no: unknown key"}},
		{"alias as a value", "evidence: {level: bench, source: made up}", "evidence: {level: bench, source: &s made up}\nmax_gap: *s",
			[]string{"6: max_gap: want a whole number such as 12 or 0x0c, got an alias", "10: max_gap: is there twice"}},
		{"two documents", "not_supported: [n]", "not_supported: [n]\n---\n", []string{"18: : a second document"}},
		{"not YAML", "models: [T1]", "models: [T1", []string{"3: : yaml: line 3"}},
		{"not a mapping", small, "- 1\n", []string{"1: : want a mapping, got a list"}},
		{"comments only", small, "# nothing\n", []string{"1: : the file is empty"}},
		{"empty", small, "", []string{"1: : the file is empty"}},
		{"several at once", "vendor: Nobody\nmodels: [T1]", "vendor: \nmodels: T1", []string{
			"3: vendor: want text, got nothing", "4: models: want a list"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if strings.Count(small, tt.old) != 1 {
				t.Fatalf("%q is in the profile %d times", tt.old, strings.Count(small, tt.old))
			}
			p, faults := ParseProfile([]byte(strings.Replace(small, tt.old, tt.new, 1)))
			if p != nil {
				t.Error("got a profile in spite of the fault")
			}
			var got []string
			for _, f := range faults {
				got = append(got, fmt.Sprintf("%d: %s: %s", f.Line, f.Path, f.Message))
			}
			ok := len(got) == len(tt.want)
			for i := 0; ok && i < len(got); i++ {
				ok = strings.HasPrefix(got[i], tt.want[i])
			}
			if !ok {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "))
			}
		})
	}
}

func FuzzParseProfile(f *testing.F) {
	for _, source := range []string{small, known, talks, everything} {
		f.Add([]byte(source))
	}
	f.Add([]byte("registers: [{quantity: v, addr: 1}]\nvectors: {}"))
	f.Add([]byte("&a [*a]"))
	f.Fuzz(func(t *testing.T, source []byte) {
		p, faults := ParseProfile(source)
		if (p == nil) == (len(faults) == 0) {
			t.Fatalf("profile %v with faults %v", p, faults)
		}
		if p == nil {
			return
		}
		for _, b := range p.requests {
			if b.n == 0 || b.n > p.limits.maxRegs || uint32(b.addr)+uint32(b.n) > 1<<16 || (b.fc != 3 && b.fc != 4) {
				t.Errorf("request %+v", b)
			}
		}
		for n := range p.channels {
			if got := p.PlanOf(n + 1); len(got.Poll) == 0 {
				t.Errorf("way %d is not read", n+1)
			}
		}
	})
}

// Whatever a meter of a shipped profile answers: each sample is a value in range
// or none with a reason, and never both.
func FuzzReading(f *testing.F) {
	all := shippedFiles(f)
	names := slices.Sorted(maps.Keys(all))
	for i, name := range names {
		for _, v := range all[name].vectors {
			var octets []byte
			for _, im := range v.words {
				for _, w := range im.words {
					octets = append(octets, byte(w>>8), byte(w))
				}
			}
			f.Add(uint8(i), uint8(v.setup.Channel), octets)
		}
	}
	f.Fuzz(func(t *testing.T, which, way uint8, octets []byte) {
		p := all[names[int(which)%len(names)]]
		s := Setup{Channel: 1 + int(way)%len(p.channels), Invert: [3]bool{way&0x40 != 0}, Neutral: Neutral(way >> 6)}
		d := newDecoder(p, s)
		ch := p.channel(s.Channel)
		for _, fast := range []bool{true, false} {
			blocks := ch.slow
			if fast {
				blocks = ch.fast
			}
			d.forget(meter.NoAnswer)
			for i := range blocks {
				words := make([]uint16, blocks[i].n)
				for j := range words {
					if len(octets) >= 2 {
						words[j] = uint16(octets[0])<<8 | uint16(octets[1])
						octets = octets[2:]
					}
				}
				d.take(&blocks[i], words)
			}
			d.decode(fast)
			for q := range d.out {
				for ph, c := range d.out[q] {
					missing := c.quality == meter.Missing
					if missing && (c.value != 0 || c.why == 0) || !missing && math.Abs(float64(c.value)) > table[q].high {
						t.Errorf("%s %s of L%d: %+v", p.id, quantity(q), ph+1, c)
					}
				}
			}
		}
	})
}
