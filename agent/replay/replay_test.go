package replay_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"lvagent/agent/audit"
	"lvagent/agent/replay"
	"lvagent/failsafe"
	"lvagent/failsafe/journal"
	"lvagent/meter"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)

func testConfig() failsafe.Config {
	t := failsafe.DefaultTimers()
	t.RestoreSpread = 10 * time.Second
	full := [3]meter.Milliamps{100_000, 100_000, 100_000}
	return failsafe.Config{
		Site: "S1", Ways: []failsafe.Way{{ID: "W1", Rating: full}, {ID: "W2", Rating: full, Headroom: true}},
		Groups: []failsafe.Group{
			{ID: "G1", Way: "W1", Phases: [3]bool{true}, Rating: 96_000, Failsafe: 24_000, Connectors: 3},
			{ID: "G2", Way: "W1", Phases: [3]bool{true, true, true}, Rating: 63_000, Failsafe: 12_000, Contact: true},
			{ID: "G3", Way: "W2", Phases: [3]bool{false, true}, Rating: 32_000, Failsafe: 6_000},
		},
		Issuers: []string{"scada-1"}, Timers: t, Seed: [32]byte{1, 2, 3}, Transformer: 250_000,
	}
}

// life is an agent as far as the journal is concerned: it steps, writes down,
// stores, crashes and starts again, perhaps with another configuration.
type life struct {
	t      rapid.TB
	cfg    failsafe.Config
	e      *failsafe.Engine
	s      failsafe.State
	stored failsafe.State
	boot   int
	n      uint64
	now    time.Duration
	skew   time.Duration
	seq    uint64
	amps   [2]meter.Milliamps
	q      meter.Quality
	clock  meter.Clock
	told   map[string]meter.Milliamps
	ramps  audit.Ramps
	w      *journal.Writer
	file   []byte
	chain  []string // records, as published
}

func newLife(t rapid.TB, cfg failsafe.Config) *life {
	x := &life{t: t, cfg: cfg, amps: [2]meter.Milliamps{50_000, 20_000}, q: meter.Good, clock: meter.Synced, told: map[string]meter.Milliamps{}}
	x.begin(nil, false)
	return x
}

func (x *life) wall() time.Time { return epoch.Add(x.now + x.skew) }

func (x *life) begin(old *failsafe.State, lost bool) {
	x.boot++
	x.e = failsafe.NewEngine(x.cfg)
	start := journal.Start{Old: old, Lost: lost, Now: x.now, Wall: x.wall(), Clock: x.clock}
	if old != nil {
		start.Lost = false
	}
	x.s = start.State(x.e)
	var groups []string
	for _, g := range x.cfg.Groups {
		groups = append(groups, g.ID)
	}
	x.w, x.n, x.ramps = journal.NewWriter(groups), 0, audit.Ramps{}
	if len(x.chain) > 0 { // the store has what was committed
		var m struct{ Record audit.Record }
		if err := json.Unmarshal([]byte(x.chain[len(x.chain)-1]), &m); err != nil {
			x.t.Fatal(err)
		}
		x.s.Audit.Chain, x.s.Audit.N = m.Record.Chain, m.Record.N
		x.s.Audit.Hash = x.head().Hash
	}
	x.record([]failsafe.Decision{failsafe.InForce(failsafe.DecidedStart, x.s, nil)}, x.now, x.wall())
	x.key(&start)
	x.stored = x.s
	x.step(failsafe.Inputs{})
}

func (x *life) head() failsafe.AuditHead {
	v := &audit.Verifier{}
	v.Add([]byte(x.chain[len(x.chain)-1]), "")
	c := v.Report().Chains[0]
	return failsafe.AuditHead{Chain: c.Chain, N: c.To, Hash: c.Head}
}

func (x *life) frame() audit.Frame {
	return audit.Frame{Agent: "S1", Boot: fmt.Sprint("b", x.boot), Config: fmt.Sprint("sha256:", x.cfg.Groups[0].Failsafe), Version: "dev"}
}

func (x *life) key(start *journal.Start) {
	x.flush()
	f := x.frame()
	ramps, err := json.Marshal(&x.ramps)
	if err == nil {
		x.file, err = journal.AppendKey(x.file, &journal.Key{Agent: f.Agent, Boot: f.Boot, Config: f.Config, Version: f.Version,
			Next: x.n, Engine: x.cfg, Place: "UTC", State: x.s, Ramps: ramps, Start: start})
	}
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *life) flush() {
	var err error
	if x.file, err = x.w.AppendTo(x.file); err != nil {
		x.t.Fatal(err)
	}
}

func (x *life) record(all []failsafe.Decision, now time.Duration, wall time.Time) (first uint64) {
	first = x.s.Audit.N + 1
	for _, d := range all {
		text, next, err := audit.Append(x.s.Audit, x.frame(), audit.Moment{Wall: wall, Mono: now, Clock: x.clock.String()}, d)
		if err != nil {
			x.t.Fatal(err)
		}
		x.s.Audit = next
		x.chain = append(x.chain, fmt.Sprintf(`{"g":1,"s":"audit","n":%d,"v":1,"agent":"S1","record":%s}`, next.N, text))
	}
	return first
}

func (x *life) step(in failsafe.Inputs) {
	in.Clock = x.clock
	for i, way := range []string{"W1", "W2", failsafe.TX} {
		l := failsafe.Load{Way: way, At: x.now}
		for p := range l.I {
			l.Quality[p] = x.q
			if i < 2 {
				l.I[p] = x.amps[i]
			} else {
				l.I[p] = x.amps[0] + x.amps[1]
			}
		}
		in.Loads = append(in.Loads, l)
	}
	for _, g := range x.cfg.Groups {
		if told, ok := x.told[g.ID]; ok {
			in.Feedback = append(in.Feedback, failsafe.Feedback{Group: g.ID, Told: told, Limit: told, OK: true})
		}
	}
	clear(x.told)
	before := x.s
	s, set, ev, _ := x.e.Step(before, in, x.now, x.wall())
	x.s = s
	all, err := x.ramps.Add(x.e.Decisions(before, s, in, set, ev), x.now)
	if err != nil {
		x.t.Fatal(err)
	}
	first := x.record(all, x.now, x.wall())
	for _, sp := range set {
		x.told[sp.Group] = sp.Limit
	}
	x.write(&journal.Step{Now: x.now, Wall: x.wall(), In: in, First: first, Records: uint64(len(all))})
	if ev.Store || len(all) > 0 {
		x.stored = x.s
	}
}

func (x *life) write(s *journal.Step) {
	s.N = x.n
	x.n++
	if err := x.w.Add(s); err != nil {
		x.t.Fatal(err)
	}
}

// stop ends in order.
func (x *life) stop() {
	s, rest := x.e.Stop(x.s, x.now, x.wall())
	x.s = s
	all := append(x.ramps.Rest(), failsafe.InForce(failsafe.DecidedStop, s, rest))
	first := x.record(all, x.now, x.wall())
	x.write(&journal.Step{Stop: true, Now: x.now, Wall: x.wall(), In: failsafe.Inputs{Clock: x.clock}, First: first, Records: uint64(len(all))})
	x.stored = x.s
	x.flush()
}

func (x *life) limit(amount failsafe.Amount, length time.Duration, class failsafe.Class) {
	x.seq++
	id := fmt.Sprint("c", x.seq)
	x.step(failsafe.Inputs{Limits: []failsafe.LimitCommand{{ID: id, Hash: id, Issuer: "scada-1", Epoch: 1, Seq: x.seq, Expires: x.wall().Add(time.Minute),
		Class: class, Target: failsafe.Target{Way: "W1"}, Relative: true, Duration: length, Amount: amount}}})
}

func (x *life) beat() {
	x.seq++
	x.step(failsafe.Inputs{Heartbeats: []failsafe.Heartbeat{{Issuer: "scada-1", Epoch: 1, Seq: x.seq}}})
}

// run lets time pass; with heartbeats where somebody sends them.
func (x *life) run(seconds int, beating bool) {
	for i := range seconds {
		x.now += time.Second
		if beating && i%30 == 29 {
			x.beat()
		} else {
			x.step(failsafe.Inputs{})
		}
	}
}

// export returns the journal with its records, as a user gets it.
func (x *life) export() []byte {
	x.flush()
	file := bytes.Clone(x.file)
	var err error
	for _, r := range x.chain {
		if file, err = journal.AppendRecord(file, []byte(r)); err != nil {
			x.t.Fatal(err)
		}
	}
	return file
}

// history plays a random life.
func history(rt *rapid.T) *life {
	x := newLife(rt, testConfig())
	for range rapid.IntRange(1, 8).Draw(rt, "events") {
		switch rapid.IntRange(0, 11).Draw(rt, "event") {
		case 0:
			x.run(rapid.IntRange(1, 140).Draw(rt, "silent"), false)
		case 1, 2:
			x.run(rapid.IntRange(60, 130).Draw(rt, "heard"), true)
			x.limit(failsafe.Amount{Unit: failsafe.None}, 0, failsafe.Network)
		case 3:
			x.limit(failsafe.Amount{Unit: failsafe.Amps, Value: int64(rapid.IntRange(0, 96).Draw(rt, "amps")) * 1000},
				time.Duration(rapid.IntRange(1, 600).Draw(rt, "for"))*time.Second, failsafe.Class(rapid.IntRange(0, 3).Draw(rt, "class")))
		case 4:
			x.amps = [2]meter.Milliamps{meter.Milliamps(rapid.IntRange(-10, 130).Draw(rt, "W1")) * 1000, meter.Milliamps(rapid.IntRange(0, 130).Draw(rt, "W2")) * 1000}
		case 5:
			x.q = rapid.SampledFrom([]meter.Quality{meter.Good, meter.Good, meter.Suspect, meter.Missing}).Draw(rt, "quality")
		case 6:
			x.skew += time.Duration(rapid.IntRange(-4000, 4000).Draw(rt, "step")) * time.Second
		case 7:
			x.seq++
			x.step(failsafe.Inputs{Overrides: []failsafe.OverrideCommand{{ID: fmt.Sprint("o", x.seq), Local: true, By: "T. Ester", Why: "a test",
				Kind: failsafe.OverrideKind(rapid.IntRange(1, 3).Draw(rt, "kind")), Target: failsafe.Target{Groups: []string{"G1", "G3"}}, For: time.Minute}}})
		case 8: // a crash
			x.flush()
			old := x.stored
			x.now += time.Duration(rapid.IntRange(0, 300).Draw(rt, "down")) * time.Second
			x.begin(&old, false)
		case 9: // an ordered end, and another configuration
			x.stop()
			old := x.stored
			x.now += time.Duration(rapid.IntRange(0, 90).Draw(rt, "down")) * time.Second
			x.cfg = testConfig()
			x.cfg.Groups[0].Failsafe = meter.Milliamps(rapid.IntRange(6, 96).Draw(rt, "failsafe")) * 1000
			x.begin(&old, false)
		case 10:
			x.key(nil)
		case 11:
			x.clock = rapid.SampledFrom([]meter.Clock{meter.Synced, meter.Holdover, meter.Unsynced}).Draw(rt, "clock")
		}
	}
	return x
}

func show(r *replay.Report) string {
	body, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// Whatever happened, over restarts, crashes and other configurations: what is
// computed again is what was recorded, every record of it.
func TestReplayIsExact(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := history(rt)
		r := replay.Run(x.export())
		if !r.Right() || len(r.Gaps) > 0 || r.Absent > 0 {
			rt.Fatal(show(r))
		}
		if r.Runs != x.boot || r.Decisions != len(x.chain) {
			rt.Fatalf("%d runs, %d decisions, want %d and %d", r.Runs, r.Decisions, x.boot, len(x.chain))
		}
	})
}

// A journal of which the beginning was dropped is computed from its first key.
func TestReplayFromTheMiddle(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := history(rt)
		x.key(nil)
		from := len(x.file)
		x.key(nil)
		before := len(x.chain)
		x.run(rapid.IntRange(0, 120).Draw(rt, "seconds"), true)
		x.file = x.file[from:]
		r := replay.Run(x.export())
		if !r.Right() || len(r.Gaps) > 0 || r.Decisions != len(x.chain)-before {
			rt.Fatalf("%d of %d decisions: %s", r.Decisions, len(x.chain)-before, show(r))
		}
	})
}

// An altered octet anywhere in the file is said, and never a crash.
func TestReplayFindsAnAlteredOctet(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		file := history(rt).export()
		at := rapid.IntRange(0, len(file)-1).Draw(rt, "octet")
		file[at] ^= byte(rapid.IntRange(1, 255).Draw(rt, "by"))
		if r := replay.Run(file); r.Right() {
			rt.Fatalf("octet %d altered: %s", at, show(r))
		}
	})
}

// rewrite lets somebody who knows the form alter the steps and seal them again.
func rewrite(t *testing.T, file []byte, groups []string, alter func(*journal.Step)) (out []byte) {
	journal.Scan(file, func(b journal.Block) bool {
		if b.Kind != journal.StepsBlock {
			out = append(out, b.Raw...)
			return true
		}
		body, err := b.Body()
		if err != nil {
			t.Fatal(err)
		}
		w := journal.NewWriter(groups)
		if err := journal.ReadSteps(body, groups, func(s *journal.Step) bool {
			alter(s)
			if err := w.Add(s); err != nil {
				t.Fatal(err)
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if out, err = w.AppendTo(out); err != nil {
			t.Fatal(err)
		}
		return true
	})
	return out
}

// A day with a command, a loss and a return, and what somebody might do to it.
func TestReplaySaysWhatDiffers(t *testing.T) {
	play := func(t *testing.T) *life {
		x := newLife(t, testConfig())
		x.run(120, true)
		x.limit(failsafe.Amount{Unit: failsafe.None}, 0, failsafe.Network)
		x.run(900, true)
		x.limit(failsafe.Amount{Unit: failsafe.Amps, Value: 10_000}, 2*time.Minute, failsafe.Network)
		x.run(600, true)
		x.run(700, false)
		x.key(nil)
		x.run(120, true)
		x.limit(failsafe.Amount{Unit: failsafe.None}, 0, failsafe.Network)
		x.run(900, true)
		x.key(nil)
		return x
	}
	tests := []struct {
		name   string
		alter  func(t *testing.T, x *life) []byte
		fields []string // each in some difference
		right  bool
	}{
		{"nothing", func(t *testing.T, x *life) []byte { return x.export() }, nil, true},
		{"a command another", func(t *testing.T, x *life) []byte {
			return rewrite(t, x.export(), []string{"G1", "G2", "G3"}, func(s *journal.Step) {
				for i := range s.In.Limits {
					if s.In.Limits[i].Amount.Unit == failsafe.Amps {
						s.In.Limits[i].Amount.Value = 11_000
					}
				}
			})
		}, []string{"to_ma was 10000, would be 11000"}, false},
		{"one current by a milliampere, where something was decided", func(t *testing.T, x *life) []byte {
			done := false
			return rewrite(t, x.export(), []string{"G1", "G2", "G3"}, func(s *journal.Step) {
				// A milliampere at any other step leads to nothing, and nothing is left of it
				// a second later: it is not seen, as decision 13 says.
				for i := range s.In.Limits {
					if s.In.Limits[i].Amount.Unit == failsafe.Amps && !done {
						s.In.Loads[0].I[0]++
						done = true
					}
				}
			})
		}, []string{"loads[0].ma was 50000, would be 50001"}, false},
		{"one current by 40 A", func(t *testing.T, x *life) []byte {
			return rewrite(t, x.export(), []string{"G1", "G2", "G3"}, func(s *journal.Step) {
				if s.N == 700 {
					s.In.Loads[0].I[0] += 40_000
				}
			})
		}, []string{"Theta"}, false},
		{"a heartbeat left out", func(t *testing.T, x *life) []byte {
			return rewrite(t, x.export(), []string{"G1", "G2", "G3"}, func(s *journal.Step) {
				if s.N < 200 {
					s.In.Heartbeats = nil
				}
			})
		}, []string{"record"}, false},
		{"a record altered, and its chain made anew", func(t *testing.T, x *life) []byte {
			var head failsafe.AuditHead
			for i, r := range x.chain {
				var m struct{ Record audit.Record }
				if err := json.Unmarshal([]byte(r), &m); err != nil {
					t.Fatal(err)
				}
				if m.Record.ToLimit != nil && *m.Record.ToLimit == 10_000 {
					*m.Record.ToLimit = 9_000
				}
				wall, err := time.Parse(time.RFC3339, m.Record.Wall)
				if err != nil {
					t.Fatal(err)
				}
				if head.Chain == "" {
					head = failsafe.AuditHead{Chain: m.Record.Chain, N: m.Record.N - 1, Hash: m.Record.Prev}
				}
				text, next, err := audit.Append(head, m.Record.Frame, audit.Moment{Wall: wall, Mono: time.Duration(m.Record.Mono) * time.Millisecond, Clock: m.Record.Clock}, m.Record.Decision)
				if err != nil {
					t.Fatal(err)
				}
				head = next
				x.chain[i] = fmt.Sprintf(`{"record":%s}`, text)
			}
			return x.export()
		}, []string{"to_ma was 9000, would be 10000"}, false},
		{"a record taken out", func(t *testing.T, x *life) []byte {
			x.chain = append(x.chain[:5], x.chain[6:]...)
			return x.export()
		}, nil, false},
		{"a record of nothing put in at the end of the chain", func(t *testing.T, x *life) []byte {
			limit := meter.Milliamps(1)
			x.record([]failsafe.Decision{{Kind: failsafe.DecidedSetpoint, Group: "G1", FromLimit: &limit, ToLimit: &limit}}, x.now, x.wall())
			x.run(30, true)
			x.limit(failsafe.Amount{Unit: failsafe.Amps, Value: 10_000}, 2*time.Minute, failsafe.Network)
			return x.export()
		}, []string{"none: no step led to it"}, false},
		{"another configuration in the key", func(t *testing.T, x *life) []byte {
			file := x.export()
			var out []byte
			journal.Scan(file, func(b journal.Block) bool {
				if b.Kind != journal.KeyBlock {
					out = append(out, b.Raw...)
					return true
				}
				body, err := b.Body()
				if err != nil {
					t.Fatal(err)
				}
				k, err := journal.ReadKey(body)
				if err == nil {
					k.Engine.Groups[0].Failsafe = 25_000
					out, err = journal.AppendKey(out, k)
				}
				if err != nil {
					t.Fatal(err)
				}
				return true
			})
			return out
		}, []string{"was 24000, would be 25000"}, false},
		{"a stored state that the run before never had", func(t *testing.T, x *life) []byte {
			old := x.stored
			old.Groups = append([]failsafe.GroupState{}, old.Groups...)
			old.Groups[0].Withheld = 0
			x.flush()
			x.begin(&old, false)
			return x.export()
		}, []string{"Groups[0].Withheld"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := replay.Run(tt.alter(t, play(t)))
			if r.Right() != tt.right {
				t.Fatal(show(r))
			}
			text := ""
			for i := range r.Differences {
				text += r.Differences[i].String() + "\n"
			}
			for _, f := range tt.fields {
				if !strings.Contains(text, f) {
					t.Errorf("no difference says %q:\n%s", f, text)
				}
			}
		})
	}
}

// A file from anywhere is answered, never a crash.
func FuzzRun(f *testing.F) {
	x := newLife(f, testConfig())
	x.run(3, true)
	f.Add(x.export(), 0, byte(0))
	f.Fuzz(func(t *testing.T, data []byte, at int, by byte) {
		// A fault within a block, under a right sum.
		var out []byte
		journal.Scan(data, func(b journal.Block) bool {
			body, err := b.Body()
			if err != nil {
				return true
			}
			if len(body) > 0 && at >= 0 {
				body[at%len(body)] ^= by
			}
			if sealed, err := journal.Seal(nil, b.Kind, body); err == nil {
				out = append(out, sealed...)
			}
			return true
		})
		replay.Run(out)
		replay.Run(data)
	})
}
