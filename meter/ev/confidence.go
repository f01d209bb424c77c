package ev

import "lvagent/meter"

// What is looked at in a candidate, each from 0 to 1000 or thereabouts.
const (
	always    = iota // 1000
	offClass         // how far its current is from the class
	differs          // between two looks at its size, or between its phases
	rises            // of the lowest current, in shares of the class
	risesMore        // than a car would make it
	unknown          // there is no lowest current yet
	fallen           // something as large went off since
	contested        // two falls together are as large
	steep            // it came at once, as heaters do; a car takes seconds
	busy             // much is going on
	features
)

// look fills in what is seen of a candidate.
func (d *Detector) look(x *candidate) {
	nominal, amps := x.Class.nominal(), max(1, int64(x.I))
	n, low, known, contends := int64(0), int64(0), x.known, int64(0)
	for i, on := range x.Phases {
		if !on {
			continue
		}
		l, ok := d.phases[i].lowest(0, lowAfter)
		n, low, known = n+1, low+l, known && ok
		if d.phases[i].fellInTwo(x) {
			contends = 1000
		}
	}
	rise, hidden := int64(0), int64(1000)
	if known {
		rise, hidden = (low-x.low)*1000/n/nominal, 0
	}
	x.seen = [features]int64{
		always:    1000,
		offClass:  min(1000, abs(amps-nominal*97/100)*5000/nominal),
		differs:   min(1000, x.differs*2000/nominal),
		rises:     max(-500, min(900, rise)),
		risesMore: max(0, min(1000, rise-1200)),
		unknown:   hidden,
		fallen:    min(1000, int64(x.falls)*1000/n),
		contested: contends,
		steep:     min(1000, x.steep*1000/amps),
		busy:      min(1000, int64(x.busy)/20),
	}
}

// confidence is how likely a candidate is what it seems: a logistic model of
// what is seen.
func confidence(c Class, seen *[features]int64) meter.PPM {
	z := int64(0)
	for i, x := range seen {
		z += weights[c][i] * x / 1000
	}
	return logistic(z)
}

// logistic is 1/(1+exp(-z)), of z in thousandths, by a line between points half a
// unit apart.
func logistic(z int64) meter.PPM {
	if z < 0 {
		return 1_000_000 - logistic(-z)
	}
	i := z / 500
	if i >= int64(len(curve)-1) {
		return curve[len(curve)-1]
	}
	return curve[i] + (curve[i+1]-curve[i])*meter.PPM(z%500)/500
}

var curve = [...]meter.PPM{500_000, 622_459, 731_059, 817_574, 880_797, 924_142, 952_574, 970_688, 982_014, 989_013, 993_307, 995_930, 997_527}

// The weights, in thousandths, come from simulated streets with other seeds than
// those that docs/ev.md measures; `go test ./meter/ev -run TestWeights -fit`
// prints them anew.
var weights = [Classes][features]int64{
	{1429, -2515, -1861, 822, 1271, -340, -481, 76, -4373, -2505}, // 1x16
	{1253, -4166, -2758, 1945, 836, 0, -958, -508, -1692, -1102},  // 1x32
	{3322, -456, -2992, 1488, 1433, 0, -845, -806, -900, -2808},   // 3x16
	{714, -676, -1595, 1827, 1028, 0, -954, -1249, 1738, -316},    // 3x32
}
