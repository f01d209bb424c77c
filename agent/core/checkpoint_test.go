package core

import (
	"testing"
	"testing/synctest"
	"time"
)

// While only heartbeats come, their numbers are kept now and then; whatever else
// changes is kept at once or within a minute.
func TestQuietStateIsKeptSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		beats := func(minutes int) {
			for range 2 * minutes {
				r.beat()
				r.pass(30 * time.Second)
			}
		}
		beats(1)
		r.limit("s1", `"none"`)
		beats(30) // until every limit is up
		before := len(r.states)
		beats(60)
		if n := len(r.states) - before; n < 4 || n > 5 {
			t.Errorf("kept %d times in a quiet hour, want each quarter of it", n)
		}
	})
}
