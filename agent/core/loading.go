package core

import (
	"encoding/json"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/failsafe"
	"lvagent/meter"
	"lvagent/meter/loading"
)

// tellCapacity is how often the free capacity is published and the heat kept.
// It moves over minutes; what is needed sooner is in the readings.
const tellCapacity = 5 * time.Minute

// loadingKey is where the heat of everything is kept.
const loadingKey = "loading"

// Conditions of loading (R19). The heat must come back a little before its
// condition is over.
const (
	thermalLimit = "THERMAL_LIMIT" // a phase's heat is above 0.95 of what is permitted
	firmCapacity = "FIRM_CAPACITY" // a period's demand was above 110 % of firm capacity

	thermalRaise meter.PPM = 950_000
	thermalClear meter.PPM = 900_000
)

// buildLoading makes the models of each way, and of the transformer as the last,
// as in feeds. They go on from what was kept, or start warm.
func (l *Loop) buildLoading(now time.Duration, wall time.Time, clock meter.Clock) {
	slowest := time.Duration(0)
	for _, w := range l.Config.Ways {
		l.loading = append(l.loading, loading.New(l.Config.Loading(&w)))
		slowest = max(slowest, l.Config.PollOf(&w))
	}
	if l.transformer != nil {
		l.loading = append(l.loading, loading.New(l.Config.TransformerLoading(failsafe.TX, slowest*5/2)))
	}
	l.hot = make([]bool, len(l.loading))
	l.capacityAt = now - tellCapacity + time.Minute // a first one soon
	body := l.Outbox.Get(loadingKey)
	if body == nil {
		return
	}
	var kept []loading.State
	if err := json.Unmarshal(body, &kept); err != nil {
		l.Log.Error("heat not resumed; it starts warm", "err", err)
		return
	}
	for _, s := range kept {
		if i, ok := l.ways[s.Way]; ok && !l.loading[i].Resume(s, wall, clock) {
			l.Log.Error("heat not resumed; it starts warm", "way", s.Way)
		}
	}
}

// tickLoading warms the models, raises and clears their conditions, and now and
// then keeps and publishes them.
func (l *Loop) tickLoading(now time.Duration, wall time.Time, clock meter.Clock) {
	for i, w := range l.loading {
		w.Advance(now, wall, clock)
		if !l.isIncomer(i) {
			l.watchHeat(i, wall)
		}
	}
	l.tickSensor()
	if now-l.capacityAt < tellCapacity {
		return
	}
	l.capacityAt = now
	l.keepLoading(wall, clock)
	l.Uplink.Retain(l.Topics.Capacity(), l.capacity())
}

// watchHeat raises and clears what a way's models say. What is not known keeps
// its condition.
func (l *Loop) watchHeat(i int, wall time.Time) {
	way, w := l.feeds[i].id, l.loading[i]
	highest, known := meter.PPM(0), false
	for p := range meter.Phase(meter.Phases) {
		if theta, ok := w.Theta(p); ok {
			highest, known = max(highest, theta), true
		}
	}
	hot := l.hot[i]
	switch {
	case known && highest > thermalRaise:
		hot = true
	case known && highest < thermalClear:
		hot = false
	}
	if hot != l.hot[i] {
		l.hot[i] = hot
		l.alarms.condition(l, failsafe.Condition{Way: way, Kind: thermalLimit, Edge: edge(hot)}, wall)
	}
	if beyond := w.Beyond(); way == failsafe.TX && beyond != l.beyondFirm {
		l.beyondFirm = beyond
		l.alarms.condition(l, failsafe.Condition{Way: way, Kind: firmCapacity, Edge: edge(beyond)}, wall)
	}
}

// ambientPoint is the health point of the sensor of the temperature around the
// transformer.
const ambientPoint = "ambient"

// sense takes the temperature around the transformer, where a meter's sensor
// measures that.
func (l *Loop) sense(from string, r *meter.SupplyReading) {
	if sensor := l.Config.Site.Thermal.Sensor; sensor != "" && from == sensor && r.Temperature.Quality == meter.Good {
		l.loading[len(l.loading)-1].Sense(r.Temperature.Value, r.At)
	}
}

// tickSensor says whether the temperature around the transformer is measured as
// it should be.
func (l *Loop) tickSensor() {
	sensor := l.Config.Site.Thermal.Sensor
	if sensor == "" {
		return
	}
	p := meter.HealthPoint{ID: ambientPoint, State: meter.HealthOK}
	if !l.loading[len(l.loading)-1].Sensed() {
		p.State, p.Code = meter.HealthDegraded, "AMBIENT_ASSUMED"
		p.Detail = "meter " + sensor + " says no temperature; the month's table stands for it"
	}
	if p != l.ambient {
		l.ambient = p
		l.SetHealth(p)
	}
}

func edge(raised bool) meter.Edge {
	if raised {
		return meter.Raise
	}
	return meter.Clear
}

// isIncomer reports whether the feed's way measures the transformer.
func (l *Loop) isIncomer(i int) bool {
	return i < len(l.Config.Ways) && l.Config.Ways[i].IsIncomer()
}

func (l *Loop) keepLoading(wall time.Time, clock meter.Clock) {
	kept := make([]loading.State, 0, len(l.loading))
	for _, w := range l.loading {
		kept = append(kept, w.State(wall, clock))
	}
	body, err := json.Marshal(kept)
	if err != nil {
		l.Log.Error("heat not kept", "err", err)
		return
	}
	l.Outbox.Store(false, nil, outbox.Kept{Key: loadingKey, Value: body})
}

// capacity is how loaded everything is, as JSON.
func (l *Loop) capacity() []byte {
	var transformer *loading.Way
	if l.transformer != nil {
		transformer = l.loading[len(l.loading)-1]
	}
	ways := make([]meter.Capacity, 0, len(l.loading))
	for i, w := range l.loading {
		if l.isIncomer(i) {
			continue // what it measures is the transformer's
		}
		of := transformer
		if w == of {
			of = nil // it does not bound itself
		}
		ways = append(ways, w.Capacity(of))
	}
	return message.AppendCapacity(nil, l.agent, l.Wall(), ways)
}
