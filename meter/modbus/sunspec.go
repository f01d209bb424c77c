package modbus

import "fmt"

// SunSpec: a map that describes itself. It begins with "SunS" at one of three
// places and goes on as a chain of models, each with its number and its length,
// to the end mark. Register addresses of the profile count from the model's
// number.
const (
	sunsHigh, sunsLow = 0x5375, 0x6e53
	chainEnd          = 0xffff
	mostModels        = 64 // a chain that is longer is a broken meter
)

type sunspec struct {
	models []uint64 // numbers, any of which will do
	bases  []uint16
	words  uint16 // of the model, its number and length included, that are read
}

// discover finds the model of the way, or makes sure that it is where it was. It
// returns what is wrong with the meter.
func (m *Meter) discover(s *sunspec) (wrong string, err error) {
	if m.found {
		words, err := m.ask(3, m.shift, 2)
		if err != nil && !isRefusal(err) {
			return "", err
		}
		if err == nil && s.isModel(words[0], words[1]) {
			return "", nil
		}
		m.found = false
	}
	for _, base := range s.bases {
		words, err := m.ask(3, base, 2)
		switch {
		case err != nil && !isRefusal(err):
			return "", err
		case err == nil && words[0] == sunsHigh && words[1] == sunsLow:
			return m.walk(s, base)
		}
	}
	return "it has no SunSpec map", nil
}

// walk follows the chain of models that begins at base.
func (m *Meter) walk(s *sunspec, base uint16) (wrong string, err error) {
	at, seen := uint32(base)+2, 0
	for range mostModels {
		if at > 0xfffe {
			return "its chain of SunSpec models leaves the registers", nil
		}
		words, err := m.ask(3, uint16(at), 2)
		if err != nil {
			if isRefusal(err) {
				return fmt.Sprintf("its chain of SunSpec models breaks at %d", at), nil
			}
			return "", err
		}
		id, length := words[0], words[1]
		if id == chainEnd {
			return fmt.Sprintf("it has no SunSpec model for way %d", m.setup.channel()), nil
		}
		if s.isModel(id, length) {
			if seen++; seen == m.setup.channel() {
				if at+uint32(s.words) > 1<<16 {
					return "its SunSpec model leaves the registers", nil
				}
				m.shift, m.found = uint16(at), true
				return "", nil
			}
		}
		at += 2 + uint32(length)
	}
	return fmt.Sprintf("its chain of SunSpec models has no end within %d", mostModels), nil
}

// isModel reports whether a model is of a number wanted and long enough.
func (s *sunspec) isModel(id, length uint16) bool {
	for _, want := range s.models {
		if uint64(id) == want {
			return uint32(length)+2 >= uint32(s.words)
		}
	}
	return false
}

// beginnings are the places at which the map may begin, as blocks of which a
// guard can be made: the mark, and the number and length of the first model.
func (s *sunspec) beginnings() (blocks []block) {
	for _, base := range s.bases {
		b := block{fc: 3, addr: base, n: 5}
		for n := uint16(3); n <= 4; n++ {
			b.parts = append(b.parts, part{addr: base, layout: layout{size: n}})
		}
		blocks = append(blocks, b)
	}
	return blocks
}
