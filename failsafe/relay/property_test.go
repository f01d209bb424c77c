package relay

import (
	"errors"
	"syscall"
	"testing"

	"lvagent/failsafe/relay/relaytest"
	"lvagent/meter"

	"pgregory.net/rapid"
)

// rig is an output on hardware that fails.
type rig struct {
	apply    func(limit meter.Milliamps) (meter.Milliamps, error)
	permits  func() meter.Milliamps // what the hardware lets through
	fault    func(faults)           // is so from now on
	restarts map[string]func()      // of the agent, or of what the output is on
	check    func(t *rapid.T)       // what must hold besides; may be nil
}

func modbusRig(t *rapid.T, contact bool) rig {
	c := &controller{}
	var r rig
	if contact {
		coil := Coil{Unit: 3, Addr: 2, Curtail: rapid.Bool().Draw(t, "curtail"), Rating: rating}
		rest := func() {
			if !c.stuck {
				c.coil = coil.Curtail
			}
		}
		rest()
		r.apply = func(limit meter.Milliamps) (meter.Milliamps, error) { return coil.Apply(c, limit) }
		r.permits = func() meter.Milliamps { return through(c.coil != coil.Curtail, rating) }
		r.restarts = map[string]func(){"controller restarts": rest}
	} else {
		reg := Register{Unit: 3, Addr: 30, Encode: Encoding(rapid.IntRange(0, 2).Draw(t, "encoding")), Rating: rating}
		r.apply = func(limit meter.Milliamps) (meter.Milliamps, error) { return reg.Apply(c, limit) }
		r.permits = func() meter.Milliamps { return reg.Limit(c.value) }
		r.restarts = map[string]func(){"controller restarts": func() {
			if !c.stuck {
				c.value = 0
			}
		}}
	}
	r.fault = func(f faults) { c.faults = f }
	return r
}

func lineRig(*rapid.T) rig {
	k := relaytest.NewKernel()
	chip, line := board(k)
	var now faults
	answer := func(writes, reads bool) func(relaytest.Op) error {
		return func(op relaytest.Op) error {
			if reading := op == relaytest.Get; reading && reads || !reading && writes {
				return syscall.EIO
			}
			return nil
		}
	}
	return rig{
		apply:   func(limit meter.Milliamps) (meter.Milliamps, error) { return line.Apply(limit) },
		permits: func() meter.Milliamps { return through(chip.High(0), rating) },
		fault: func(f faults) {
			k.Refuse, k.Lose = answer(f.refuse, f.deaf), answer(f.lose, false)
			switch {
			case f.stuck && !now.stuck:
				chip.Stick(0)
			case !f.stuck:
				chip.Loosen(0)
			}
			now = f
		},
		restarts: map[string]func(){
			"agent crashes": func() {
				k.Exit()
				line = NewLine(k, Address{Chip: "expander", Line: "0"}, rating)
			},
			"agent stops": func() {
				line.Close()
				line = NewLine(k, Address{Chip: "gpiochip0", Line: "0"}, rating)
			},
			"expander loses its supply": chip.PowerCycle,
			"chip is replugged":         func() { chip.Remove(); chip.Return() },
		},
		check: func(t *rapid.T) {
			if n := k.Handles(); n > 1 {
				t.Fatalf("%d handles open, want at most 1", n)
			}
		},
	}
}

// Whatever is told, fails and restarts: an output never permits more than the
// limit that was last applied with success, or one that it was told since and
// that may have arrived although the answer was an error. What it says that it
// permits is never less than what it does.
func TestAnOutputNeverPermitsMore(t *testing.T) {
	kinds := map[string]func(*rapid.T) rig{
		"register": func(t *rapid.T) rig { return modbusRig(t, false) },
		"coil":     func(t *rapid.T) rig { return modbusRig(t, true) },
		"line":     lineRig,
	}
	for name, build := range kinds {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				r := build(t)
				bound := meter.Milliamps(0)
				var now faults
				actions := map[string]func(*rapid.T){
					"apply": func(t *rapid.T) {
						limit := rapid.OneOf(
							rapid.SampledFrom([]meter.Milliamps{-1, 0, rating - 1, rating, rating + 1}),
							rapid.Custom(func(t *rapid.T) meter.Milliamps {
								return meter.Milliamps(rapid.IntRange(0, 2*rating).Draw(t, "any"))
							})).Draw(t, "limit")
						bound = max(bound, limit)
						got, err := r.apply(limit)
						if err != nil {
							return
						}
						if does := r.permits(); got < does {
							t.Fatalf("told %d it says that it permits %d, and permits %d", limit, got, does)
						}
						if got <= max(0, limit) {
							bound = max(0, limit)
						} else if !now.stuck {
							t.Fatalf("told %d it says that it permits %d", limit, got)
						}
					},
					"fault": func(t *rapid.T) {
						now = faults{
							refuse: rapid.Bool().Draw(t, "refuse"), lose: rapid.Bool().Draw(t, "lose"),
							deaf: rapid.Bool().Draw(t, "deaf"), stuck: rapid.Bool().Draw(t, "stuck"),
						}
						r.fault(now)
					},
					"repair": func(t *rapid.T) {
						now = faults{}
						r.fault(now)
						limit := rapid.SampledFrom([]meter.Milliamps{0, rating}).Draw(t, "limit")
						bound = max(bound, limit)
						_, err := r.apply(limit)
						if errors.Is(err, syscall.ENODEV) {
							_, err = r.apply(limit) // with a new handle
						}
						if err != nil || r.permits() != limit {
							t.Fatalf("repaired, told %d: permits %d, %v", limit, r.permits(), err)
						}
						bound = limit
					},
					"": func(t *rapid.T) {
						if does := r.permits(); does > bound {
							t.Fatalf("permits %d, more than %d", does, bound)
						}
						if r.check != nil {
							r.check(t)
						}
					},
				}
				for name, restart := range r.restarts {
					actions[name] = func(t *rapid.T) {
						restart()
						if !now.stuck && r.permits() != 0 {
							t.Fatalf("%s: permits %d, want 0", name, r.permits())
						}
					}
				}
				t.Repeat(actions)
			})
		})
	}
}
