// Package modbus reads one way of a Modbus meter into a [meter.Reading], and what
// it says of the supply into a [meter.SupplyReading].
//
// A [Profile] says which registers hold which quantity; it is a file, so that a
// new meter is a new file and not new code. A [Client] is one connection, and
// so one bus: its owner is a single goroutine. A [Meter] joins the two for one
// way and decides what each register is worth: a value, or Missing and why. A
// meter that is not the one that the profile is for, or whose transformer ratio
// is not the one that was configured, has no values at all.
//
// It does not decide when to read, and it does not reconnect by itself
// (agent/poll). It does not average (meter/window).
//
// Requirements: R1 (V, I, P, Q per phase and way, neutral current), R5 (what
// meters know of power quality).
package modbus

import (
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
	id       string
	vendor   string
	models   []string
	firmware string
	level    string
	source   string
	base     uint32
	timeout  time.Duration
	refresh  time.Duration
	serial   Serial
	limits   limits

	ways     ways
	regs     []reg // by slot; their addresses are those of way 1
	values   []value
	channels []channel // by way of the device
	requests []block   // every one that is ever made, of all ways
	without  [quantities]bool

	turned   [quantities]bool // the meter's sign is the other way round
	byLoad   bool             // Q is positive for an inductive load whichever way P flows
	enabled  *bits
	status   []remark
	restarts int // slot, or nowhere

	settings []setting
	identity identification
	ratios   ratios
	sunspec  *sunspec
	vectors  []vector
}

// Serial is how the meter is set on a serial line when it comes from its maker.
// A zero is not known.
type Serial struct {
	Baud       int
	Parity     string // none, even or odd
	StopBits   int
	Turnaround time.Duration // from a request's end to the answer's start
	Gap        time.Duration // quiet that the meter wants between requests
}

// Block is one request of a meter's poll.
type Block struct {
	Function uint8  // 3 holding registers, 4 input registers
	Addr, N  uint16 // as on the wire, from 0; after the model's start with SunSpec
}

// ID returns the name by which a site file calls the profile.
func (p *Profile) ID() string { return p.id }

// Vendor returns who makes the meter.
func (p *Profile) Vendor() string { return p.vendor }

// Models returns the types of meter that the profile is for.
func (p *Profile) Models() []string { return slices.Clone(p.models) }

// Firmware returns for which firmware the map holds, empty where that is not
// known.
func (p *Profile) Firmware() string { return p.firmware }

// Evidence returns how well the map is verified (bench, vendor or third-party)
// and where it was taken from.
func (p *Profile) Evidence() (level, source string) { return p.level, p.source }

// Timeout returns how long the meter may take to answer one request.
func (p *Profile) Timeout() time.Duration { return p.timeout }

// Refresh returns how often the meter itself takes new values, 0 where that is
// not known. Polls more often than that read repeats.
func (p *Profile) Refresh() time.Duration { return p.refresh }

// Serial returns the meter's own settings on a serial line.
func (p *Profile) Serial() Serial { return p.serial }

// Ways returns how many ways one meter of this type can measure; 0 is as many as
// it says itself (SunSpec).
func (p *Profile) Ways() int {
	if p.sunspec != nil {
		return 0
	}
	return len(p.channels)
}

// Blocks returns the requests of one poll of the first way, in order.
func (p *Profile) Blocks() []Block { return p.BlocksOf(1) }

// BlocksOf returns the requests of one poll of a way of the device, in order.
// The first way is 1.
func (p *Profile) BlocksOf(way int) []Block { return listed(p.channel(way).fast) }

// SlowBlocksOf returns the requests for what is read at the slow period.
func (p *Profile) SlowBlocksOf(way int) []Block { return listed(p.channel(way).slow) }

// Longest returns the most registers of any request.
func (p *Profile) Longest() (n uint16) {
	for i := range p.requests {
		n = max(n, p.requests[i].n)
	}
	return n
}

func listed(blocks []block) []Block {
	out := make([]Block, len(blocks))
	for i, b := range blocks {
		out[i] = Block{Function: b.fc, Addr: b.addr, N: b.n}
	}
	return out
}

// channel returns a way of the device; a way that is not there is the first.
func (p *Profile) channel(way int) *channel {
	if way < 1 || way > len(p.channels) {
		way = 1
	}
	return &p.channels[way-1]
}

// has reports whether the profile has registers for a quantity.
func (p *Profile) has(q quantity) bool {
	return slices.ContainsFunc(p.values, func(v value) bool { return v.quantity == q })
}

// MeasuresNeutral reports whether the meter measures the neutral current, rather
// than that it has to be derived or is not known at all.
func (p *Profile) MeasuresNeutral() bool { return p.has(neutral) }

// DerivesNeutral reports whether the neutral current follows from the phases.
func (p *Profile) DerivesNeutral() bool {
	return !p.has(neutral) && p.has(voltage) && p.has(active) && p.has(reactive)
}

// nowhere is the slot of a register that is not there.
const nowhere = -1

// reg is one register that is read at a poll. Its words are kept as one number
// at its slot.
type reg struct {
	fc   uint8
	addr uint16 // on the wire, of way 1; after a base where the ways have bases
	layout
	device bool // the same for all ways of the device

	line int
	path string
}

// value is one measured value: how it follows from registers.
type value struct {
	quantity quantity
	phase    meter.Phase // of the meter's inputs; 0 where there are no phases

	a, b  int // slots; b is added, or taken away
	minus bool
	sf    int // slot of the power of ten
	sign  int // slot of the bit that means negative
	mask  uint64

	invalid []uint64 // raw patterns that mean "not available"
	factor  float64  // raw to stored
	offset  float64  // as stored
	low     float64  // as stored, inclusive
	high    float64

	path string
}

// bits is what a register says when some of its bits are as they should be.
type bits struct {
	slot       int
	mask, want uint64
}

// remark is a bit of the meter that makes values doubtful.
type remark struct {
	bits
	quality meter.Quality
	why     meter.Reason
	of      [quantities][meter.Phases]bool
}

// channel is one way of a device: where its registers are, and the requests that
// read them.
type channel struct {
	addrs      []uint16 // by slot
	fast, slow []block
}

// waysKind is how the registers of a device's ways lie to each other.
type waysKind uint8

const (
	single waysKind = iota
	stride          // way n is (n-1) * stride further on
	bases           // way n begins at its own base
	unitID          // way n answers as the n-th unit
)

var waysNames = []string{single: "single", stride: "stride", bases: "bases", unitID: "unit"}

type ways struct {
	kind   waysKind
	count  int
	stride uint32
	bases  []uint16
}

// at is where a register of a way is on the wire; above 0xffff it is nowhere.
func (w *ways) at(r *reg, n int) uint32 {
	switch {
	case r.device || w.kind == single || w.kind == unitID:
		return uint32(r.addr)
	case w.kind == bases:
		return uint32(w.bases[n]) + uint32(r.addr)
	default:
		return uint32(r.addr) + uint32(n)*w.stride
	}
}
