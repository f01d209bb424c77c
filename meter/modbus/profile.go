// Package modbus reads one way of a Modbus meter into a [meter.Reading].
//
// A [Profile] says which registers hold which quantity; it is a file, so that a
// new meter is a new file and not new code. A [Client] is one connection, and
// so one bus: its owner is a single goroutine. A [Meter] joins the two for one
// way and decides what each register is worth: a value, or Missing and why.
//
// It does not decide when to read, and it does not reconnect by itself
// (agent/poll). It does not average (meter/window). Modbus TCP is the only
// transport; serial lines are not.
//
// Requirements: R1 (V, I, P, Q per phase and way, neutral current).
package modbus

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"lvagent/meter"
)

// Fault is one thing wrong with a profile. Line is 0 where the fault belongs to
// no line.
type Fault struct {
	Line    int
	Path    string // registers[2].addr[1]
	Message string
}

// String returns the fault as it follows a file name: "12: id: is missing".
func (f Fault) String() string {
	if f.Path == "" {
		return fmt.Sprintf("%d: %s", f.Line, f.Message)
	}
	return fmt.Sprintf("%d: %s: %s", f.Line, f.Path, f.Message)
}

// Profile is a meter's register map, checked and planned into requests. It is
// not changed once parsed, so any number of meters may share it.
type Profile struct {
	id      string
	vendor  string
	models  []string
	level   string
	source  string
	base    uint32
	timeout time.Duration
	limits  limits
	fields  []field
	blocks  []block
	without [quantities]bool // not supported by the meter
	vectors []vector
}

// Block is one request of a meter's poll.
type Block struct {
	Function uint8  // 3 holding registers, 4 input registers
	Addr, N  uint16 // as on the wire, from 0
}

// ID returns the name by which a site file calls the profile.
func (p *Profile) ID() string { return p.id }

// Vendor returns who makes the meter.
func (p *Profile) Vendor() string { return p.vendor }

// Models returns the types of meter that the profile is for.
func (p *Profile) Models() []string { return slices.Clone(p.models) }

// Evidence returns how well the map is verified (bench, vendor or third-party)
// and where it was taken from.
func (p *Profile) Evidence() (level, source string) { return p.level, p.source }

// Timeout returns how long the meter may take to answer one request.
func (p *Profile) Timeout() time.Duration { return p.timeout }

// Blocks returns the requests of one poll, in order.
func (p *Profile) Blocks() []Block {
	out := make([]Block, len(p.blocks))
	for i, b := range p.blocks {
		out[i] = Block{Function: b.fc, Addr: b.addr, N: b.n}
	}
	return out
}

// quantity is the measured quantity that a register holds.
type quantity uint8

const (
	voltage quantity = iota
	current
	active
	reactive
	neutral
	quantities
)

var quantityNames = [quantities]string{"v", "i", "p", "q", "n"}

func (q quantity) String() string { return quantityNames[q] }

// values is how many values of the quantity a way has.
func (q quantity) values() int {
	if q == neutral {
		return 1
	}
	return meter.Phases
}

// kind is how a register's words make a number.
type kind uint8

const (
	u16 kind = iota + 1
	s16
	u32
	s32
	u64
	s64
	f32
	f64
)

var kindNames = map[string]kind{
	"u16": u16, "s16": s16, "u32": u32, "s32": s32,
	"u64": u64, "s64": s64, "f32": f32, "f64": f64,
}

// words is how many registers a number of this kind takes.
func (k kind) words() uint16 {
	switch k {
	case u16, s16:
		return 1
	case u64, s64, f64:
		return 4
	default:
		return 2
	}
}

// order says how the octets of a number lie on the wire. ABCD is most
// significant first; CDAB has the words swapped, BADC the octets within each
// word, DCBA both. For 16 and 64 bits the same names mean the same swaps.
type order struct{ words, octets bool }

var orderNames = map[string]order{
	"ABCD": {}, "CDAB": {words: true}, "BADC": {octets: true}, "DCBA": {words: true, octets: true},
}

// units gives the factor from a unit to thousandths of the SI unit.
var units = [quantities]map[string]float64{
	voltage:  {"V": 1e3, "mV": 1, "kV": 1e6},
	current:  {"A": 1e3, "mA": 1, "kA": 1e6},
	active:   {"W": 1e3, "mW": 1, "kW": 1e6},
	reactive: {"var": 1e3, "mvar": 1, "kvar": 1e6},
	neutral:  {"A": 1e3, "mA": 1, "kA": 1e6},
}

// ranges are the plausible values of a quantity at low voltage, in thousandths,
// where the profile does not say. A raised value that is wrong would curtail a
// street; a value out of range is Missing.
var ranges = [quantities][2]float64{
	voltage:  {0, 1e6},
	current:  {0, 1e7},
	active:   {-1e10, 1e10},
	reactive: {-1e10, 1e10},
	neutral:  {0, 1e7},
}

// field is one register that holds one value.
type field struct {
	quantity quantity
	phase    meter.Phase // of a neutral: L1, unused
	fc       uint8
	addr     uint16 // on the wire
	kind     kind
	order    order
	factor   float64 // raw to thousandths
	offset   float64 // thousandths
	low      float64 // thousandths, inclusive
	high     float64
	invalid  []uint64 // raw patterns that mean "not available"

	line int
	path string
}

// end is the address after the field's last word.
func (f *field) end() uint32 { return uint32(f.addr) + uint32(f.kind.words()) }

// span is a run of addresses on the wire, both ends inclusive.
type span struct{ from, to uint16 }

// limits are the bounds of one request.
type limits struct {
	maxRegs uint16
	maxGap  uint16
	noRead  []span
}

// block is one request and the fields that it brings.
type block struct {
	fc      uint8
	addr, n uint16
	fields  []field
}

// plan merges fields into as few requests as the limits allow. Fields that are
// read together are taken at one instant, so that P fits its V and I.
func plan(fields []field, lim limits) []block {
	fs := slices.Clone(fields)
	slices.SortStableFunc(fs, func(a, b field) int {
		return cmp.Or(cmp.Compare(a.fc, b.fc), cmp.Compare(a.addr, b.addr))
	})
	var blocks []block
	for _, f := range fs {
		if n := len(blocks); n > 0 && fits(&blocks[n-1], &f, lim) {
			b := &blocks[n-1]
			b.n = uint16(f.end() - uint32(b.addr))
			b.fields = append(b.fields, f)
			continue
		}
		blocks = append(blocks, block{fc: f.fc, addr: f.addr, n: f.kind.words(), fields: []field{f}})
	}
	return blocks
}

// fits reports whether f may be read in the same request as b.
func fits(b *block, f *field, lim limits) bool {
	end := uint32(b.addr) + uint32(b.n)
	if b.fc != f.fc || uint32(f.addr) < end ||
		uint32(f.addr)-end > uint32(lim.maxGap) || f.end()-uint32(b.addr) > uint32(lim.maxRegs) {
		return false
	}
	for _, s := range lim.noRead {
		if uint32(s.to) >= end && s.from < f.addr {
			return false
		}
	}
	return true
}

// split returns the parts of a block that a meter refused: its runs without
// gaps, or, when it has none, its single values. A block of one value has no
// parts.
func (b *block) split() []block {
	if len(b.fields) < 2 {
		return nil
	}
	parts := plan(b.fields, limits{maxRegs: b.n})
	if len(parts) == 1 {
		parts = plan(b.fields, limits{}) // no merge fits into 0 registers
	}
	return parts
}
