package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"lvagent/agent/metrics"
)

// numbers writes what Prometheus gets to see. Names don't change between
// releases; docs/metrics.md has them.
func (a *Agent) numbers(ctx context.Context, w *metrics.Writer) error {
	v, err := a.loop.View(ctx)
	if err != nil {
		return err
	}
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	w.Gauge("lvagent_build", 1, "version", Version, "config", a.status.Config)
	w.Gauge("lvagent_start_time_seconds", float64(a.status.Since.Unix()))
	w.Gauge("lvagent_clock_synced", flag(v.Clock == "synced"))
	for _, way := range v.Ways {
		w.Gauge("lvagent_way_age_seconds", way.Age, "way", way.Way)
		for p, amps := range way.Amps {
			if amps != nil { // what is not known has no number
				w.Gauge("lvagent_way_amperes", *amps, "way", way.Way, "phase", fmt.Sprintf("L%d", p+1))
			}
		}
	}
	w.Gauge("lvagent_alarms_active", float64(len(v.Alarms)))
	if err := a.states(w, v.Failsafe, v.Health); err != nil {
		return err
	}
	link := a.link.State()
	w.Gauge("lvagent_uplink_connected", flag(link.Connected))
	w.Counter("lvagent_uplink_published_total", link.Published)
	w.Counter("lvagent_uplink_acknowledged_total", link.Acked)
	w.Counter("lvagent_uplink_reconnects_total", link.Reconnects)
	w.Gauge("lvagent_backlog_records", float64(a.box.Backlog()))
	w.Gauge("lvagent_store_failing", flag(a.store().Failing != ""))
	w.Counter("lvagent_store_written_octets_total", uint64(a.box.Written()+a.saver.Written()))
	if at := a.expires(); !at.IsZero() {
		w.Gauge("lvagent_certificate_expires_seconds", float64(at.Unix()))
	}
	for _, b := range a.buses {
		s := b.Stats()
		w.Gauge("lvagent_bus_up", flag(s.Up), "bus", s.Bus)
		w.Counter("lvagent_bus_opens_total", s.Opens, "bus", s.Bus)
		for _, way := range s.Ways {
			w.Counter("lvagent_polls_total", way.Polls, "way", way.Way)
			w.Counter("lvagent_polls_good_total", way.Good, "way", way.Way)
			w.Counter("lvagent_polls_no_answer_total", way.NoAnswer, "way", way.Way)
			w.Counter("lvagent_polls_exception_total", way.Exception, "way", way.Way)
			w.Counter("lvagent_polls_bad_frame_total", way.BadFrame, "way", way.Way)
			w.Counter("lvagent_polls_invalid_total", way.Invalid, "way", way.Way)
		}
	}
	c := a.loop.Counts()
	w.Counter("lvagent_halfhours_total", c.HalfHours)
	w.Counter("lvagent_readings_overrun_total", c.Overrun)
	w.Counter("lvagent_commands_rejected_total", c.Rejected)
	w.Counter("lvagent_heartbeats_false_total", c.FalseHeartbeats)
	return nil
}

// states writes the failsafe state of each way and the health of each part.
func (a *Agent) states(w *metrics.Writer, limits, health []byte) error {
	var f struct {
		Ways map[string]struct {
			State string
			Since time.Time
		}
	}
	var h struct {
		Points map[string]struct{ State string }
	}
	if err := json.Unmarshal(limits, &f); err != nil {
		return fmt.Errorf("metrics of failsafe: %w", err)
	}
	if err := json.Unmarshal(health, &h); err != nil {
		return fmt.Errorf("metrics of health: %w", err)
	}
	for _, way := range sorted(f.Ways) {
		w.Gauge("lvagent_failsafe_state", 1, "way", way, "state", f.Ways[way].State)
	}
	for _, point := range sorted(h.Points) {
		ok := 0.0
		if h.Points[point].State == "ok" {
			ok = 1
		}
		w.Gauge("lvagent_health_ok", ok, "point", point)
	}
	return nil
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
