package failsafe

import (
	"testing"
	"time"
)

// BenchmarkReaction says how long the engine takes to act, in virtual time with a
// step a second, as an agent has: what a bus, a disk and a broker take comes on top.
// It judges nothing; the tests of the rules do.
func BenchmarkReaction(b *testing.B) {
	until := func(b *testing.B, x *site, most time.Duration, done func() bool) float64 {
		for began := x.now; x.now-began < most; {
			x.now += s
			x.step(Inputs{})
			if done() {
				return (x.now - began).Seconds()
			}
		}
		b.Fatal("it never came")
		return 0
	}
	b.Run("last heartbeat to the ramp", func(b *testing.B) {
		var took float64
		for range b.N {
			cfg := testConfig()
			cfg.Timers.EntrySpread = 5 * m
			x := newSite(b, cfg)
			x.free()
			x.beat()
			took = until(b, x, h, func() bool { return x.group("G1").Limit < 96_000 })
		}
		b.ReportMetric(took, "virtual-s")
	})
	b.Run("last heartbeat to failsafe without a ramp", func(b *testing.B) {
		var took float64
		for range b.N {
			x := newSite(b, testConfig())
			x.free()
			x.beat()
			took = until(b, x, h, func() bool { return x.group("G1").Limit == 24_000 })
		}
		b.ReportMetric(took, "virtual-s")
	})
	b.Run("above 115 % to the first shed", func(b *testing.B) {
		var took float64
		for range b.N {
			x := newSite(b, testConfig())
			x.free()
			x.load = 350_000
			limit := x.group("G1").Limit + x.group("G2").Limit
			took = until(b, x, m, func() bool { return x.group("G1").Limit+x.group("G2").Limit < limit })
		}
		b.ReportMetric(took, "virtual-s")
	})
	b.Run("command to its limit", func(b *testing.B) {
		var took float64
		for range b.N {
			x := newSite(b, testConfig())
			x.free()
			began := x.now
			x.command(LimitCommand{Target: Target{Way: "W1"}, Amount: Amount{Unit: Amps, Value: 10_000}, Relative: true, Duration: h})
			if x.group("G1").Limit != 10_000 {
				b.Fatal("not at once")
			}
			took = (x.now - began).Seconds()
		}
		b.ReportMetric(took, "virtual-s")
	})
}
