package message

import (
	"time"

	"lvagent/meter"
)

// AppendCharging appends what is known of electric vehicles on each way, at t
// (R6). Of a way with few customers it says that, and nothing else (R16).
func AppendCharging(dst []byte, agent string, t time.Time, ways []meter.Charging) []byte {
	w := head(dst, agent)
	w.instant("t", t)
	w.openArray("ways")
	for i := range ways {
		w.charging(&ways[i])
	}
	w.shutArray()
	w.shut()
	return w.b
}

func (w *writer) charging(c *meter.Charging) {
	w.open("")
	w.text("way", c.Way)
	w.text("state", c.State.String())
	if c.State.Withheld() {
		w.shut()
		return
	}
	if c.Since.IsZero() {
		w.null("since")
	} else {
		w.second("since", c.Since)
	}
	for i, p := range c.Phase {
		name := meter.Phase(i).String()
		if p == nil {
			w.null(name)
			continue
		}
		w.open(name)
		w.integer("groups", int64(p.Groups))
		w.integer("connectors", int64(p.Connectors))
		w.decimal("rating_a", int64(p.Rating), tenths)
		w.decimal("limit_a", int64(p.Limit), tenths)
		w.decimal("uncontrolled_a", int64(p.Uncontrolled), tenths)
		w.amps("controllable_a", p.Controllable)
		w.amps("headroom_a", p.Headroom)
		if c.Since.IsZero() {
			w.null("cars")
		} else {
			w.open("cars")
			for _, e := range p.Estimate {
				w.open(e.Class)
				w.decimal("n", int64(e.Cars)/1000, full)
				w.decimal("i", int64(e.I), tenths)
				w.shut()
			}
			w.shut()
		}
		w.shut()
	}
	w.openArray("groups")
	for i := range c.Groups {
		g := &c.Groups[i]
		w.open("")
		w.text("group", g.ID)
		w.openArray("phases")
		for p, on := range g.Phases {
			if on {
				w.text("", meter.Phase(p).String())
			}
		}
		w.shutArray()
		w.decimal("rating_a", int64(g.Rating), tenths)
		w.integer("connectors", int64(g.Connectors))
		w.shut()
	}
	w.shutArray()
	w.shut()
}
