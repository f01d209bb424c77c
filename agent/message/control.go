package message

import (
	"fmt"
	"slices"
	"time"
)

// Regime is a way's place in the traffic light of the network (R18).
type Regime uint8

// Regimes, the strictest last.
const (
	Green Regime = iota
	Amber
	Red
)

var regimeNames = [...]string{"green", "amber", "red"}

// Block is a stretch of a capacity curve.
type Block struct {
	For   time.Duration
	Value Value
}

// mostBlocks is one for each quarter of an hour of a day.
const mostBlocks = 96

// curve reads a capacity curve: blocks one after the other, all in one unit.
func (f *fields) curve(key string) []Block {
	v, _ := f.get(key, required)
	list, ok := v.([]any)
	if !ok || len(list) == 0 || len(list) > mostBlocks {
		f.wrong(key, "not a list of 1 to %d blocks", mostBlocks)
		return nil
	}
	blocks := make([]Block, 0, len(list))
	for i, e := range list {
		object, ok := e.(map[string]any)
		if !ok {
			f.wrong(key, "element %d is not an object", i)
			return nil
		}
		o := &fields{object: object, path: fmt.Sprintf("%s%s[%d].", f.path, key, i)}
		b := Block{For: o.span("for", time.Second, required), Value: o.amount()}
		if i > 0 && b.Value.Unit != blocks[0].Value.Unit {
			o.wrong("", "in another unit than the first block")
		}
		f.adopt(o)
		blocks = append(blocks, b)
	}
	return blocks
}

// units are those in which a limit may be counted.
var units = [...]struct {
	key  string
	unit Unit
	most int64
}{{"amps", Amps, maxMilliamps}, {"watts", Watts, maxMilliwatts}, {"percent", Percent, maxMillipct}}

// amount reads a limit from the one unit that the object has.
func (f *fields) amount() (v Value) {
	n := 0
	for _, u := range units {
		if f.has(u.key) {
			n++
			v = Value{Unit: u.unit, Thousandths: f.thousandths(u.key, u.most)}
		}
	}
	if n != 1 {
		f.wrong("", "exactly one of amps, watts and percent is needed, got %d", n)
	}
	return v
}

// regime reads the name of a regime as a limit.
func (f *fields) regime(key string) Value {
	name := f.text(key, 16, required)
	i := slices.Index(regimeNames[:], name)
	if i < 0 {
		f.wrong(key, "%q is none of green, amber, red", name)
	}
	return Value{Unit: ByRegime, Thousandths: int64(max(i, 0))}
}

func curveSchema() node {
	return orNull(node{kind: "array", fewest: 1, most: mostBlocks, items: new(exactly(object(
		append([]field{has("for", span(), "how long; a block begins where the one before it ends")}, unitFields()...)...), unitKeys()...))})
}

func unitFields() []field {
	most := func(thousandths int64) node {
		return orNull(node{kind: "number", limits: &limits{0, thousandths / 1000}})
	}
	return []field{
		may("amps", most(maxMilliamps), "A per group and phase"),
		may("watts", most(maxMilliwatts), "W of the group as a whole, at 230 V"),
		may("percent", most(maxMillipct), "of the group's rating"),
	}
}

func unitKeys() []string { return []string{"amps", "watts", "percent"} }
