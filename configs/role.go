package configs

import "fmt"

// incomer is the role of a way whose meter measures the transformer.
const incomer = "incomer"

// IsIncomer reports whether the way's meter measures the transformer itself.
func (w *Way) IsIncomer() bool { return w.Role == incomer }

// Incomer returns the id of the way that measures the transformer, or nothing.
func (c *Config) Incomer() string {
	for i := range c.Ways {
		if c.Ways[i].IsIncomer() {
			return c.Ways[i].ID
		}
	}
	return ""
}

func (w *Way) completeRole(site *Site) {
	if w.Role == "" {
		w.Role = "feeder"
	}
	if firm := site.FirmCurrent(); w.IsIncomer() && w.Rating == (PhaseAmps{}) {
		for p := range w.Rating {
			w.Rating[p] = float64(firm) / 1000
		}
	}
}

// validateRoles checks that the incomer is one that TX can be taken from. Two are
// refused rather than summed: they are two transformers, each with a rating and a
// temperature of its own, and a sum would hide the one that is overloaded behind
// the one that is not.
func (c *Config) validateRoles(s *Source) {
	first := ""
	for i := range c.Ways {
		w, at := &c.Ways[i], fmt.Sprintf("ways[%d].role", i)
		s.oneOf(at, w.Role, "feeder", incomer)
		if !w.IsIncomer() {
			continue
		}
		if first != "" {
			s.add(at, "way %s: way %s is the incomer already; two transformers are two sites", w.ID, first)
		}
		if first == "" {
			first = w.ID
		}
		if c.Site.Transformer == 0 {
			s.add(at, "way %s: an incomer measures the transformer; site.transformer_kva must give its rating", w.ID)
		}
		if len(w.Phases) != 0 && len(w.Phases) < 3 {
			s.add(at, "way %s: an incomer has all three phases", w.ID)
		}
	}
}
