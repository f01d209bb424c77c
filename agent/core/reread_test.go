package core

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A raise of what readings say has its way read at once, each raise once; one that
// says that nothing is read, or that is not of readings, does not.
func TestRaiseHasItsWayReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		var asked []string
		if err := r.loop.Ask(t.Context(), func(l *Loop) { l.Reread = func(way string) { asked = append(asked, way) } }); err != nil {
			t.Fatal(err)
		}
		again := func() (all []string) {
			if err := r.loop.Ask(t.Context(), func(*Loop) { all, asked = asked, nil }); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return all
		}
		r.pass(4 * time.Minute) // nobody sends heartbeats: NO_STATEMENT and the like
		if got := again(); len(got) != 0 {
			t.Errorf("asked for %v without a raise of readings", got)
		}
		r.amps = 310_000
		r.pass(5 * time.Second)
		if got, raised := again(), r.edges("W1"); !slices.Equal(got, []string{"W1"}) {
			t.Errorf("asked for %v after %v", got, raised)
		}
		r.meet()
		time.Sleep(40 * time.Second) // the meter says nothing
		synctest.Wait()
		if got, raised := again(), r.edges("W1"); len(got) != 0 {
			t.Errorf("asked for %v, which does not answer, after %v", got, raised)
		}
	})
}

// What one reading raises is looked at again once, however many alarms that is.
func TestAlarmsOfOneReadingAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, strings.Replace(siteText, "phases: [L1], kind: hi,", "phases: [L1, L2, L3], kind: hi,", 1), map[string][]byte{})
		defer r.end()
		n := 0
		if err := r.loop.Ask(t.Context(), func(l *Loop) { l.Reread = func(string) { n++ } }); err != nil {
			t.Fatal(err)
		}
		r.meet()
		r.amps = 310_000
		r.pass(5 * time.Second)
		if raised := r.edges("W1"); n != 1 || len(raised) != 3 {
			t.Errorf("asked %d times for %v", n, raised)
		}
	})
}
