package dnp3_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"lvagent/dnp3"
	"lvagent/dnp3/dnp3test"
)

const noRetry = -1

// polled is small with a master that is only polled.
func polled() dnp3.Config {
	c := small()
	c.Masters[0].Unsolicited = false
	return c
}

// opendnp3 #197: without a confirm the outstation goes on trying, for ever, at
// growing distances, and the confirm that comes at last ends it.
func TestUnsolicitedNeverGivesUp(t *testing.T) {
	c := small()
	c.KeepAlive = 48 * time.Hour
	r := newRig(t, c)
	r.connect()
	first := r.now
	var at []time.Duration
	for r.now < 24*time.Hour {
		for _, f := range r.responses() {
			if len(f.Objects) != 0 {
				t.Fatalf("objects before the first confirm: %v", f.Objects)
			}
			at = append(at, r.now-first)
		}
		r.wait(s)
	}
	want := []time.Duration{0, 5 * s, 10 * s, 15 * s, 30 * s, 35 * s, 40 * s, 45 * s, 70 * s}
	if len(at) < 200 || !slices.Equal(at[:len(want)], want) {
		t.Fatalf("%d tries, the first at %v, want many, %v", len(at), at[:min(len(at), len(want))], want)
	}
	for {
		r.wait(s)
		if last := r.responses(); len(last) > 0 {
			r.send(dnp3test.Confirm(last[0]))
			break
		}
	}
	r.wait(time.Hour)
	r.nothing()
}

// opendnp3 #197, as it was met: the master ignores the first unsolicited response
// while it starts. Its requests are answered, its read no later than the confirm
// is due, and the response comes again.
func TestMasterThatIgnoresTheFirstUnsolicitedResponse(t *testing.T) {
	r := newRig(t, small())
	r.connect()
	r.one()
	if got := r.do(dnp3test.FuncDisable, dnp3test.Classes(1, 2, 3)); got.IIN&dnp3test.IINErrors != 0 {
		t.Errorf("disable: indications %04x", got.IIN)
	}
	r.post(dnp3test.FuncRead, dnp3test.Integrity())
	r.nothing()
	r.wait(5 * s)
	responses := r.responses()
	if len(responses) != 2 || responses[0].Unsolicited() || !responses[1].Unsolicited() {
		t.Fatalf("after 5 s: %v, want the answer, then the empty response again", responses)
	}
	r.do(dnp3test.FuncEnable, dnp3test.Classes(1))
	r.update(dnp3.BinaryInput, 0, 1)
	r.nothing() // no data before the empty one is confirmed
	r.wait(5 * s)
	null := r.one()
	if len(null.Objects) > 0 {
		t.Fatalf("data before the first confirm: %v", null)
	}
	r.send(dnp3test.Confirm(null))
	if u := r.one(); len(u.Events()) != 1 {
		t.Errorf("events %v, want the one", u.Events())
	}
}

// opendnp3 #187: changes while unsolicited responses are disabled wedge nothing.
func TestChangesWhileDisabledAreReportedLater(t *testing.T) {
	r := quiet(t, small())
	for i := range 900 {
		r.update(dnp3.AnalogInput, 300, float64(i+1))
		r.nothing()
	}
	r.post(dnp3test.FuncEnable, dnp3test.Classes(2))
	var got []float64
	for {
		responses := r.responses()
		if len(responses) == 0 {
			break
		}
		for _, u := range responses {
			got = append(got, values(u)...)
			if u.Con() {
				r.send(dnp3test.Confirm(u))
			}
		}
	}
	if len(got) != 900 || got[0] != 1 || got[899] != 900 {
		t.Errorf("%d events, want 1 to 900", len(got))
	}

	// The same with the line down, and what the master enabled still enabled.
	r.drop()
	r.update(dnp3.AnalogInput, 300, 901)
	r.wait(time.Hour)
	r.connect()
	if u := r.one(); !slices.Equal(values(u), []float64{901}) {
		t.Errorf("after the line was down: %v, want 901", values(u))
	}
}

// opendnp3 #255: a buffer of size 0 is no overflow. A full one is, until a
// confirm makes room; the oldest are gone, and only of that kind and class.
func TestOverflow(t *testing.T) {
	tests := []struct {
		name     string
		size     int
		overflow bool
		want     []float64
	}{
		{"no buffer", noRetry, false, nil},
		{"just full", 3, false, []float64{1, 2, 3}},
		{"one too many", 2, true, []float64{2, 3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := polled()
			c.Masters[0].Events[dnp3.AnalogInput] = tt.size
			r := quiet(t, c)
			r.update(dnp3.BinaryInput, 0, 1)
			for i := range 3 {
				r.update(dnp3.AnalogInput, 300, float64(i+1))
			}
			got := r.do(dnp3test.FuncRead, dnp3test.Classes(2))
			if (got.IIN&dnp3test.IINOverflow != 0) != tt.overflow || !slices.Equal(values(got), tt.want) {
				t.Errorf("indications %04x, events %v, want overflow %v, %v", got.IIN, values(got), tt.overflow, tt.want)
			}
			if got.Con() {
				r.send(dnp3test.Confirm(got))
			}
			after := r.do(dnp3test.FuncRead, dnp3test.Classes(1))
			if after.IIN&dnp3test.IINOverflow != 0 || len(after.Events()) != 1 {
				t.Errorf("after the confirm: indications %04x, events %v, want the binary's and no overflow", after.IIN, after.Events())
			}
		})
	}
}

// A confirm deletes only what its own response carried: not what another number
// did, nor a response of the other kind.
func TestConfirmOfAnotherResponse(t *testing.T) {
	wrong := map[string]func(dnp3test.Response) []byte{
		"another number":    func(u dnp3test.Response) []byte { return []byte{0xc0 | (u.Seq()+1)&0x0f, 0} },
		"of the other kind": func(u dnp3test.Response) []byte { return []byte{0xc0 | u.Control&0x1f ^ 0x10, 0} },
	}
	for name, confirm := range wrong {
		for _, unsolicited := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, unsolicited %v", name, unsolicited), func(t *testing.T) {
				c := small()
				c.Masters[0].Unsolicited = unsolicited
				r := quiet(t, c)
				var first dnp3test.Response
				if unsolicited {
					r.do(dnp3test.FuncEnable, dnp3test.Classes(1))
					r.update(dnp3.BinaryInput, 0, 1)
					first = r.one()
				} else {
					r.update(dnp3.BinaryInput, 0, 1)
					first = r.do(dnp3test.FuncRead, dnp3test.Classes(1))
				}
				r.send(confirm(first))
				if n := r.station.Counts()[0].Waiting; n != 1 {
					t.Fatalf("%d events after a wrong confirm, want 1", n)
				}
				r.send(dnp3test.Confirm(first))
				if n := r.station.Counts()[0].Waiting; n != 0 {
					t.Errorf("%d events after the right one, want 0", n)
				}
			})
		}
	}
}

// Events that came after the read are not deleted by its confirm.
func TestConfirmDeletesOnlyWhatWasSent(t *testing.T) {
	r := quiet(t, polled())
	r.update(dnp3.AnalogInput, 300, 1)
	first := r.do(dnp3test.FuncRead, dnp3test.Classes(2))
	r.update(dnp3.AnalogInput, 300, 2)
	r.send(dnp3test.Confirm(first))
	if got := r.do(dnp3test.FuncRead, dnp3test.Classes(2)); !slices.Equal(values(got), []float64{2}) {
		t.Errorf("events %v, want the second alone", values(got))
	}
}

// A read that is repeated while its confirm is awaited is answered with the very
// octets, so that the confirm of either fits both.
func TestRepeatedReadBeforeItsConfirm(t *testing.T) {
	r := quiet(t, polled())
	r.update(dnp3.AnalogInput, 300, 1)
	request := dnp3test.Request(5, dnp3test.FuncRead, dnp3test.Classes(2))
	r.send(request)
	first := r.one()
	r.update(dnp3.AnalogInput, 300, 2)
	r.send(request)
	if again := r.one(); !bytes.Equal(again.Raw, first.Raw) {
		t.Fatalf("% x, then % x", first.Raw, again.Raw)
	}
	r.send(dnp3test.Confirm(first))
	if n := r.station.Counts()[0].Waiting; n != 1 {
		t.Errorf("%d events wait, want the second", n)
	}
}

func TestLimitedRead(t *testing.T) {
	r := quiet(t, polled())
	for i := range 5 {
		r.update(dnp3.AnalogInput, 300, float64(i+1))
	}
	got := r.do(dnp3test.FuncRead, dnp3test.Most(60, 3, 2))
	if !slices.Equal(values(got), []float64{1, 2}) || got.IIN&dnp3test.IINClass2 == 0 {
		t.Errorf("events %v, indications %04x, want the first two and more", values(got), got.IIN)
	}
	r.send(dnp3test.Confirm(got))
	if got := r.do(dnp3test.FuncRead, dnp3test.Most(32, 5, 2)); !slices.Equal(values(got), []float64{3, 4}) {
		t.Errorf("events %v, want 3 and 4", values(got))
	}
}

func TestHold(t *testing.T) {
	c := small()
	c.Masters[0].Hold[1] = 2 * s
	c.Masters[0].HoldCount[1] = 3
	r := quiet(t, c)
	r.do(dnp3test.FuncEnable, dnp3test.Classes(1, 2))
	r.update(dnp3.AnalogInput, 300, 1)
	r.nothing()
	r.wait(s)
	r.update(dnp3.AnalogInput, 300, 2)
	r.nothing()
	r.wait(s)
	u := r.one()
	if !slices.Equal(values(u), []float64{1, 2}) {
		t.Errorf("after 2 s: %v, want both", values(u))
	}
	r.send(dnp3test.Confirm(u))
	r.wait(time.Minute)
	r.update(dnp3.AnalogInput, 300, 3)
	r.update(dnp3.AnalogInput, 300, 4)
	r.nothing()
	r.update(dnp3.AnalogInput, 300, 5)
	u = r.one()
	if !slices.Equal(values(u), []float64{3, 4, 5}) {
		t.Errorf("the third event: %v, want all three at once", values(u))
	}
	r.send(dnp3test.Confirm(u))
	r.update(dnp3.AnalogInput, 300, 6)
	r.nothing()
	r.update(dnp3.BinaryInput, 0, 1) // class 1 is not held, and takes the others along
	if u = r.one(); len(u.Events()) != 2 {
		t.Errorf("events %v, want those of both classes", u.Events())
	}
}

// opendnp3 #147: a link that is asked for its status while the first unsolicited
// response waits goes on, and the response is tried again in its own time.
func TestKeepAlive(t *testing.T) {
	c := small()
	c.KeepAlive, c.KeepAliveTimeout = 7*s, 2*s
	r := newRig(t, c)
	r.connect()
	r.one()
	r.wait(5 * s)
	r.one()
	r.wait(2 * s)
	frames := r.links()
	if len(frames) != 1 || frames[0][3] != 0x49 {
		t.Fatalf("after 7 s of silence: % x, want a request of the link's status", frames)
	}
	r.raw(dnp3test.Frame(0x8b, outstation, master, nil))
	r.wait(3 * s)
	u := r.one()
	r.send(dnp3test.Confirm(u))
	r.wait(7 * s)
	if frames := r.links(); len(frames) != 1 {
		t.Fatalf("%d frames, want a request of the link's status", len(frames))
	}
	r.wait(1999 * time.Millisecond)
	if r.conn.Over() != nil {
		t.Fatal("over before the answer was due")
	}
	r.wait(time.Millisecond)
	if r.conn.Over() == nil {
		t.Error("goes on without an answer")
	}
	if r.station.Counts()[0].Connected {
		t.Error("the master counts as connected")
	}
}

// A newer connection of the same master takes over a half-open one.
func TestTakeover(t *testing.T) {
	r := quiet(t, small())
	r.do(dnp3test.FuncEnable, dnp3test.Classes(1))
	r.update(dnp3.BinaryInput, 0, 1)
	r.one() // never confirmed: the line is dead
	old := r.conn
	r.connect()
	r.nothing() // who has not spoken yet takes nothing over
	if old.Over() != nil {
		t.Fatal("taken over by one that said nothing")
	}
	r.raw(dnp3test.Frame(0xc9, outstation, master, nil))
	if old.Over() == nil {
		t.Fatal("the old connection goes on")
	}
	got := r.responses()
	if len(got) != 1 || len(got[0].Events()) != 1 {
		t.Errorf("responses %v, want the event again", got)
	}
}

// What a dead connection sent arrives after the master came again: the newer
// connection stays.
func TestLateFrameOfAnOlderConnection(t *testing.T) {
	r := quiet(t, polled())
	first := r.conn
	r.connect()
	late := r.conn
	first.Close(r.now)
	r.connect()
	if rest := late.Receive(dnp3test.Frame(0xc9, outstation, master, nil), r.now, r.wall()); len(rest) > 0 || late.Over() == nil {
		t.Errorf("the older connection: %v, want it over", late.Over())
	}
	alive(t, r)
}

// A certificate speaks for one address, also on a connection that is not yet the
// master's because another of it is open.
func TestCertificateBindsAddress(t *testing.T) {
	c := polled()
	c.Masters = []dnp3.Master{{Address: 1, Certificate: "one"}, {Address: 2, Certificate: "two"}}
	r := newRig(t, c)
	for range 2 {
		r.conn = r.station.Open(dnp3.Peer{Secure: true, Names: []string{"x", "one"}}, r.now)
	}
	r.raw(dnp3test.Frame(0xc9, outstation, 2, nil))
	if frames := r.links(); len(frames) > 0 {
		t.Errorf("answered as master 2: % x", frames)
	}
	alive(t, r)
	stranger := r.station.Open(dnp3.Peer{Secure: true, Names: []string{"three"}}, r.now)
	if stranger.Over() == nil {
		t.Error("a certificate that is no master's may stay")
	}
}

// Segments to different addresses are never parts of one fragment.
func TestSegmentsToDifferentAddresses(t *testing.T) {
	r := quiet(t, polled())
	request := dnp3test.Request(1, dnp3test.FuncDirectNR, dnp3test.Setpoint(0, 1))
	r.raw(dnp3test.Frame(0xc4, 0xffff, master, append([]byte{0x40}, request[:5]...)))
	r.raw(dnp3test.Frame(0xc4, outstation, master, append([]byte{0x81}, request[5:]...)))
	if len(r.operator.operated) > 0 {
		t.Error("operated")
	}
	r.raw(dnp3test.Frame(0xc4, outstation, master, append([]byte{0x42}, request[:5]...)))
	r.raw(dnp3test.Frame(0xc4, outstation, master, append([]byte{0x83}, request[5:]...)))
	if len(r.operator.operated) != 1 {
		t.Error("not operated by the segments to one address")
	}
}

func TestSelfAddress(t *testing.T) {
	for _, on := range []bool{false, true} {
		c := polled()
		c.SelfAddress = on
		r := quiet(t, c)
		r.raw(dnp3test.Frame(0xc9, 0xfffc, master, nil))
		want := dnp3test.Frame(0x0b, master, outstation, nil)
		if frames := r.links(); (len(frames) == 1 && bytes.Equal(frames[0], want)) != on {
			t.Errorf("self-address %v: % x", on, frames)
		}
	}
}

func TestGreeting(t *testing.T) {
	c := small()
	c.Masters = append(c.Masters, dnp3.Master{Address: 2})
	r := newRig(t, c)
	r.connect()
	r.nothing() // two masters: not known yet which
	r.raw(dnp3test.Frame(0xc9, outstation, 77, nil))
	r.wait(30 * s)
	if r.conn.Over() == nil {
		t.Error("goes on without a known master")
	}
}

// A broadcast is carried out, never answered, and told in the next response;
// where it asks for that, until a confirm.
func TestBroadcast(t *testing.T) {
	for _, address := range []uint16{0xfffd, 0xfffe, 0xffff} {
		t.Run(fmt.Sprintf("%#x", address), func(t *testing.T) {
			r := quiet(t, polled())
			r.sendTo(address, dnp3test.Request(1, dnp3test.FuncWrite, dnp3test.TimeObject(1, noon)))
			r.sendTo(address, dnp3test.Request(2, dnp3test.FuncDirect, dnp3test.Relay(0, dnp3test.LatchOn)))
			r.sendTo(address, dnp3test.Request(2, dnp3test.FuncDirect, dnp3test.Relay(0, dnp3test.LatchOn)))
			r.sendTo(address, dnp3test.Request(3, dnp3test.FuncRead, dnp3test.Integrity()))
			r.nothing()
			if n := len(r.operator.operated); n != 1 {
				t.Errorf("%d commands, want 1", n)
			}
			got := r.do(dnp3test.FuncDelay)
			if got.IIN&dnp3test.IINBroadcast == 0 || got.IIN&dnp3test.IINNeedTime != 0 || got.Con() != (address == 0xfffe) {
				t.Errorf("control %02x, indications %04x", got.Control, got.IIN)
			}
			again := r.do(dnp3test.FuncDelay)
			if (again.IIN&dnp3test.IINBroadcast != 0) != (address == 0xfffe) {
				t.Errorf("then indications %04x", again.IIN)
			}
			if address == 0xfffe {
				r.send(dnp3test.Confirm(again))
				if last := r.do(dnp3test.FuncDelay); last.IIN&dnp3test.IINBroadcast != 0 || last.Con() {
					t.Errorf("after the confirm: control %02x, indications %04x", last.Control, last.IIN)
				}
			}
		})
	}
}

// opendnp3 #30 and stepfunc #374: NEED_TIME is over with a written time of
// either procedure, not with a refused one, comes back with age, and is not
// shown where the host keeps the clock.
func TestNeedTime(t *testing.T) {
	var set []int64
	accept := true
	c := polled()
	c.TimeValid = time.Hour
	c.SetTime = func(from uint16, t int64) bool {
		if from == master {
			set = append(set, t)
		}
		return accept
	}
	r := quiet(t, c)
	needs := func() bool { return r.do(dnp3test.FuncDelay).IIN&dnp3test.IINNeedTime != 0 }
	if !needs() {
		t.Error("not at the start")
	}
	accept = false
	if got := r.do(dnp3test.FuncWrite, dnp3test.TimeObject(1, noon)); got.IIN&dnp3test.IINParameterError == 0 || got.IIN&dnp3test.IINNeedTime == 0 {
		t.Errorf("a refused time: indications %04x", got.IIN)
	}
	accept = true
	if got := r.do(dnp3test.FuncWrite, dnp3test.TimeObject(1, noon)); got.IIN&(dnp3test.IINErrors|dnp3test.IINNeedTime) != 0 {
		t.Errorf("group 50 variation 1: indications %04x", got.IIN)
	}
	r.wait(time.Hour - time.Millisecond)
	if needs() {
		t.Error("too early")
	}
	r.wait(time.Millisecond)
	if !needs() {
		t.Error("not with age")
	}
	r.do(dnp3test.FuncRecordTime)
	r.wait(1500 * time.Millisecond)
	r.do(dnp3test.FuncWrite, dnp3test.TimeObject(3, noon))
	if needs() {
		t.Error("still after the procedure for networks")
	}
	if want := []int64{noon, noon, noon + 1500}; !slices.Equal(set, want) {
		t.Errorf("times set %v, want %v", set, want)
	}

	c = polled()
	c.Clock = dnp3.ClockOfHost
	if got := quiet(t, c).do(dnp3test.FuncDelay); got.IIN&dnp3test.IINNeedTime != 0 {
		t.Error("shown though the host keeps the clock")
	}
}

// A master that repeats RECORD_CURRENT_TIME means the time of the repetition.
func TestRepeatedRecordOfTime(t *testing.T) {
	var set int64
	c := polled()
	c.SetTime = func(_ uint16, t int64) bool { set = t; return true }
	r := quiet(t, c)
	record := dnp3test.Request(3, dnp3test.FuncRecordTime)
	r.send(record)
	r.one()
	r.wait(2 * s)
	r.send(record)
	r.one()
	r.wait(s)
	r.send(dnp3test.Request(4, dnp3test.FuncWrite, dnp3test.TimeObject(3, noon)))
	r.one()
	if set != noon+1000 {
		t.Errorf("set to %d ms after what was written, want 1000", set-noon)
	}
}

// The quality of the clock goes with events of relative time.
func TestSynchronisedEvents(t *testing.T) {
	for _, good := range []bool{false, true} {
		c := polled()
		c.Clock = dnp3.ClockOfHost
		r := quiet(t, c)
		r.station.SetSynchronised(good)
		r.update(dnp3.BinaryInput, 0, 1)
		got := r.do(dnp3test.FuncRead, dnp3test.All(2, 3))
		if len(got.Objects) != 1 || got.Objects[0].Synchronised != good || got.Objects[0].Time != noon {
			t.Errorf("synchronised %v: %v", good, got.Objects)
		}
	}
}

// Each master has its own events, restart indication and classes.
func TestMastersAreApart(t *testing.T) {
	c := polled()
	c.Masters = append(c.Masters, dnp3.Master{Address: 2})
	r := newRig(t, c)
	as := func(address uint16) *rig {
		other := *r
		other.from = address
		other.connect()
		return &other
	}
	one, two := as(1), as(2)
	one.raw(dnp3test.Frame(0xc9, outstation, 1, nil))
	two.raw(dnp3test.Frame(0xc9, outstation, 2, nil))
	one.links()
	two.links()
	one.update(dnp3.BinaryInput, 0, 1)
	one.post(dnp3test.FuncRead, dnp3test.Classes(1))
	got := one.one()
	one.send(dnp3test.Confirm(got))
	one.post(dnp3test.FuncWrite, dnp3test.ClearRestart())
	if got := one.one(); got.IIN&dnp3test.IINRestart != 0 {
		t.Errorf("indications %04x after the restart was cleared", got.IIN)
	}
	two.post(dnp3test.FuncRead, dnp3test.Classes(1))
	if got := two.one(); len(got.Events()) != 1 || got.IIN&dnp3test.IINRestart == 0 {
		t.Errorf("the second master: events %v, indications %04x, want the event and its own restart", got.Events(), got.IIN)
	}
	// A frame of one master on the connection of the other is not heard.
	two.from = 1
	two.post(dnp3test.FuncRead, dnp3test.Classes(1))
	if got := two.responses(); len(got) != 0 {
		t.Errorf("answered %v", got)
	}
}

func TestFlagsAndNumbers(t *testing.T) {
	tests := []struct {
		name   string
		number float64
		flags  dnp3.Flags
		want   string
	}{
		{"good", 2.5, dnp3.Online, "g30v5[300] 2.5 flags 01"},
		{"source lost", 2.5, dnp3.CommLost, "g30v5[300] 2.5 flags 04"},
		{"not a number", math.NaN(), dnp3.Online, "g30v5[300] 1 flags 40"},
		{"infinite", math.Inf(-1), dnp3.Online, "g30v5[300] 1 flags 40"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := quiet(t, polled())
			r.update(dnp3.AnalogInput, 300, 1)
			r.change(dnp3.Change{Type: dnp3.AnalogInput, Index: 300, Number: tt.number, Flags: tt.flags})
			if got := r.do(dnp3test.FuncRead, dnp3test.Range(30, 0, 300, 300)); got.Objects[0].String() != tt.want {
				t.Errorf("%v, want %v", got.Objects[0], tt.want)
			}
		})
	}
}

// A cleared counter counts on from 0 though its source does not.
func TestFreezeAndClear(t *testing.T) {
	r := quiet(t, polled())
	r.update(dnp3.Counter, 0, math.MaxUint32-1)
	r.do(dnp3test.FuncFreezeClear, dnp3test.All(20, 0))
	r.update(dnp3.Counter, 0, 5) // the source wrapped: 7 more
	got := r.do(dnp3test.FuncRead, dnp3test.All(20, 1), dnp3test.All(21, 5))
	if got.Objects[0].Value != 7 || got.Objects[1].Value != math.MaxUint32-1 || got.Objects[1].Time != noon {
		t.Errorf("%v, want 7 and what was frozen", got.Objects)
	}
}

func TestRestart(t *testing.T) {
	var asked []bool
	c := polled()
	c.Restart = func(_ uint16, cold bool) (time.Duration, bool) {
		asked = append(asked, cold)
		return 90 * s, cold
	}
	r := quiet(t, c)
	if got := r.do(dnp3test.FuncColdRestart); len(got.Objects) != 1 || got.Objects[0].String() != "g52v1[0] 90" {
		t.Errorf("cold restart: %v", got.Objects)
	}
	if got := r.do(dnp3test.FuncWarmRestart); got.IIN&dnp3test.IINNoFunction == 0 {
		t.Errorf("a refused one: indications %04x", got.IIN)
	}
	if !slices.Equal(asked, []bool{true, false}) {
		t.Errorf("asked for %v", asked)
	}
}

func TestConfigFaults(t *testing.T) {
	tests := []struct {
		name string
		set  func(*dnp3.Config)
		want string
	}{
		{"no master", func(c *dnp3.Config) { c.Masters = nil }, "no master"},
		{"master twice", func(c *dnp3.Config) { c.Masters = append(c.Masters, c.Masters[0]) }, "master 1 twice"},
		{"own address", func(c *dnp3.Config) { c.Masters[0].Address = outstation }, "the outstation's own address"},
		{"broadcast as address", func(c *dnp3.Config) { c.Address = 0xfffe }, "at most 65519"},
		{"point twice", func(c *dnp3.Config) { c.Points = append(c.Points, c.Points[6]) }, "analog input 300: twice"},
		{"unknown variation", func(c *dnp3.Config) { c.Points[5].Static = 9 }, "static variation: 9"},
		{"deadband of a binary", func(c *dnp3.Config) { c.Points[0].Deadband = 1 }, "binary input 0: deadband"},
		{"no number", func(c *dnp3.Config) { c.Points[5].Deadband = math.NaN() }, "deadband: NaN"},
		{"too short fragments", func(c *dnp3.Config) { c.Masters[0].MostFragment = 299 }, "fragments of 299"},
		{"one certificate for two", func(c *dnp3.Config) {
			c.Masters = []dnp3.Master{{Address: 1, Certificate: "a"}, {Address: 2, Certificate: "a"}}
		}, "same certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := small()
			tt.set(&c)
			if _, err := dnp3.New(c); err == nil || !bytes.Contains([]byte(err.Error()), []byte(tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
