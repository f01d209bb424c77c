package core

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A serial number is published when the meter has said it, and again when another
// meter has taken its place.
func TestSerialNumbersArePublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		for _, tt := range []struct{ serial, want string }{
			{"", `"serial":null`}, {"18440172", `"serial":"18440172"`}, {"18440173", `"serial":"18440173"`},
		} {
			if err := r.loop.Ask(t.Context(), func(l *Loop) {
				l.Serial = func(int) string { return tt.serial }
			}); err != nil {
				t.Fatal(err)
			}
			r.pass(2 * time.Second)
			var meta string
			if err := r.loop.Ask(t.Context(), func(*Loop) { meta = string(r.retained["lv/v1/S1/up/meta"]) }); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(meta, tt.want) {
				t.Errorf("want %s in %s", tt.want, meta)
			}
		}
	})
}
