package configs

import (
	"fmt"
	"time"

	"lvagent/meter"
	"lvagent/meter/loading"
)

// Transformer is the thermal model of the transformer. The defaults are the set
// of IEC 60076-7 for distribution transformers with natural cooling.
type Transformer struct {
	OilRise    float64       `mapstructure:"oil_rise_k" doc:"Top oil over its surroundings at rated load, in K."`
	Gradient   float64       `mapstructure:"gradient_k" doc:"Hot spot over top oil at rated load, in K."`
	LossRatio  float64       `mapstructure:"loss_ratio" doc:"Load losses at rated load over losses without load."`
	OilTau     time.Duration `mapstructure:"oil_tau" doc:"Time constant of the oil, whole minutes."`
	WindingTau time.Duration `mapstructure:"winding_tau" doc:"Time constant of the windings, whole minutes."`
	HotSpot    float64       `mapstructure:"hot_spot_c" doc:"Highest temperature of the hot spot, in °C."`
	TopOil     float64       `mapstructure:"top_oil_c" doc:"Highest temperature of the oil, in °C."`
	Enclosure  float64       `mapstructure:"enclosure_k" doc:"How much warmer it is around the transformer than outside, in K."`
	Ambient    []float64     `mapstructure:"ambient_c" doc:"Temperature outside by month, January first, in °C. Default 7, 8, 10, 13, 16, 19, 21, 21, 18, 14, 10, 8: warm for Great Britain."`
	Sensor     string        `mapstructure:"ambient_meter" doc:"Id of a meter whose temperature sensor hangs in the air around the transformer; while it measures, ambient_c and enclosure_k do not count."`
}

// SeasonAmps is a sustained rating by season; 0 is the rating.
type SeasonAmps struct {
	Winter float64 `mapstructure:"winter" doc:"December to February."`
	Mid    float64 `mapstructure:"mid" doc:"March, April, September to November."`
	Summer float64 `mapstructure:"summer" doc:"May to August."`
}

// Cable is the thermal model of a way's cable.
type Cable struct {
	Tau time.Duration `mapstructure:"tau" doc:"Time constant, whole minutes. Default 2h."`
}

// Fuse is a way's fuse.
type Fuse struct {
	Rating   float64       `mapstructure:"rating_a" doc:"Rating of the link in A. 0: the fuse is not known."`
	Derating float64       `mapstructure:"derating" doc:"What it carries for ever in its enclosure, as a part of its rating. Default 0.9."`
	Tau      time.Duration `mapstructure:"tau" doc:"Time constant of the carrier, whole minutes. Default 30m."`
	Curve    []Melting     `mapstructure:"curve" doc:"Time-current curve of the link, rising. Default the fast edge of the gates for gG links, which links for LV boards outlast: see docs/loading.md."`
}

// Melting is one point of a time-current curve.
type Melting struct {
	Multiple float64       `mapstructure:"multiple" doc:"Current as a multiple of the rating."`
	Time     time.Duration `mapstructure:"time" doc:"How long the link stands it."`
}

// fastEdge stands for a curve that nobody gave: the times that a gG link of 315 A
// stands at least, as the gates of IEC 60269-1 are commonly quoted (1050 A for 10 s,
// 3420 A for 0.1 s), and 1.25 times its rating for three hours; in between on a
// straight line on log paper. No maker's curve was compared with it.
var fastEdge = []Melting{
	{1.25, 3 * time.Hour}, {1.6, 30 * time.Minute}, {2, 6 * time.Minute}, {2.5, 75 * time.Second}, {3.3, 10 * time.Second}, {10.8, 100 * time.Millisecond}}

var warmAmbient = []float64{7, 8, 10, 13, 16, 19, 21, 21, 18, 14, 10, 8}

func defaultTransformer() Transformer {
	t := loading.Distribution(0)
	return Transformer{
		OilRise: unit(t.OilRise), Gradient: unit(t.Gradient), LossRatio: unit(t.LossRate),
		OilTau: time.Duration(t.OilTau) * time.Minute, WindingTau: time.Duration(t.CoilTau) * time.Minute,
		HotSpot: unit(t.HotSpotLimit), TopOil: unit(t.OilLimit), Enclosure: unit(t.Enclosure),
	}
}

func unit(thousandths int64) float64 { return float64(thousandths) / 1000 }

func (c *Config) completeLoading() {
	if len(c.Site.Thermal.Ambient) == 0 {
		c.Site.Thermal.Ambient = warmAmbient
	}
	for i := range c.Ways {
		w := &c.Ways[i]
		if w.Generation == "" {
			w.Generation = "unknown"
		}
		if w.Cable.Tau == 0 {
			w.Cable.Tau = 2 * time.Hour
		}
		if w.CyclicLoss == 0 {
			w.CyclicLoss = 0.5
		}
		f := &w.Fuse
		if f.Derating == 0 {
			f.Derating = 0.9
		}
		if f.Tau == 0 {
			f.Tau = 30 * time.Minute
		}
		if len(f.Curve) == 0 {
			f.Curve = fastEdge
		}
	}
}

func (s *Source) within(path string, got, low, high float64) {
	if got < low || got > high {
		s.add(path, "must be %v to %v, not %v", low, high, got)
	}
}

func (s *Source) minutes(path string, got, low, high time.Duration) {
	if got < low || got > high || got%time.Minute != 0 {
		s.add(path, "must be whole minutes, %s to %s, not %s", low, high, got)
	}
}

func (c *Config) validateLoading(s *Source) {
	s.within("site.busbar_offset_v", c.Site.BusbarOffset, 0, mostOffset)
	t := &c.Site.Thermal
	const at = "site.transformer."
	s.within(at+"oil_rise_k", t.OilRise, 10, 100)
	s.within(at+"gradient_k", t.Gradient, 5, 60)
	s.within(at+"loss_ratio", t.LossRatio, 0.5, 100)
	s.minutes(at+"oil_tau", t.OilTau, 30*time.Minute, 12*time.Hour)
	s.minutes(at+"winding_tau", t.WindingTau, time.Minute, time.Hour)
	s.within(at+"hot_spot_c", t.HotSpot, 80, 180)
	s.within(at+"top_oil_c", t.TopOil, 60, 140)
	s.within(at+"enclosure_k", t.Enclosure, 0, 40)
	if len(t.Ambient) != 12 {
		s.add(at+"ambient_c", "must have twelve months, not %d", len(t.Ambient))
	}
	for i, a := range t.Ambient {
		s.within(fmt.Sprintf("%sambient_c[%d]", at, i), a, -40, 50)
	}
	if t.Sensor != "" && c.Site.Transformer == 0 {
		s.add(at+"ambient_meter", "there is no transformer: site.transformer_kva must give its rating")
	}
	for i := range c.Ways {
		w := &c.Ways[i]
		at := fmt.Sprintf("ways[%d].", i)
		for _, r := range []struct {
			key string
			a   float64
		}{{"sustained_a.winter", w.Sustained.Winter}, {"sustained_a.mid", w.Sustained.Mid}, {"sustained_a.summer", w.Sustained.Summer},
			{"cyclic_a", w.Cyclic}, {"fuse.rating_a", w.Fuse.Rating}} {
			s.within(at+r.key, r.a, 0, mostAmps)
		}
		s.oneOf(at+"generation", w.Generation, "unknown", "none", "some")
		s.within(at+"cyclic_loss_factor", w.CyclicLoss, 0.05, 1)
		s.minutes(at+"cable.tau", w.Cable.Tau, 5*time.Minute, 48*time.Hour)
		s.within(at+"fuse.derating", w.Fuse.Derating, 0.3, 1)
		s.minutes(at+"fuse.tau", w.Fuse.Tau, time.Minute, 6*time.Hour)
		for j, m := range w.Fuse.Curve {
			at := fmt.Sprintf("%sfuse.curve[%d].", at, j)
			s.within(at+"multiple", m.Multiple, 1.05, 20)
			s.spanOf(at+"time", m.Time, 10*time.Millisecond, 24*time.Hour)
			if j > 0 && (m.Multiple <= w.Fuse.Curve[j-1].Multiple || m.Time >= w.Fuse.Curve[j-1].Time) {
				s.add(at+"multiple", "a larger current must melt sooner: %v times for %s comes after %v times for %s",
					m.Multiple, m.Time, w.Fuse.Curve[j-1].Multiple, w.Fuse.Curve[j-1].Time)
			}
		}
	}
}

// Loading returns what the loading of a way is worked out from.
func (c *Config) Loading(w *Way) loading.Config {
	l := loading.Config{
		Way: w.ID, Phases: PhaseSet(w.Phases), Hold: c.PollOf(w) * 5 / 2,
		Cyclic: meter.Milliamps(Milli(w.Cyclic)), CyclicLoss: meter.PPM(Milli(w.CyclicLoss) * 1000),
		Cable: loading.Cable{Tau: int64(w.Cable.Tau / time.Minute)},
	}
	seasons := [loading.Seasons]float64{loading.Summer: w.Sustained.Summer, loading.Mid: w.Sustained.Mid, loading.Winter: w.Sustained.Winter}
	for season, amps := range seasons {
		for p, rating := range w.Rating {
			if amps > 0 {
				rating = amps
			}
			l.Sustained[season][p] = meter.Milliamps(Milli(rating))
		}
	}
	if w.Fuse.Rating > 0 {
		f := &loading.Fuse{Rating: meter.Milliamps(Milli(w.Fuse.Rating)), Carry: meter.Milliamps(Milli(w.Fuse.Rating * w.Fuse.Derating)),
			Tau: int64(w.Fuse.Tau / time.Minute)}
		for _, m := range w.Fuse.Curve {
			f.Curve = append(f.Curve, loading.Melting{Multiple: meter.PPM(Milli(m.Multiple) * 1000), Time: m.Time})
		}
		l.Fuse = f
	}
	return l
}

// TransformerLoading returns what the transformer's loading is worked out from.
// Its readings come as often as those of its slowest way.
func (c *Config) TransformerLoading(id string, hold time.Duration) loading.Config {
	s := &c.Site
	firm := s.FirmCurrent()
	l := loading.Config{Way: id, Hold: hold, Firm: Milli(s.Firm * 1000)}
	for season := range l.Sustained {
		l.Sustained[season] = [meter.Phases]meter.Milliamps{firm, firm, firm}
	}
	t := loading.Distribution(current(s.Transformer))
	t.OilRise, t.Gradient, t.LossRate = Milli(s.Thermal.OilRise), Milli(s.Thermal.Gradient), Milli(s.Thermal.LossRatio)
	t.OilTau, t.CoilTau = int64(s.Thermal.OilTau/time.Minute), int64(s.Thermal.WindingTau/time.Minute)
	t.HotSpotLimit, t.OilLimit, t.Enclosure = Milli(s.Thermal.HotSpot), Milli(s.Thermal.TopOil), Milli(s.Thermal.Enclosure)
	l.Transformer = &t
	l.Cable.Tau = t.OilTau // of the conductors behind it, which have no model of their own
	for i, a := range s.Thermal.Ambient {
		l.Ambient[i] = Milli(a)
	}
	return l
}
