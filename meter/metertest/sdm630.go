package metertest

import "math"

// SDM630 is what an Eastron SDM630 shows: volts, amperes, watts and vars, L1 to
// L3, and the neutral current.
type SDM630 struct {
	V, I, P, Q [3]float64
	N          float64
}

// DemandPeriod is the holding register of an SDM630's demand period in minutes, a
// 32-bit float.
const DemandPeriod uint16 = 0x0002

// SetSDM630 makes unit an SDM630 that shows r.
func (s *Server) SetSDM630(unit uint8, r SDM630) { s.Unit(unit).SetSDM630(r) }

// SetSDM630 makes the unit an SDM630 that shows r. All of it changes at one
// instant. The registers are input registers, 32-bit floats, high word first. Its
// holding registers are those of a new meter: a demand period of 60 minutes and the
// code of its kind.
func (u *Unit) SetSDM630(r SDM630) {
	u.Update(func(im *Image) {
		for i := range 3 {
			two := 2 * uint16(i)
			setFloat(im.Input, 0x00+two, r.V[i])
			setFloat(im.Input, 0x06+two, r.I[i])
			setFloat(im.Input, 0x0c+two, r.P[i])
			setFloat(im.Input, 0x12+two, math.Hypot(r.P[i], r.Q[i])) // VA
			setFloat(im.Input, 0x18+two, r.Q[i])
		}
		setFloat(im.Input, 0xe0, r.N)
		// Of the supply: 50 Hz, no energy counted, no distortion.
		setFloat(im.Input, 0x46, 50)
		for _, addr := range []uint16{0x48, 0x4a, 0xea, 0xec, 0xee, 0xf0, 0xf2, 0xf4} {
			setFloat(im.Input, addr, 0)
		}
		if _, set := im.Holding[DemandPeriod]; !set {
			setFloat(im.Holding, DemandPeriod, 60)
			im.Holding[0xfc02] = 0x0070
		}
	})
}
