package dnp3_test

import (
	"runtime"
	"slices"
	"testing"

	"lvagent/dnp3"
	"lvagent/dnp3/dnp3test"
)

// large is an outstation with 1,000 points and room for 10,000 events.
func large() dnp3.Config {
	c := dnp3.Config{Address: outstation, Masters: []dnp3.Master{{Address: master}}}
	for t := range c.Masters[0].Events {
		c.Masters[0].Events[t] = 10_000
	}
	for i := range uint16(500) {
		c.Points = append(c.Points,
			dnp3.Point{Type: dnp3.AnalogInput, Index: i, Class: dnp3.Class2},
			dnp3.Point{Type: dnp3.BinaryInput, Index: i, Class: dnp3.Class1})
	}
	return c
}

// drain reads all events and confirms them; it allocates nothing itself.
type drain struct {
	r       *rig
	read    []byte
	confirm []byte
	seq     uint8
	link    []byte
	octets  int
}

func newDrain(r *rig) *drain {
	return &drain{r: r, read: dnp3test.Request(0, dnp3test.FuncRead, dnp3test.Classes(1, 2, 3))}
}

// send gives a short fragment to the outstation.
func (d *drain) send(fragment []byte) {
	d.link, d.r.segment = dnp3test.Segments(d.r.segment, outstation, master, fragment)
	d.r.conn.Receive(d.link, d.r.now, d.r.wall())
}

// all reads until a response is the last, and returns the octets it took.
func (d *drain) all() (octets int) {
	d.seq = (d.seq + 1) & 0x0f
	d.read[0] = 0xc0 | d.seq
	d.send(d.read)
	for {
		out := d.r.conn.Output()
		octets += len(out)
		// Control octet of the first segment's fragment.
		control := out[11]
		d.r.conn.Sent(len(out))
		if control&0x20 != 0 {
			d.confirm = append(d.confirm[:0], 0xc0|control&0x0f, 0)
			d.send(d.confirm)
			d.seq = control & 0x0f
		}
		if control&0x40 != 0 {
			return octets
		}
	}
}

// TestMemory: 1,000 points with 10,000 events in their buffers take at most
// 5 MB, connection and session included.
func TestMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := quiet(t, large())
	for i := range 10_000 {
		r.update(dnp3.AnalogInput, uint16(i%500), float64(i+1))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := r.station.Counts()[0].Waiting; n != 10_000 {
		t.Fatalf("%d events", n)
	}
	if used := after.HeapAlloc - before.HeapAlloc; used > 5_000_000 {
		t.Errorf("%d octets, at most 5,000,000", used)
	} else {
		t.Logf("%d octets", used)
	}
	runtime.KeepAlive(r)
}

// TestSteadyStateAllocates: events in, polls and controls out, at no garbage.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	c := large()
	c.Points = append(c.Points, dnp3.Point{Type: dnp3.AnalogOutput, Index: 0})
	c.Controls = accept{}
	r := quiet(t, c)
	frames, _ := dnp3test.Segments(0, outstation, master, dnp3test.Request(3, dnp3test.FuncRead, dnp3test.Classes(1, 2, 3)))
	confirm, _ := dnp3test.Segments(0, outstation, master, []byte{0xc3, 0})
	operate, _ := dnp3test.Segments(0, outstation, master, dnp3test.Request(4, dnp3test.FuncDirect, dnp3test.Setpoint(0, 1)))
	n := 0.0
	round := func() {
		for i := range uint16(50) {
			n++
			if err := r.station.Update(dnp3.Change{Type: dnp3.AnalogInput, Index: i, Number: n, Flags: dnp3.Online, Time: noon}, r.now); err != nil {
				t.Fatal(err)
			}
		}
		for _, octets := range [][]byte{frames, confirm, operate} {
			r.conn.Receive(octets, r.now, noon)
			r.station.Tick(r.now, noon)
			r.conn.Sent(len(r.conn.Output()))
		}
	}
	round()
	if got := r.station.Counts()[0]; got.Waiting != 0 || got.Confirmed != 50 || got.Commands != 1 {
		t.Fatalf("a round does not do what it should: %+v", got)
	}
	if allocs := testing.AllocsPerRun(100, round); allocs != 0 {
		t.Errorf("%v allocations a round, want none", allocs)
	}
}

type accept struct{}

func (accept) Select(uint16, dnp3.Command) dnp3.Status  { return dnp3.Success }
func (accept) Operate(uint16, dnp3.Command) dnp3.Status { return dnp3.Success }

// BenchmarkEvents is 10,000 events into the buffers and out of them again, read
// and confirmed, as octets, without a network.
func BenchmarkEvents(b *testing.B) {
	r := quiet(b, large())
	d := newDrain(r)
	n := 0.0
	b.ReportAllocs()
	for b.Loop() {
		for i := range 10_000 {
			n++
			r.update(dnp3.AnalogInput, uint16(i%500), n)
		}
		d.octets += d.all()
	}
	if got := r.station.Counts()[0]; got.Waiting != 0 || got.Dropped != 0 {
		b.Fatalf("%+v", got)
	}
	b.ReportMetric(float64(b.N)*10_000/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkPoll is what an integrity poll of 1,500 analogs and 500 binaries costs
// the outstation, confirms included, without a network.
func BenchmarkPoll(b *testing.B) {
	c := dnp3.Config{Address: outstation, Masters: []dnp3.Master{{Address: master}}}
	for i := range uint16(1500) {
		c.Points = append(c.Points, dnp3.Point{Type: dnp3.AnalogInput, Index: i})
	}
	for i := range uint16(500) {
		c.Points = append(c.Points, dnp3.Point{Type: dnp3.BinaryInput, Index: i})
	}
	r := quiet(b, c)
	d := newDrain(r)
	d.read = dnp3test.Request(0, dnp3test.FuncRead, dnp3test.Integrity())
	b.ReportAllocs()
	for b.Loop() {
		if n := d.all(); n < 8000 {
			b.Fatalf("%d octets", n)
		}
	}
}

// BenchmarkUpdate is one new value that makes an event, into full buffers.
func BenchmarkUpdate(b *testing.B) {
	r := quiet(b, large())
	n := 0.0
	b.ReportAllocs()
	for b.Loop() {
		n++
		r.update(dnp3.AnalogInput, 250, n)
	}
}

// BenchmarkHostile is a stream of starts of frames that never become one.
func BenchmarkHostile(b *testing.B) {
	r := quiet(b, large())
	stream := slices.Repeat([]byte{0x05, 0x64, 0xff, 0xc4, 0x00, 0x04, 0x01, 0x00}, 512)
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		r.conn.Receive(stream, r.now, noon)
	}
}
