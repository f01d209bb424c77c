package modbus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lvagent/meter/metertest"
)

// sdm630 is a meter of the shipped profile at unit 1 of url.
func sdm630(t *testing.T, c *Client) *Meter {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("..", "..", "configs", "meters", "eastron-sdm630.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p, faults := ParseProfile(source)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return NewMeter(c, "W1", 1, p)
}

// carry makes the steps of a change as a bus does: it opens a connection that was
// lost, and gives up in the end. Between steps it calls between.
func carry(t *testing.T, c *Change, u *metertest.Unit, between func(step int)) Result {
	t.Helper()
	end := time.Now().Add(9 * time.Second)
	c.pause, c.settle = 50*time.Millisecond, 50*time.Millisecond
	for step := 1; ; step++ {
		if err := c.m.client.Open(); err == nil {
			sent := u.Requests()
			done, wait, err := c.Step()
			if n := u.Requests() - sent; n > 1 {
				t.Errorf("step %d made %d requests", step, n)
			}
			if done {
				return c.Result()
			}
			if err != nil {
				if err := c.m.client.Close(); err != nil {
					t.Log(err)
				}
			}
			time.Sleep(wait)
		} else {
			time.Sleep(100 * time.Millisecond)
		}
		if between != nil {
			between(step)
		}
		if time.Now().After(end) {
			c.GiveUp(errors.New("no time"))
			return c.Result()
		}
	}
}

func demand(u *metertest.Unit) string {
	high, _ := u.Holding(metertest.DemandPeriod)
	low, _ := u.Holding(metertest.DemandPeriod + 1)
	x, _ := layout{kind: f32, size: 2}.number(uint64(high)<<16 | uint64(low))
	return text64(x)
}

func TestChange(t *testing.T) {
	code := func(code uint8, skip int) func(*metertest.Unit) {
		return func(u *metertest.Unit) {
			u.Break(metertest.Fault{Kind: metertest.Exceptional, Code: code, Skip: skip, Times: 1})
		}
	}
	fault := func(kind metertest.Kind, skip, times int) func(*metertest.Unit) {
		return func(u *metertest.Unit) {
			u.Break(metertest.Fault{Kind: kind, Delay: 2 * short, Skip: skip, Times: times})
		}
	}
	for _, tt := range []struct {
		name   string
		value  string
		look   bool
		setup  func(*metertest.Unit)
		want   Outcome
		old    string
		now    string
		meter  string // holds in the end
		writes int
		why    string
	}{
		{"all is well", "15", false, nil, Changed, "60", "15", "15", 1, ""},
		{"zero is a value", "0", false, nil, Changed, "60", "0", "0", 1, ""},
		{"it holds the value already", "60", false, nil, Unchanged, "60", "60", "60", 0, ""},
		{"a look", "", true, nil, Shown, "60", "60", "60", 0, ""},
		{"a rehearsal", "15", true, nil, Shown, "60", "60", "60", 0, ""},
		{"another meter", "15", false, func(u *metertest.Unit) { u.SetHolding(0xfc02, 0x0084) }, Refused, "", "", "60", 0, "another meter: writes[0].only_if[0]"},
		{"a meter without the register", "15", false, code(metertest.IllegalAddress, 0), Refused, "", "", "60", 0, "another meter"},
		{"exception 1 to the write", "15", false, code(metertest.IllegalFunction, 2), NotTaken, "60", "60", "60", 0, "exception 1"},
		{"exception 2 to the write", "15", false, code(metertest.IllegalAddress, 2), NotTaken, "60", "60", "60", 0, "exception 2"},
		{"exception 3 to the write", "15", false, code(metertest.IllegalValue, 2), NotTaken, "60", "60", "60", 0, "exception 3"},
		{"exception 4 to the write", "15", false, code(metertest.DeviceFailure, 2), NotTaken, "60", "60", "60", 0, "exception 4"},
		{"exception 4 to the first look", "15", false, code(metertest.DeviceFailure, 1), Refused, "", "", "60", 0, "exception 4"},
		{"exception 4 to the read-back", "15", false, code(metertest.DeviceFailure, 3), Changed, "60", "15", "15", 1, ""},
		{"confirmed and not taken", "15", false, fault(metertest.Stuck, 2, 1), NotTaken, "60", "60", "60", 0, "confirmed the write"},
		{"the write's answer is late", "15", false, fault(metertest.Late, 2, 1), Changed, "60", "15", "15", 1, "no answer in time"},
		{"the write is lost", "15", false, fault(metertest.Mute, 2, 1), NotTaken, "60", "60", "60", 0, "no answer in time"},
		{"the write's answer is of another unit", "15", false, fault(metertest.WrongUnit, 2, 1), Changed, "60", "15", "15", 1, ""},
		{"the write's answer is cut off", "15", false, fault(metertest.Truncated, 2, 1), Changed, "60", "15", "15", 1, ""},
		{"the connection ends at the write", "15", false, fault(metertest.Drop, 2, 1), NotTaken, "60", "60", "60", 0, ""},
		{"the connection ends at the read-back", "15", false, fault(metertest.Drop, 3, 1), Changed, "60", "15", "15", 1, ""},
		{"silent from the write on", "15", false, fault(metertest.Mute, 2, 0), Unsure, "60", "", "60", 0, "no answer in time"},
		{"gone after the write", "15", false, fault(metertest.Mute, 3, 0), Unsure, "60", "", "15", 1, "no answer in time"},
		{"silent from the start", "15", false, fault(metertest.Mute, 0, 0), NotAsked, "", "", "60", 0, "no answer in time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			s := serve(t)
			s.SetSDM630(1, metertest.SDM630{})
			u := s.Unit(1)
			var written []metertest.Write
			u.OnWrite(func(w metertest.Write) { written = append(written, w) })
			if tt.setup != nil {
				tt.setup(u)
			}
			c, err := sdm630(t, newClient(t, s.URL(), short)).NewChange("demand_period", tt.value, tt.look)
			if err != nil {
				t.Fatal(err)
			}
			got := carry(t, c, u, nil)
			u.Heal()
			if got.Outcome != tt.want || got.Old != tt.old || got.Now != tt.now || !strings.Contains(got.Why, tt.why) {
				t.Errorf("%+v, want %s from %q to %q, %q", got, tt.want, tt.old, tt.now, tt.why)
			}
			if holds := demand(u); holds != tt.meter || len(written) != 2*tt.writes {
				t.Errorf("the meter holds %s after %v, want %s after %d writes", holds, written, tt.meter, tt.writes)
			}
		})
	}
}

// Power that goes between the write and the read-back: the meter that comes back
// has to be known anew, and it is read, never written again.
func TestPowerCutWithinAChange(t *testing.T) {
	for _, tt := range []struct {
		name string
		code uint16
		want Outcome
		now  string
	}{
		{"the same meter", 0x70, Changed, "15"},
		{"another one at its place", 0x84, Unsure, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t)
			s.SetSDM630(1, metertest.SDM630{})
			u := s.Unit(1)
			writes := 0
			u.OnWrite(func(metertest.Write) { writes++ })
			m := sdm630(t, newClient(t, s.URL(), short))
			c, err := m.NewChange("demand_period", "15", false)
			if err != nil {
				t.Fatal(err)
			}
			got := carry(t, c, u, func(step int) {
				if step == 3 { // the write was the third
					if err := m.client.Close(); err != nil {
						t.Error(err)
					}
					u.SetHolding(0xfc02, tt.code)
				}
			})
			if got.Outcome != tt.want || got.Now != tt.now || writes != 2 {
				t.Errorf("%+v after %d registers written, want %s", got, writes, tt.want)
			}
		})
	}
}

func TestChangeIsOfWhatTheProfileAllows(t *testing.T) {
	m := sdm630(t, newClient(t, "tcp://127.0.0.1:1", short))
	for _, tt := range []struct{ name, value string }{
		{"ct_ratio", "5"}, {"demand_period", "7"}, {"demand_period", ""}, {"demand_period", "NaN"},
		{"demand_period", "1e300"}, {"demand_period", "15 "}, {"demand_period", "-0.5"},
	} {
		if _, err := m.NewChange(tt.name, tt.value, false); err == nil {
			t.Errorf("%s = %q is taken", tt.name, tt.value)
		}
	}
}

// The answer to function 16 does not repeat what was written, so that on a serial
// line it could be that to a write before: the unit has to be proven first.
func TestFunction16IsGuarded(t *testing.T) {
	for name, start := range lines {
		t.Run(name, func(t *testing.T) {
			l, c := onLine(t, start)
			u := l.Unit(5)
			u.SetHolding(40, 0, 0)
			u.SetInput(0, 0, 0, 0)
			if err := c.Open(); err != nil {
				t.Fatal(err)
			}
			if err := c.WriteRegisters(5, 40, []uint16{1, 2}); !errors.Is(err, ErrUnproven) || u.Requests() != 0 {
				t.Errorf("without a guard: %v after %d requests, want none sent", err, u.Requests())
			}
			c.SetGuards(5, Guard{4, 0, 3})
			if err := c.WriteRegisters(5, 40, []uint16{1, 2}); err != nil || u.Requests() != 2 {
				t.Errorf("with one: %v after %d requests, want guard and write", err, u.Requests())
			}
			if w, _ := u.Holding(41); w != 2 {
				t.Errorf("register 41 is %d, want 2", w)
			}
		})
	}
}

// A number goes on the wire as it is read from it.
func TestEncodeIsDecode(t *testing.T) {
	for _, o := range orders[:4] {
		for _, tt := range []struct {
			kind kind
			x    float64
			fits bool
		}{
			{u16, 0, true}, {u16, 65535, true}, {u16, 65536, false}, {u16, -1, false}, {u16, 0.5, false},
			{s16, -32768, true}, {s16, 32767, true}, {s16, 32768, false},
			{u32, 4294967295, true}, {u32, 4294967296, false}, {s32, -2147483648, true}, {s32, 2147483648, false},
			{f32, 8.5, true}, {f32, -60, true}, {f32, 1e39, false},
		} {
			l := layout{kind: tt.kind, size: tt.kind.words(), order: o.order}
			raw, fits := l.encode(tt.x)
			if fits != tt.fits {
				t.Errorf("%s %v fits: %v", kindNames[tt.kind], tt.x, fits)
			}
			if back, why := l.number(l.raw(l.words(raw))); fits && (back != tt.x || why != 0) {
				t.Errorf("%s %s %v comes back as %v", kindNames[tt.kind], o.name, tt.x, back)
			}
		}
	}
}

// Unlocks are written first, in order, each as its type says.
func TestUnlock(t *testing.T) {
	p := parsed(t, writable(`
  - name: limit
    addr: 40
    fc: 6
    type: s16
    range: [-5, 5]
    unlock:
      - {addr: 30, fc: 6, type: u16, value: 1234}
      - {addr: 32, fc: 16, type: f32, order: CDAB, value: 1}
`))
	s := serve(t)
	u := s.Unit(1)
	u.SetHolding(7, 17)
	u.SetHolding(30, 0)
	u.SetHolding(32, 0, 0)
	u.SetHolding(40, 3)
	var written []string
	u.OnWrite(func(w metertest.Write) { written = append(written, fmt.Sprintf("%d=%04x", w.Addr, w.Value)) })
	change := func(value string) Result {
		c, err := NewMeter(newClient(t, s.URL(), short), "W1", 1, p).NewChange("limit", value, false)
		if err != nil {
			t.Fatal(err)
		}
		return carry(t, c, u, nil)
	}
	if got := change("-5"); got.Outcome != Changed || got.Old != "3" || got.Now != "-5" {
		t.Errorf("%+v", got)
	}
	if want := []string{"30=04d2", "32=0000", "33=3f80", "40=fffb"}; !slices.Equal(written, want) {
		t.Errorf("written %v, want %v", written, want)
	}
	u.Break(metertest.Fault{Kind: metertest.Exceptional, Code: metertest.IllegalValue, Skip: 2, Times: 1})
	if got := change("4"); got.Outcome != Refused || got.Now != "-5" || !strings.Contains(got.Why, "unlock") {
		t.Errorf("an unlock that is refused: %+v", got)
	}
}

// writable is a profile whose writes are those given.
func writable(writes string) string {
	return `schema: 1
id: acme
vendor: Acme
models: [PM1]
evidence: {level: bench, source: a test}
base: 0
defaults: {fc: 3, type: s16}
identify: {match: [{addr: 7, type: u16, raw: [17]}]}
ratios: {applied_by: agent, ct: {primary: {addr: 8, type: u16}}}
registers:
  - {quantity: v, addr: [10, 11, 12], unit: V}
  - {quantity: i, addr: [13, 14, 15], sf: [20], unit: A}
  - {quantity: p, addr: [16, 17, 18], unit: W}
not_supported: [q, n]
vectors: [{name: one, words: [{fc: 3, addr: 10, raw: [1, 2, 3]}], want: {v: [1000, 2000, 3000]}}]
writes:` + writes
}

func TestFaultyWrites(t *testing.T) {
	for _, tt := range []struct{ name, write, want string }{
		{"the scale of what is measured", "{name: a, addr: 20, fc: 6, type: s16, range: [0, 3]}", "writes[0].addr: touches registers[1].sf[0], the scale of what is measured"},
		{"the ratio", "{name: a, addr: 8, fc: 16, type: u16, range: [1, 100]}", "writes[0].addr: touches ratios.ct.primary, the scale of what is measured"},
		{"half of it is the ratio", "{name: a, addr: 8, fc: 16, type: u32, range: [1, 100]}", "writes[0].addr: touches ratios.ct.primary"},
		{"what is measured", "{name: a, addr: 9, fc: 16, type: u32, range: [1, 100]}", "writes[0].addr: touches registers[0].addr[0], which is measured"},
		{"who the meter is", "{name: a, addr: 7, fc: 6, type: u16, values: [1]}", "writes[0].addr: touches identify.match[0], by which the meter is known"},
		{"two that overlap", "{name: a, addr: 40, fc: 16, type: f32, values: [1]}, {name: b, addr: 41, fc: 6, type: u16, values: [1]}", "writes[1].addr: overlaps writes[0]"},
		{"an unlock that overlaps", "{name: a, addr: 40, fc: 16, type: f32, values: [1], unlock: [{addr: 40, fc: 6, type: u16, value: 1}]}", "writes[0].unlock[0].addr: overlaps writes[0]"},
		{"an unlock that scales", "{name: a, addr: 40, fc: 6, type: u16, values: [1], unlock: [{addr: 8, fc: 6, type: u16, value: 1}]}", "writes[0].unlock[0].addr: touches ratios.ct.primary"},
		{"an unlock that does not fit", "{name: a, addr: 40, fc: 6, type: u16, values: [1], unlock: [{addr: 50, fc: 6, type: u16, value: -1}]}", "writes[0].unlock[0].value: -1 does not fit type u16"},
		{"values and range", "{name: a, addr: 40, fc: 6, type: u16, values: [1], range: [0, 1]}", "writes[0]: wants one of values and range"},
		{"neither", "{name: a, addr: 40, fc: 6, type: u16}", "writes[0]: wants one of values and range"},
		{"no values", "{name: a, addr: 40, fc: 6, type: u16, values: []}", "writes[0].values: permits nothing"},
		{"a range the wrong way round", "{name: a, addr: 40, fc: 6, type: u16, range: [5, 5]}", "writes[0].range: want lowest below highest"},
		{"a value that does not fit", "{name: a, addr: 40, fc: 6, type: u16, values: [1, 70000]}", "writes[0].values[1]: 70000 does not fit type u16"},
		{"half of a whole number", "{name: a, addr: 40, fc: 6, type: u16, values: [0.5]}", "writes[0].values[0]: 0.5 does not fit type u16"},
		{"one register too few", "{name: a, addr: 40, fc: 6, type: f32, values: [1]}", "writes[0].fc: function 6 writes one register, type f32 takes 2"},
		{"a function that reads", "{name: a, addr: 40, fc: 10, type: u16, values: [1]}", "writes[0].fc: 10 writes no register"},
		{"no function", "{name: a, addr: 40, type: u16, values: [1]}", "writes[0].fc: is missing"},
		{"eight octets", "{name: a, addr: 40, fc: 16, type: u64, values: [1]}", `writes[0].type: unknown "u64"`},
		{"a name for nobody", "{name: CT Ratio, addr: 40, fc: 6, type: u16, values: [1]}", "writes[0].name:"},
		{"a name twice", "{name: a, addr: 40, fc: 6, type: u16, values: [1]}, {name: a, addr: 42, fc: 6, type: u16, values: [1]}", `writes[1].name: "a" is there twice`},
		{"the last register", "{name: a, addr: 0xffff, fc: 16, type: u32, range: [0, 1]}", "writes[0].addr: ends after the last register"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, faults := ParseProfile([]byte(writable(" [" + tt.write + "]\n")))
			if !slices.ContainsFunc(faults, func(f Fault) bool { return strings.Contains(f.String(), ": "+tt.want) && f.Line > 0 }) {
				t.Errorf("faults %v, want %q with its line", faults, tt.want)
			}
		})
	}
	source := strings.Replace(writable(" [{name: a, addr: 8, fc: 6, type: u16, values: []}, {name: A, addr: 40, fc: 9, type: u16, values: [-1]}]\n"), "identify: {match: [{addr: 7, type: u16, raw: [17]}]}\n", "", 1)
	if _, faults := ParseProfile([]byte(source)); len(faults) != 6 {
		t.Errorf("%d faults, want all six at once: %v", len(faults), faults)
	}
}
