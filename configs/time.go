package configs

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
	_ "time/tzdata" // an RTU has no zones of its own

	"lvagent/meter"
)

// mostSpread keeps a record that waits for its turn, and for late readings
// before that, well within the 120 s after which it would be late.
const mostSpread = 60 * time.Second

// Place returns the site's local time.
func (c *Config) Place() *time.Location {
	place, err := time.LoadLocation(c.Site.Timezone)
	if err != nil {
		return time.UTC // validate has refused it
	}
	return place
}

// PublishAfter returns how long after its end this site sends a half-hour, so
// that ten thousand sites do not call at the broker in one second. It follows from
// the site's id: by chance it would be another one after each restart.
func (c *Config) PublishAfter() time.Duration {
	most := c.Uplink.Spread.Milliseconds() * min(c.Window.Period, halfHour).Milliseconds() / halfHour.Milliseconds()
	sum := sha256.Sum256([]byte(c.Site.ID))
	return time.Duration(int64(binary.BigEndian.Uint32(sum[:4]))*most>>32) * time.Millisecond
}

// Share turns a percentage into parts of the whole.
func Share(percent float64) meter.PPM { return meter.PPM(percent*float64(meter.Whole)/100 + 0.5) }

func (c *Config) validateTime(s *Source) {
	if _, err := time.LoadLocation(c.Site.Timezone); err != nil || c.Site.Timezone == "" || c.Site.Timezone == "Local" {
		s.add("site.timezone", "must be a time zone as Europe/London or UTC, not %q", c.Site.Timezone)
	}
	s.spanOf("clock.holdover", c.Clock.Holdover, time.Minute, 31*24*time.Hour)
	w := &c.Window
	if !(w.Partial > 0 && w.Partial <= 100) {
		s.add("window.partial_below", "must be above 0 and at most 100 %%, not %v", w.Partial)
	}
	if !(w.Invalid > 0 && w.Invalid <= w.Partial) {
		s.add("window.invalid_below", "must be above 0 and at most partial_below, %v %%, not %v", w.Partial, w.Invalid)
	}
	s.spanOf("uplink.spread", c.Uplink.Spread, 0, mostSpread)
}
