package failsafe

import (
	"testing"
	"time"

	"lvagent/meter"
)

// answer passes d, second by second, with what G1's actuator says each second, and
// returns the conditions of that time in order.
func (x *site) answer(d time.Duration, say func(now time.Duration) []Feedback) (told []Condition) {
	for end := x.now + d; x.now < end; {
		x.now += s
		in := Inputs{Feedback: say(x.now)}
		if x.now%(30*s) == 0 {
			x.seq++
			in.Heartbeats = []Heartbeat{{Issuer: "scada-1", Epoch: 1, Seq: x.seq}}
		}
		x.step(in)
		told = append(told, x.ev.Conditions...)
	}
	return told
}

func edges(told []Condition, kind string) (n string) {
	for _, c := range told {
		if c.Kind == kind && c.Group == "G1" {
			n += map[meter.Edge]string{meter.Raise: "raise ", meter.Clear: "clear "}[c.Edge]
		}
	}
	return n
}

func (x *site) obeys() []Feedback {
	g := x.group("G1")
	return []Feedback{{Group: "G1", Told: g.Limit, Limit: g.Limit, OK: true}}
}

func silent(time.Duration) []Feedback { return []Feedback{{Group: "G1"}} }

// An actuator that does not obey for five minutes has failed: nobody counts on it
// until it obeys and a person has seen to it, in either order, over a restart too.
func TestAFailedActuatorWantsAPerson(t *testing.T) {
	obeys := func(x *site) func(time.Duration) []Feedback {
		return func(time.Duration) []Feedback { return x.obeys() }
	}
	ack := func(x *site, groups ...string) (told []Condition) {
		x.step(Inputs{Acknowledged: groups})
		return x.ev.Conditions
	}
	tests := []struct {
		name   string
		do     func(x *site) []Condition
		edges  string
		failed bool
	}{
		{"silent for a second less", func(x *site) []Condition { return x.answer(5*m, silent) }, "", false},
		{"silent for five minutes", func(x *site) []Condition { return x.answer(5*m+s, silent) }, "raise ", true},
		{"disobeys for five minutes", func(x *site) []Condition {
			return x.answer(5*m+s, func(time.Duration) []Feedback {
				return []Feedback{{Group: "G1", Told: x.group("G1").Limit, Limit: 200_000, OK: true}}
			})
		}, "raise ", true},
		{"first one, then the other", func(x *site) []Condition {
			told := x.answer(3*m, silent)
			return append(told, x.answer(2*m+s, func(time.Duration) []Feedback {
				return []Feedback{{Group: "G1", Told: x.group("G1").Limit, Limit: 200_000, OK: true}}
			})...)
		}, "raise ", true},
		{"obeys in between", func(x *site) []Condition {
			told := x.answer(4*m, silent)
			told = append(told, x.answer(s, obeys(x))...)
			return append(told, x.answer(4*m, silent)...)
		}, "", false},
		{"obeys again", func(x *site) []Condition {
			return append(x.answer(6*m, silent), x.answer(time.Hour, obeys(x))...)
		}, "raise ", true},
		{"obeys again, and then a person", func(x *site) []Condition {
			told := append(x.answer(6*m, silent), x.answer(m, obeys(x))...)
			return append(told, ack(x, "G1")...)
		}, "raise clear ", false},
		{"a person who means another", func(x *site) []Condition {
			told := append(x.answer(6*m, silent), x.answer(m, obeys(x))...)
			return append(told, ack(x, "G2", "G9")...)
		}, "raise ", true},
		{"a person, and then it obeys", func(x *site) []Condition {
			told := append(x.answer(6*m, silent), ack(x, "G1")...)
			told = append(told, x.answer(m, silent)...)
			return append(told, x.answer(s, obeys(x))...)
		}, "raise clear ", false},
		{"a person before it has failed", func(x *site) []Condition {
			told := append(x.answer(4*m, silent), ack(x, "G1")...)
			told = append(told, x.answer(2*m, silent)...)
			return append(told, x.answer(m, obeys(x))...)
		}, "raise ", true},
		{"over a restart", func(x *site) []Condition {
			told := x.answer(6*m, silent)
			x.stored = x.s
			x.crash()
			return append(told, x.answer(m, obeys(x))...)
		}, "raise raise ", true}, // once more to whoever keeps the alarms: it still stands
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			x.step(Inputs{})
			if got := edges(tt.do(x), ActuatorFailed); got != tt.edges {
				t.Errorf("edges %q, want %q", got, tt.edges)
			}
			if got := x.group("G1").Failed; got != tt.failed {
				t.Errorf("failed %v, want %v", got, tt.failed)
			}
		})
	}
}

// Nobody counts on a failed actuator, though it obeys again.
func TestAFailedActuatorIsNotCountedOn(t *testing.T) {
	x := newSite(t, testConfig())
	x.free()
	x.answer(6*m, silent)
	x.answer(m, func(time.Duration) []Feedback { return x.obeys() })
	r := run{Engine: x.e, s: &x.s}
	if r.controlled(x.e.group("G1")) {
		t.Error("it is counted on before a person has seen to it")
	}
	x.step(Inputs{Acknowledged: []string{"G1"}})
	if r = (run{Engine: x.e, s: &x.s}); !r.controlled(x.e.group("G1")) {
		t.Error("it is not counted on after that")
	}
}

// One change by another is written over and no alarm; the third within the hour
// is one, until an hour passes without.
func TestDriftIsAnAlarmWhenItKeepsComing(t *testing.T) {
	tests := []struct {
		name  string
		gaps  []time.Duration // between drifts
		rest  time.Duration
		edges string
	}{
		{"once", []time.Duration{m}, m, ""},
		{"twice", []time.Duration{m, m}, m, ""},
		{"three times", []time.Duration{m, m, m}, m, "raise "},
		{"three times, each within an hour of the one before", []time.Duration{m, 59 * m, 59 * m}, m, "raise "},
		{"three times, an hour between", []time.Duration{m, 60 * m, 60 * m}, m, ""},
		{"an hour without", []time.Duration{m, m, m}, time.Hour, "raise clear "},
		{"it comes again within the hour", []time.Duration{m, m, m, 59 * m}, 59 * m, "raise "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			x.step(Inputs{})
			var told []Condition
			for _, gap := range tt.gaps {
				told = append(told, x.answer(gap-s, func(time.Duration) []Feedback { return nil })...)
				told = append(told, x.answer(s, func(time.Duration) []Feedback {
					f := x.obeys()
					f[0].Drifted = true
					return f
				})...)
			}
			told = append(told, x.answer(tt.rest, func(time.Duration) []Feedback { return nil })...)
			if got := edges(told, ActuatorDrift); got != tt.edges {
				t.Errorf("edges %q, want %q", got, tt.edges)
			}
		})
	}
}

// The contact that stands in opens when the actuator has not obeyed for ten
// seconds and a limit is in force, and closes when it obeys again, not before the
// shortest time of a contact.
func TestBackupContact(t *testing.T) {
	cfg := testConfig()
	cfg.Groups[0].Backup = true
	always := func(x *site) func(time.Duration) []Feedback {
		return func(time.Duration) []Feedback { return x.obeys() }
	}
	tests := []struct {
		name string
		do   func(x *site)
		want bool // closed
	}{
		{"before the actuator has said anything", func(x *site) { x.run(m, true) }, false},
		{"when it obeys", func(x *site) { x.answer(s, always(x)) }, true},
		{"ten seconds of silence, less one", func(x *site) { x.answer(m, always(x)); x.answer(10*s, silent) }, true},
		{"ten seconds of silence", func(x *site) { x.answer(m, always(x)); x.answer(11*s, silent) }, false},
		{"it disobeys for as long", func(x *site) {
			x.answer(m, always(x))
			x.answer(11*s, func(time.Duration) []Feedback {
				return []Feedback{{Group: "G1", Told: x.group("G1").Limit, Limit: 96_000, OK: true}}
			})
		}, false},
		{"it curtails more than told", func(x *site) {
			x.answer(m, always(x))
			x.answer(m, func(time.Duration) []Feedback {
				return []Feedback{{Group: "G1", Told: x.group("G1").Limit, OK: true}}
			})
		}, true},
		{"no limit in force", func(x *site) { x.free(); x.answer(m, always(x)); x.answer(m, silent) }, true},
		{"it obeys again, a second too early", func(x *site) {
			x.answer(m, always(x))
			x.answer(11*s, silent)
			x.answer(15*m-s, always(x))
		}, false},
		{"it obeys again", func(x *site) {
			x.answer(m, always(x))
			x.answer(11*s, silent)
			x.answer(15*m+s, always(x))
		}, true},
		{"it obeys again after it failed", func(x *site) {
			x.answer(m, always(x))
			x.answer(6*m, silent)
			x.answer(time.Hour, always(x))
		}, false},
		{"and a person has seen to it", func(x *site) {
			x.answer(m, always(x))
			x.answer(6*m, silent)
			x.answer(time.Hour, always(x))
			x.step(Inputs{Acknowledged: []string{"G1"}})
		}, true},
		{"a restart while it is open", func(x *site) {
			x.answer(m, always(x))
			x.answer(11*s, silent)
			x.stored = x.s
			x.crash()
			x.answer(m, always(x))
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, cfg)
			x.step(Inputs{})
			tt.do(x)
			if got := x.group("G1").Backup.Closed; got != tt.want {
				t.Errorf("closed %v, want %v", got, tt.want)
			}
		})
	}
}

// A group whose contact is known to be open draws nothing, whatever its actuator
// does: the others may have that room.
func TestAnOpenBackupIsNoLoad(t *testing.T) {
	cfg := testConfig()
	cfg.Groups[0].Backup = true
	for _, tt := range []struct {
		name   string
		answer Feedback
		want   meter.Milliamps
	}{
		{"it opened", Feedback{Group: "G1", Backup: true, OK: true}, 0},
		{"it does not answer", Feedback{Group: "G1", Backup: true}, 96_000},
		{"it stuck", Feedback{Group: "G1", Backup: true, OK: true, Limit: 96_000}, 96_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, cfg)
			x.step(Inputs{})
			x.answer(m, func(time.Duration) []Feedback { return x.obeys() })
			told := x.answer(m, func(time.Duration) []Feedback {
				f := silent(0)
				if !x.group("G1").Backup.Closed {
					f = append(f, tt.answer)
				}
				return f
			})
			r := run{Engine: x.e, s: &x.s}
			if got := r.mayYetDraw(x.e.group("G1"), meter.L1); got != tt.want {
				t.Errorf("may yet draw %d, want %d", got, tt.want)
			}
			if got, want := edges(told, BackupFailed), map[bool]string{false: "raise "}[tt.want == 0]; got != want {
				t.Errorf("edges of %s %q, want %q", BackupFailed, got, want)
			}
		})
	}
}
