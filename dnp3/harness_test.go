package dnp3_test

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"lvagent/dnp3"
	"lvagent/dnp3/dnp3test"
)

const (
	outstation = 1024
	master     = 1
	s          = time.Second

	// noon is 2026-11-25 12:00 UTC in milliseconds, the wall clock at the start.
	noon int64 = 1_795_608_000_000
)

// operator is a handler that answers with status and remembers what it did.
type operator struct {
	status   dnp3.Status
	selected int
	operated []dnp3.Command
}

func (o *operator) Select(uint16, dnp3.Command) dnp3.Status {
	o.selected++
	return o.status
}

func (o *operator) Operate(_ uint16, c dnp3.Command) dnp3.Status {
	o.operated = append(o.operated, c)
	return o.status
}

// rig is an outstation with one master at its end of a wire, on a clock that
// stands still unless told.
type rig struct {
	t        rapid.TB
	station  *dnp3.Outstation
	operator *operator
	now      time.Duration
	conn     *dnp3.Conn
	join     dnp3test.Join
	segment  uint8
	seq      uint8
	from     uint16
	frames   [][]byte // all that were sent by the outstation
}

// small is a database with one or two of each type, one of them with an index
// that needs 16 bits.
func small() dnp3.Config {
	return dnp3.Config{
		Address: outstation,
		Masters: []dnp3.Master{{Address: master, Unsolicited: true}},
		Points: []dnp3.Point{
			{Type: dnp3.BinaryInput, Index: 0, Class: dnp3.Class1},
			{Type: dnp3.BinaryInput, Index: 1, Class: dnp3.Class1},
			{Type: dnp3.DoubleBitInput, Index: 0, Class: dnp3.Class1},
			{Type: dnp3.BinaryOutput, Index: 0, Class: dnp3.Class1},
			{Type: dnp3.Counter, Index: 0, Class: dnp3.Class3, FrozenClass: dnp3.Class3},
			{Type: dnp3.AnalogInput, Index: 0, Class: dnp3.Class2, Deadband: 1},
			{Type: dnp3.AnalogInput, Index: 300, Class: dnp3.Class2},
			{Type: dnp3.AnalogOutput, Index: 0, Class: dnp3.Class1},
			{Type: dnp3.OctetString, Index: 0, Class: dnp3.Class3},
		},
		SetTime:   func(uint16, int64) bool { return true },
		KeepAlive: time.Hour,
		Identity:  dnp3.Identity{Vendor: "Example", Product: "lvagent", Software: "1.0"},
	}
}

func newRig(t rapid.TB, c dnp3.Config) *rig {
	t.Helper()
	r := &rig{t: t, operator: &operator{}, from: master}
	if c.Controls == nil {
		c.Controls = r.operator
	}
	station, err := dnp3.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.station = station
	return r
}

// quiet is a rig whose master is connected and has confirmed the first
// unsolicited response.
func quiet(t rapid.TB, c dnp3.Config) *rig {
	t.Helper()
	r := newRig(t, c)
	r.connect()
	if r.station.Counts()[0].Master == master && c.Masters[0].Unsolicited {
		null := r.one()
		r.send(dnp3test.Confirm(null))
		r.nothing()
	}
	return r
}

func (r *rig) wall() int64 { return noon + r.now.Milliseconds() }

func (r *rig) connect() {
	r.conn = r.station.Open(dnp3.Peer{}, r.now)
	r.join, r.segment = dnp3test.Join{}, 0
}

func (r *rig) drop() {
	r.conn.Close(r.now)
	r.conn = nil
}

// send gives a fragment to the outstation in frames.
func (r *rig) send(fragment []byte) { r.sendTo(outstation, fragment) }

func (r *rig) sendTo(destination uint16, fragment []byte) {
	var frames []byte
	frames, r.segment = dnp3test.Segments(r.segment, destination, r.from, fragment)
	r.raw(frames)
}

func (r *rig) raw(octets []byte) {
	r.t.Helper()
	if err := r.conn.Over(); err != nil {
		r.t.Fatalf("the connection is over: %v", err)
	}
	if rest := r.conn.Receive(octets, r.now, r.wall()); len(rest) > 0 {
		r.t.Fatalf("%d octets not looked at", len(rest))
	}
}

// links returns the frames that the outstation sends now.
func (r *rig) links() (frames [][]byte) {
	r.t.Helper()
	r.station.Tick(r.now, r.wall())
	if r.conn == nil {
		return nil
	}
	out := slices.Clone(r.conn.Output())
	r.conn.Sent(len(out))
	for len(out) > 0 {
		_, rest, need, err := dnp3test.Cut(out)
		if err != nil || need > 0 {
			r.t.Fatalf("frame % x: %v, %d octets wanted", out, err, need)
		}
		frames = append(frames, out[:len(out)-len(rest)])
		out = rest
	}
	r.frames = append(r.frames, frames...)
	return frames
}

// fragments returns the fragments that the outstation sends now.
func (r *rig) fragments() (fragments [][]byte) {
	r.t.Helper()
	for _, octets := range r.links() {
		f, _, _, err := dnp3test.Cut(octets)
		if err != nil {
			r.t.Fatal(err)
		}
		if f.Control != 0x44 {
			continue
		}
		fragment, whole, err := r.join.Add(f.Data)
		if err != nil {
			r.t.Fatal(err)
		}
		if whole {
			fragments = append(fragments, fragment)
		}
	}
	return fragments
}

func (r *rig) responses() (responses []dnp3test.Response) {
	r.t.Helper()
	for _, f := range r.fragments() {
		response, err := dnp3test.ParseResponse(f)
		if err != nil {
			r.t.Fatal(err)
		}
		responses = append(responses, response)
	}
	return responses
}

// one is the only response that the outstation sends now.
func (r *rig) one() dnp3test.Response {
	r.t.Helper()
	responses := r.responses()
	if len(responses) != 1 {
		r.t.Fatalf("%d responses, want 1: %v", len(responses), responses)
	}
	return responses[0]
}

func (r *rig) nothing() {
	r.t.Helper()
	if got := r.responses(); len(got) != 0 {
		r.t.Fatalf("sent % x, want nothing", got[0].Raw)
	}
}

// do sends a request with the next number and returns the only response.
func (r *rig) do(function uint8, objects ...[]byte) dnp3test.Response {
	r.t.Helper()
	r.post(function, objects...)
	return r.one()
}

func (r *rig) post(function uint8, objects ...[]byte) {
	r.seq = (r.seq + 1) & 0x0f
	r.send(dnp3test.Request(r.seq, function, objects...))
}

// wait lets time pass, and wakes the outstation when it wants to be.
func (r *rig) wait(d time.Duration) {
	end := r.now + d
	for range 10_000 {
		at, ok := r.station.Deadline()
		if !ok || at > end {
			r.now = end
			return
		}
		r.now = max(r.now, at)
		r.station.Tick(r.now, r.wall())
	}
	r.t.Fatalf("never rests until %v", end)
}

func (r *rig) update(t dnp3.Type, index uint16, number float64) {
	r.t.Helper()
	r.change(dnp3.Change{Type: t, Index: index, Number: number, Flags: dnp3.Online, Time: r.wall()})
}

func (r *rig) change(c dnp3.Change) {
	r.t.Helper()
	if err := r.station.Update(c, r.now); err != nil {
		r.t.Fatal(err)
	}
}

// values are the values of the events in a response, in order.
func values(r dnp3test.Response) (v []float64) {
	for _, o := range r.Events() {
		v = append(v, o.Value)
	}
	return v
}
