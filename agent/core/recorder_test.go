package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/meter"
)

// tape notes when each reading that it is given was taken.
type tape struct {
	start time.Time
	at    []int
}

func (t *tape) Record(r *meter.Reading, wall time.Time) {
	if r.Way == "W1" {
		t.at = append(t.at, int(wall.Sub(t.start)/time.Second))
	}
}

// Every reading from a minute before an alarm to five minutes after it is
// recorded, once; without an alarm, none is.
func TestWhatIsRecorded(t *testing.T) {
	record := func(t *testing.T, shelved bool) (at []int) {
		passed := time.Duration(0)
		r := stillRig(t, latching, map[string][]byte{}, &passed)
		tape := &tape{start: r.start}
		r.loop.Recorder = tape
		if shelved {
			if err := r.loop.alarms.order(r.loop, ShelveOrder{ID: "W1.L1.i.hi", For: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		for ; passed < 800*time.Second; passed += time.Second {
			amps := meter.Milliamps(50_000)
			if passed >= 100*time.Second && passed < 110*time.Second {
				amps = 310_000
			}
			rd := meter.Reading{Way: "W1", At: passed}
			for p := range rd.Phase {
				rd.Phase[p] = meter.PhaseReading{
					V: meter.Sample[meter.Millivolts]{Value: 240_000, Quality: meter.Good},
					I: meter.Sample[meter.Milliamps]{Value: amps, Quality: meter.Good},
					P: meter.Sample[meter.Milliwatts]{Quality: meter.Good},
					Q: meter.Sample[meter.Millivars]{Quality: meter.Good},
				}
			}
			r.loop.takeReading(&rd)
		}
		return tape.at
	}
	// Raised at 102 s, back at 110 s, cleared 5 s later: the last active second is 114.
	var want []int
	for s := 42; s <= 114+300; s++ {
		want = append(want, s)
	}
	if got := record(t, false); !slices.Equal(got, want) {
		t.Errorf("recorded %v\nwant %d to %d", got, want[0], want[len(want)-1])
	}
	if got := record(t, true); len(got) != 0 {
		t.Errorf("recorded %v of an alarm that is shelved", got)
	}
}

func TestRecordedIsSentOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		var asked []Wanted
		room := true
		ask := func(id, stream, from, to, more string) string {
			r.send("resend", fmt.Sprintf(`{"id":%q,"issued":"2026-11-24T17:00:00Z","stream":%q,"since":%s,"until":%s%s}`, id, stream, from, to, more))
			return strings.Join(r.stages(id), " ")
		}
		const five, six, noon = `"2026-11-24T17:00:00Z"`, `"2026-11-24T18:00:00Z"`, `"2026-11-24T12:00:00.5Z"`
		if got := ask("none", "rec/W1", five, six, ""); got != "rejected NO_TARGET" {
			t.Errorf("without a recorder: %q", got)
		}
		if err := r.loop.Ask(t.Context(), func(l *Loop) {
			l.Fetch = func(w Wanted) bool {
				if room {
					asked = append(asked, w)
				}
				return room
			}
		}); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct{ name, stream, from, to, more, want string }{
			{"a-way", "rec/W1", five, six, "", "received"},
			{"no-way", "rec/W7", five, six, "", "rejected NO_TARGET"},
			{"backwards", "rec/W1", six, five, "", "rejected INVALID"},
			{"numbers", "rec/W1", "1", "4", "", "rejected INVALID"},
			{"six-hours", "rec/W1", noon, six, "", "received"},
			{"too-long", "rec/W1", `"2026-11-24T11:59:59Z"`, six, "", "rejected INVALID"},
			{"too-late", "rec/W1", five, six, `,"expires":"2000-01-01T00:00:00Z"`, "rejected STALE"},
		} {
			if tt.name == "too-late" {
				r.pass(2 * time.Second)
			}
			if got := ask(tt.name, tt.stream, tt.from, tt.to, tt.more); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
		room = false
		if got := ask("full", "rec/W1", five, six, ""); got != "rejected TOO_MANY" {
			t.Errorf("without room: %q", got)
		}
		if len(asked) != 2 || asked[0].Way != "W1" || asked[0].ID != "a-way" || asked[0].Until.Sub(asked[0].Since) != time.Hour {
			t.Errorf("asked %+v", asked)
		}
	})
}
