package failsafe

import (
	"fmt"
	"testing"
	"time"

	"lvagent/meter"
)

// contactSite is a way with five contacts of 50 A on L1 and a household load of
// 50 A; what is closed draws.
func contactSite(t *testing.T) (*site, func() int) {
	cfg := testConfig()
	cfg.Timers = DefaultTimers()
	cfg.Groups = nil
	for g := range 5 {
		cfg.Groups = append(cfg.Groups, Group{ID: fmt.Sprint("C", g+1), Way: "W1", Phases: [3]bool{true}, Rating: 50_000, Failsafe: 12_000, Contact: true})
	}
	x := newSite(t, cfg)
	return x, func() (closed int) {
		for i, g := range x.s.Groups {
			if g.Limit >= cfg.Groups[i].Rating {
				closed++
			}
		}
		return closed
	}
}

// Contacts that failsafe held open come back one at a time where there is room,
// not all at the end of one ramp.
func TestContactsCloseOneByOne(t *testing.T) {
	tests := []struct {
		name   string
		load   meter.Milliamps // besides what the contacts add
		closed int             // in the end
	}{
		{"room for all", 0, 5},
		{"room for three", 100_000, 3},
		{"room for none", 240_000, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x, closed := contactSite(t)
			x.run(3*m, false)
			x.run(2*m, true)
			x.none("W1")
			var at []time.Duration
			for end := x.now + 14*m; x.now < end; {
				n := closed()
				x.load = tt.load + meter.Milliamps(n)*50_000
				x.run(s, true)
				for _, g := range x.s.Groups {
					if g.Limit > 12_000 && g.Limit < 50_000 {
						t.Fatalf("%s goes up a ramp: %d", g.ID, g.Limit)
					}
				}
				if k := closed(); k > n+1 {
					t.Fatalf("%d contacts close at once", k-n)
				} else if k == n+1 {
					at = append(at, x.now)
				}
			}
			if closed() != tt.closed {
				t.Errorf("%d contacts are closed, want %d", closed(), tt.closed)
			}
			for i := 1; i < len(at); i++ {
				if at[i]-at[i-1] < m {
					t.Errorf("contacts close at %v", at)
				}
			}
		})
	}
}

// A frozen phase shows nothing of what its customers take: no contact closes by
// what it shows, no budget grows, and nothing goes up at once when it thaws.
func TestNothingIsRaisedByAFrozenPhase(t *testing.T) {
	t.Run("contacts", func(t *testing.T) {
		x, closed := contactSite(t)
		x.run(3*m, false)
		x.run(2*m, true)
		x.frozen[0] = true
		x.none("W1")
		x.run(h, true)
		if n := closed(); n > 0 {
			t.Errorf("%d contacts closed by a frozen phase", n)
		}
		x.frozen[0] = false
		x.run(m-s, true)
		if n := closed(); n > 0 {
			t.Errorf("%d contacts closed at the thaw", n)
		}
		x.run(2*s, true)
		if n := closed(); n != 1 {
			t.Errorf("%d contacts closed a minute after the thaw, want 1", n)
		}
	})
	t.Run("setpoints", func(t *testing.T) {
		x := newSite(t, testConfig())
		x.free()
		x.load = 350_000
		x.run(20*s, true)
		low := x.group("G1").Limit
		x.frozen, x.load = [3]bool{true, true, true}, 0
		x.run(2*h, true)
		x.frozen, x.load = [3]bool{}, 50_000
		x.run(10*s, true)
		if got := x.group("G1").Limit; got > low+12_000 {
			t.Errorf("G1 went from %d to %d within ten seconds of the thaw", low, got)
		}
	})
}
