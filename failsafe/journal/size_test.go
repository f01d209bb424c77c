package journal_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"lvagent/failsafe"
	"lvagent/failsafe/journal"
	"lvagent/meter"
)

// The figures of decision 13: what a day of steps takes, of five ways and the
// transformer read each second, whose currents wander by some tenths of an
// ampere, and twelve groups that are read back every 30 s. A batch a minute.
func BenchmarkJournalDay(b *testing.B) {
	for _, ways := range []int{1, 5, 12} {
		b.Run(fmt.Sprint("ways-", ways), func(b *testing.B) {
			var octets, plain, pages int
			for b.Loop() {
				octets, plain, pages = journalDay(b, ways)
			}
			b.ReportMetric(float64(octets)/1e6, "MB/day")
			b.ReportMetric(float64(plain)/1e6, "MB/day-not-compressed")
			b.ReportMetric(float64(pages)*4096/1e6, "MB/day-in-pages")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func journalDay(tb testing.TB, ways int) (octets, plain, pages int) {
	dice := rand.New(rand.NewPCG(1, 2))
	var groups []string
	var loads []failsafe.Load
	for g := range 12 {
		groups = append(groups, fmt.Sprint("G", g))
	}
	for w := range ways + 1 {
		loads = append(loads, failsafe.Load{Way: fmt.Sprint("W", w), Quality: [3]meter.Quality{meter.Good, meter.Good, meter.Good}})
	}
	w := journal.NewWriter(groups)
	n := uint64(0)
	for second := range 86_400 {
		now := time.Duration(second) * time.Second
		for i := range loads {
			loads[i].At = now - time.Duration(dice.IntN(30))*time.Millisecond
			for p := range loads[i].I {
				loads[i].I[p] += meter.Milliamps(300 * dice.NormFloat64())
			}
		}
		in := failsafe.Inputs{Loads: loads, Clock: meter.Synced}
		if second%30 == 0 {
			in.Heartbeats = []failsafe.Heartbeat{{Issuer: "scada-1", Epoch: 3, Seq: uint64(second / 30)}}
		}
		add := func(in failsafe.Inputs) {
			if err := w.Add(&journal.Step{N: n, Now: now, Wall: epoch.Add(now), In: in}); err != nil {
				tb.Fatal(err)
			}
			n++
		}
		add(in)
		if second%30 < len(groups) {
			add(failsafe.Inputs{Loads: loads, Clock: meter.Synced, Feedback: []failsafe.Feedback{{Group: groups[second%30], Told: 24_000, Limit: 24_000, OK: true}}})
		}
		if second%60 == 59 {
			plain += w.Len()
			text, err := w.AppendTo(nil)
			if err != nil {
				tb.Fatal(err)
			}
			octets += len(text)
			pages += (len(text)+4095)/4096 + 1 // and the file's own
		}
	}
	return octets, plain, pages
}
