package message

import "time"

// RestorationCommand holds back the restart of charging after a loss of supply.
const RestorationCommand = "restoration"

// Restoration holds back the restart of groups after a loss of supply, or ends
// that (R12, R20).
type Restoration struct {
	Target  Target // zero: the whole substation
	Release bool
	For     time.Duration // 0: not said
	By, Why string
}

func (Restoration) body() {}

func (f *fields) restorationCommand() Restoration {
	r := Restoration{
		For: f.span("for", 1, optional),
		By:  f.text("by", 200, required),
		Why: f.text("why", 500, optional),
	}
	if f.has("target") {
		r.Target = f.target("target")
	}
	switch kind := f.text("kind", 16, required); kind {
	case "hold":
	case "release":
		r.Release = true
		if f.has("for") {
			f.wrong("for", "only a hold has one")
		}
	default:
		f.wrong("kind", "%q is none of hold, release", kind)
	}
	return r
}

// InForce is something other than a limit that holds groups back, or that keeps
// the way as it is, until it ends.
type InForce struct {
	Kind    string
	Target  string // way or group; empty: the whole substation
	By, Why string
	Since   time.Time
	Expires time.Time // zero: not by time
	Ends    string    // what would end it
}

func (w *writer) inForce(all []InForce) {
	w.openArray("in_force")
	for i := range all {
		o := &all[i]
		w.open("")
		w.text("kind", o.Kind)
		w.known("target", o.Target)
		w.known("by", o.By)
		w.known("why", o.Why)
		w.instant("since", o.Since)
		w.instant("expires", o.Expires)
		w.known("ends", o.Ends)
		w.shut()
	}
	w.shutArray()
}

func inForceSchema() node {
	return list(object(
		has("kind", known("restoration_hold", "lockout", "planned_silence", "local", "switch_undefined", "customer_override"), ""), has("target", orNull(text()), "way or group; null: the whole substation"),
		has("by", orNull(text()), "who"), has("why", orNull(text()), ""), has("since", orNull(when()), ""),
		has("expires", orNull(when()), "null: not by time"), has("ends", orNull(text()), "what would end it"),
	))
}
