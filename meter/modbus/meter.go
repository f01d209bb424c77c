package modbus

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"lvagent/meter"
)

// Meter reads one way. Like its client it belongs to one goroutine.
type Meter struct {
	client  *Client
	setup   Setup
	unit    uint8
	profile *Profile

	fast, slow lane
	busy       time.Duration // when a meter that is busy may be asked again; -1: it is not
	supply     supplyRound
	ratios     []ratioRegister

	known  acquaintance
	serial atomic.Pointer[string] // that of known, for others to read
	clock  func() time.Duration   // monotonic, for how old an acquaintance is

	shift uint16 // where the SunSpec model is
	found bool
}

// lane is the requests of one kind of poll.
type lane struct {
	// dec is the lane's own: a poll between two steps of the slow one leaves
	// its words alone.
	dec *decoder
	// blocks starts as the profile's plan; a block that the meter refuses as a
	// whole is replaced by its parts.
	blocks  []block
	refused bool // splitting did not help: do not try again until it answers
	rests   []rest
}

// rest is a block that the meter refuses for good, while it answers others: it
// has none. It is asked for now and then only.
type rest struct {
	refusals int // in a row
	until    time.Duration
}

const (
	// restAfter is how many refusals in a row are for good, and restFor how long
	// a block then rests.
	restAfter = 3
	restFor   = time.Minute

	// A busy meter is asked again after comeBack (exceptions 5 and 6).
	comeBack = 250 * time.Millisecond
)

// NewMeter returns the meter of a way: unit on c's bus, read by profile p.
func NewMeter(c *Client, way string, unit uint8, p *Profile) *Meter {
	return NewMeterAs(c, p, Setup{Way: way, Unit: unit})
}

// NewMeterAs returns the meter of a way that is connected as s says, in which
// [Profile.CheckSetup] finds no fault.
func NewMeterAs(c *Client, p *Profile, s Setup) *Meter {
	ch := p.channel(s.Channel)
	start := time.Now()
	m := &Meter{
		client: c, setup: s, unit: s.Unit, profile: p, busy: -1,
		fast: lane{dec: newDecoder(p, s), blocks: ch.fast}, slow: lane{dec: newDecoder(p, s), blocks: ch.slow},
		ratios: p.ratioRegisters(),
		clock:  func() time.Duration { return time.Since(start) },
	}
	if p.ways.kind == unitID {
		m.unit += uint8(s.channel() - 1)
	}
	m.setGuards()
	return m
}

// setGuards sets the guards of the meter's unit: their answers are as long as no
// other answer of the unit, to whatever way of the device.
func (m *Meter) setGuards() {
	for _, blocks := range [][]block{m.profile.requests, m.fast.blocks, m.slow.blocks} {
		for i := range blocks {
			m.client.claim(m.unit, blocks[i].fc, blocks[i].n)
		}
	}
	ways := slices.Concat(m.fast.blocks, m.slow.blocks)
	if s := m.profile.sunspec; s != nil {
		ways = s.beginnings() // where the model is, is yet to be found
	}
	m.client.SetGuards(m.unit, m.client.guardsOf(m.unit, ways)...)
}

// Way returns the way that the meter measures.
func (m *Meter) Way() string { return m.setup.Way }

// Serial returns the meter's serial number, empty until it is known. Any
// goroutine may call it.
func (m *Meter) Serial() string {
	if s := m.serial.Load(); s != nil {
		return *s
	}
	return ""
}

// Read polls the meter. It sets every sample of r: to a value of this very
// poll, or to Missing with the reason. It returns an error only when the
// connection is gone; what was read before stays. It does not set r.At.
func (m *Meter) Read(r *meter.Reading) error {
	r.Way = m.setup.Way
	m.busy = -1
	err := m.poll()
	m.fast.dec.out.fast(r)
	return err
}

// RetryAfter reports whether the last Read met a meter that was busy, and when
// it is worth asking again.
func (m *Meter) RetryAfter() (time.Duration, bool) { return max(0, m.busy), m.busy >= 0 }

// poll carries out the requests of each poll and decodes what came.
func (m *Meter) poll() error {
	l := &m.fast
	why, err := m.ready()
	if why != 0 {
		// Every value that there could be is unknown for this one reason.
		l.dec.forget(why)
		l.dec.decode(true)
		return m.lost(err)
	}
	answered, err := m.gather(l)
	l.dec.decode(true)
	if m.known.other {
		l.dec.spoil(meter.Suspect, meter.Mismatch)
	}
	if !answered {
		// Whoever answers next may be another meter, or one set otherwise.
		m.forget()
	}
	return m.lost(err)
}

// lost returns err, which means that the connection is gone, or nil.
func (m *Meter) lost(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read way %s: %w", m.setup.Way, err)
}

// round is the requests of a lane once through.
type round struct {
	next   int     // block
	before []block // the lane's blocks at its begin

	answered, good, split bool
}

// begin starts a round over a lane.
func (l *lane) begin() round {
	l.dec.forget(meter.NoAnswer)
	if len(l.rests) != len(l.blocks) {
		l.rests = make([]rest, len(l.blocks))
	}
	return round{before: l.blocks}
}

// gather goes once through the blocks of a lane.
func (m *Meter) gather(l *lane) (answered bool, err error) {
	r := l.begin()
	for done := false; !done; {
		done, err = m.step(l, &r)
	}
	return r.answered, err
}

// step asks for the next block of a lane and reports whether it was the last. An
// error means that the connection is gone. Answered is set when the meter
// answered at all, were it with an exception.
func (m *Meter) step(l *lane, r *round) (done bool, err error) {
	if r.next == len(l.blocks) {
		return true, nil
	}
	b, pause := &l.blocks[r.next], &l.rests[r.next]
	if pause.until > m.clock() {
		l.dec.fail(b, meter.Exception)
		r.answered = true
		r.next++
		return m.end(l, r), nil
	}
	words, err := m.ask(b.fc, b.addr+m.shift, b.n)
	switch {
	case err == nil:
		l.dec.take(b, words)
		r.good, r.answered = true, true
		*pause = rest{}
		r.next++
	case isIllegalAddress(err) && !l.refused && len(b.parts) > 1 && !b.whole:
		// Go on with the first part.
		l.blocks = slices.Concat(l.blocks[:r.next], b.split(), l.blocks[r.next+1:])
		l.rests = make([]rest, len(l.blocks))
		r.split = true
		m.setGuards()
	case keepsConnection(err):
		l.dec.fail(b, reason(err))
		r.answered = r.answered || reason(err) == meter.Exception
		m.weigh(pause, err)
		r.next++
	default:
		l.dec.fail(b, reason(err))
		l.blocks, r.answered = r.before, false
		return true, err
	}
	return m.end(l, r), nil
}

// weigh notes what an exception asks for: a block that does not exist is left
// alone, a busy meter asked again soon.
func (m *Meter) weigh(pause *rest, err error) {
	var ex *ExceptionError
	if !errors.As(err, &ex) {
		return
	}
	switch ex.Code {
	case 1, illegalAddress, 3:
		if pause.refusals++; pause.refusals >= restAfter {
			pause.until = m.clock() + restFor
		}
	case 4:
		m.busy = max(m.busy, 0)
	case 5, 6:
		m.busy = max(m.busy, comeBack)
	}
}

// end closes a round after its last block, and reports whether it was that.
func (m *Meter) end(l *lane, r *round) (done bool) {
	if r.next < len(l.blocks) {
		return false
	}
	switch {
	case r.split && r.good:
		m.client.log.Warn("meter refuses a block, its parts are read apart",
			"way", m.setup.Way, "unit", m.unit, "profile", m.profile.id, "requests", len(l.blocks))
	case r.split:
		// It refuses the parts as well: ask the fewest questions.
		l.blocks, l.refused = r.before, true
		m.setGuards()
	case r.good:
		l.refused = false
	default:
		clear(l.rests) // it refuses everything: that may pass
	}
	return true
}

// ask reads registers.
func (m *Meter) ask(fc uint8, addr, n uint16) ([]uint16, error) {
	if fc == 3 {
		return m.client.ReadHolding(m.unit, addr, n)
	}
	return m.client.ReadInput(m.unit, addr, n)
}

func format(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }
