package poll_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"lvagent/agent/poll"
	"lvagent/meter"
	"lvagent/meter/metertest"
	"lvagent/meter/modbus"
)

// period is short, for a quick test, and long beside a loopback.
const period = 500 * time.Millisecond

// wired is a bus on real sockets with what it said.
type wired struct {
	mu       sync.Mutex
	readings map[string][]meter.Reading
	points   []meter.HealthPoint
	pointAt  []time.Duration
	start    time.Time
	stop     func() error
}

// run starts a bus of ways, each a meter with its unit id.
func run(t *testing.T, b modbus.Bus, p *modbus.Profile, every time.Duration, setup func(*modbus.Setup), units ...uint8) *wired {
	t.Helper()
	client, err := b.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &wired{readings: map[string][]meter.Reading{}, start: time.Now()}
	now := func() time.Duration { return time.Since(w.start) }
	var ways []poll.Way
	for _, u := range units {
		s := modbus.Setup{Way: fmt.Sprint("W", u), Unit: u}
		setup(&s)
		ways = append(ways, poll.Way{Way: s.Way, Every: every, Source: modbus.NewMeterAs(client, p, s),
			Point: fmt.Sprint("meter/m", u), Range: 300_000})
	}
	bus := poll.NewBus(poll.Config{
		Name: b.URL, Link: client, Ways: ways, Now: now, Rand: func() float64 { return 0.5 }, Point: "bus/b",
		Deliver: func(r meter.Reading) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.readings[r.Way] = append(w.readings[r.Way], r)
		},
		Health: func(p meter.HealthPoint) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.points, w.pointAt = append(w.points, p), append(w.pointAt, now())
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- bus.Run(ctx) }()
	w.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// await waits until what is so, and fails when it never is.
func (w *wired) await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		w.mu.Lock()
		so := is()
		w.mu.Unlock()
		if so {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("never: %s; health %+v", what, w.points)
		}
	}
}

// good reports whether every value of a reading counts.
func good(r *meter.Reading) bool {
	q := r.Neutral.Quality
	for p := range r.Phase {
		q = min(q, r.Phase[p].Quality())
	}
	return q == meter.Good
}

// truth is what unit u shows; no two units, and no two quantities, are alike.
func truth(u uint8) metertest.SDM630 {
	x := float64(u)
	return metertest.SDM630{V: [3]float64{230 + x, 231 + x, 232 + x}, I: [3]float64{100 + x, 110 + x, 120 + x},
		P: [3]float64{23000 + x, 24000 + x, 25000 + x}, Q: [3]float64{1000 + x, 1100 + x, 1200 + x}, N: 50 + x}
}

// isTrue reports whether each value of a reading that is there is the one that
// its register held.
func isTrue(r *meter.Reading, u uint8) bool {
	want := truth(u)
	is := func(value int64, quality meter.Quality, want float64) bool {
		if quality == meter.Missing {
			return value == 0
		}
		return value == int64(want*1000)
	}
	ok := is(int64(r.Neutral.Value), r.Neutral.Quality, want.N)
	for p := range r.Phase {
		ph := &r.Phase[p]
		ok = ok && is(int64(ph.V.Value), ph.V.Quality, want.V[p]) && is(int64(ph.I.Value), ph.I.Quality, want.I[p]) &&
			is(int64(ph.P.Value), ph.P.Quality, want.P[p]) && is(int64(ph.Q.Value), ph.Q.Quality, want.Q[p])
	}
	return ok
}

// profile is a shipped one with more in it.
func profile(t *testing.T, id, more string) *modbus.Profile {
	t.Helper()
	text, err := os.ReadFile("../../configs/meters/" + id + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, faults := modbus.ParseProfile([]byte(string(text) + more))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return p
}

// Every way for a meter to go wrong, on each kind of bus: with its first faulty
// reading the values are Missing for the right reason, or Suspect, and the health
// point says so; no number is ever false; a meter on another connection does not
// notice, and one on the same bus is at most late. When the fault ends, the next
// reading is good.
func TestBadInput(t *testing.T) {
	frame := meter.BadFrame | meter.NoAnswer
	for _, tt := range []struct {
		fault metertest.Fault
		why   meter.Reason // any of these, of the voltage
		codes string       // any of these
		tcp   bool         // there is no such thing on a line
	}{
		{metertest.Fault{Kind: metertest.Drop}, meter.NoAnswer, "METER_OFFLINE", true},
		{metertest.Fault{Kind: metertest.Mute}, meter.NoAnswer, "METER_OFFLINE", false},
		{metertest.Fault{Kind: metertest.Late, Delay: 350 * time.Millisecond}, frame, "METER_OFFLINE METER_BAD_FRAME", false},
		{metertest.Fault{Kind: metertest.Exceptional, Code: 1}, meter.Exception, "METER_EXCEPTION", false},
		{metertest.Fault{Kind: metertest.Exceptional, Code: 2}, meter.Exception, "METER_EXCEPTION", false},
		{metertest.Fault{Kind: metertest.Exceptional, Code: 4}, meter.Exception, "METER_EXCEPTION", false},
		{metertest.Fault{Kind: metertest.Exceptional, Code: 6}, meter.Exception, "METER_EXCEPTION", false},
		{metertest.Fault{Kind: metertest.Exceptional, Code: 11}, meter.NoAnswer, "METER_OFFLINE", false},
		{metertest.Fault{Kind: metertest.Exceptional, Code: 0x42}, meter.Exception, "METER_EXCEPTION", false},
		{metertest.Fault{Kind: metertest.WrongUnit}, meter.BadFrame, "METER_BAD_FRAME", false},
		{metertest.Fault{Kind: metertest.WrongTransaction}, meter.NoAnswer, "METER_OFFLINE", true},
		{metertest.Fault{Kind: metertest.BadLength}, frame, "METER_BAD_FRAME METER_OFFLINE", false},
		{metertest.Fault{Kind: metertest.ShortFrame}, frame, "METER_BAD_FRAME METER_OFFLINE", false},
		{metertest.Fault{Kind: metertest.Truncated}, frame, "METER_BAD_FRAME METER_OFFLINE", false},
		{metertest.Fault{Kind: metertest.Garbage}, frame, "METER_BAD_FRAME METER_OFFLINE", false},
		{metertest.Fault{Kind: metertest.NaN}, meter.NotANumber, "METER_INVALID", false},
		{metertest.Fault{Kind: metertest.Sentinel, Word: 0xffff}, meter.NotANumber | meter.Sentinel, "METER_INVALID", false},
		{metertest.Fault{Kind: metertest.Sentinel, Word: 0x7f7f}, meter.OutOfRange, "METER_INVALID", false},
	} {
		for _, kind := range []string{"network", "line"} {
			if kind == "line" && (tt.tcp || tt.fault.Kind == metertest.Exceptional && tt.fault.Code != 6) {
				continue // there is no such thing on a line, or it is the same there
			}
			t.Run(fmt.Sprintf("%s/%s %d %x", kind, tt.fault.Kind, tt.fault.Code, tt.fault.Word), func(t *testing.T) {
				t.Parallel() // it mostly waits
				testBadInput(t, kind, tt.fault, tt.why, strings.Fields(tt.codes))
			})
		}
	}
}

func testBadInput(t *testing.T, kind string, fault metertest.Fault, why meter.Reason, codes []string) {
	shared, unit := shares(t, kind)
	apart, apartUnit := shares(t, "network")
	for _, u := range []uint8{3, 4} {
		unit(u).SetSDM630(truth(u))
	}
	apartUnit(5).SetSDM630(truth(5))
	p, plain := profile(t, "eastron-sdm630", ""), func(*modbus.Setup) {}
	bus := run(t, shared, p, period, plain, 3, 4)
	other := run(t, apart, p, period, plain, 5)
	for _, way := range []string{"W3", "W4"} {
		bus.await(t, way+" is read", func() bool { r := bus.readings[way]; return len(r) > 1 && good(&r[len(r)-1]) })
	}
	other.await(t, "W5 is read", func() bool { r := other.readings["W5"]; return len(r) > 1 && good(&r[len(r)-1]) })
	bus.mu.Lock()
	before, told, calm := len(bus.readings["W3"]), len(bus.points), len(bus.readings["W4"])
	bus.mu.Unlock()
	other.mu.Lock()
	alone := len(other.readings["W5"])
	other.mu.Unlock()
	unit(3).Break(fault)

	bus.await(t, "four readings with the fault", func() bool { return len(bus.readings["W3"]) >= before+4 })
	bus.mu.Lock()
	// The poll under way when the fault began may still have been good.
	first := before
	for first < len(bus.readings["W3"]) && good(&bus.readings["W3"][first]) {
		first++
	}
	if first > before+1 {
		t.Errorf("%d good readings after the fault began", first-before)
	}
	for _, r := range bus.readings["W3"][first:] {
		v := r.Phase[meter.L1].V
		if v.Quality != meter.Missing || v.Reason&why == 0 || v.Reason&^why != 0 {
			if !(v.Quality == meter.Missing && v.Reason == meter.NoAnswer) { // it is probed only, or the bus is opened again
				t.Errorf("voltage %+v, want it missing for a reason of %b", v, why)
			}
		}
	}
	seen := bus.readings["W3"][first].Phase[meter.L1].V
	if seen.Reason&why == 0 {
		t.Errorf("first faulty voltage %+v, want a reason of %b", seen, why)
	}
	changed := -1
	for i, p := range bus.points {
		if i >= told && p.ID == "meter/m3" && changed < 0 {
			changed = i
		}
	}
	if changed < 0 {
		t.Fatalf("the meter's health did not change: %+v", bus.points)
	}
	got := bus.points[changed]
	if !strings.Contains(strings.Join(codes, " "), got.Code) || got.State == meter.HealthOK || got.Detail == "" {
		t.Errorf("health %+v, want one of %q", got, codes)
	}
	// It is told with the reading that shows it, before the next one.
	if limit := bus.readings["W3"][first].At + period; bus.pointAt[changed] > limit+period {
		t.Errorf("health changed at %v, the first faulty reading is of %v", bus.pointAt[changed], bus.readings["W3"][first].At)
	}
	probing := len(bus.readings["W3"])
	bus.mu.Unlock()

	unit(3).Heal()
	if w := bus; len(codes) > 0 && (codes[0] == "METER_INVALID" || codes[0] == "METER_EXCEPTION") {
		w.await(t, "good again", func() bool {
			r := w.readings["W3"]
			return len(r) > probing && good(&r[len(r)-1]) && w.points[len(w.points)-1].State == meter.HealthOK
		})
	}
	if err := errors.Join(bus.stop(), other.stop()); err != nil {
		t.Error(err)
	}
	for u, from := range map[uint8]*wired{3: bus, 4: bus, 5: other} {
		for i, r := range from.readings[fmt.Sprint("W", u)] {
			if !isTrue(&r, u) {
				t.Errorf("W%d reading %d is false: %+v", u, i, r)
			}
		}
	}
	for i, r := range other.readings["W5"][alone:] {
		if !good(&r) {
			t.Errorf("the meter on its own connection: reading %d is %+v", i, r.Phase[meter.L1].V)
		}
	}
	for i, r := range bus.readings["W4"][calm:] {
		if !good(&r) {
			t.Errorf("the meter on the same bus: reading %d is %+v, want it late at most", i, r.Phase[meter.L1].V)
		}
	}
}

// shares is a gateway or a line with room for meters.
func shares(t *testing.T, kind string) (modbus.Bus, func(uint8) *metertest.Unit) {
	t.Helper()
	if kind == "line" {
		l, err := metertest.ListenRTU("")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return modbus.Bus{URL: l.URL(), Timeout: 200 * time.Millisecond, Baud: 115200, Longest: 32}, l.Unit
	}
	s, err := metertest.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return modbus.Bus{URL: s.URL(), Timeout: 250 * time.Millisecond}, s.Unit
}

// A meter that repeats itself under load is suspect after 60 readings, over a
// real connection too; its numbers are those of its registers.
func TestFrozenMeterOnTheWire(t *testing.T) {
	t.Parallel() // as above
	bus, unit := shares(t, "network")
	unit(3).SetSDM630(truth(3))
	w := run(t, bus, profile(t, "eastron-sdm630", ""), period/4, func(*modbus.Setup) {}, 3)
	w.await(t, "suspect", func() bool {
		r := w.readings["W3"]
		return len(r) > 0 && r[len(r)-1].Phase[meter.L1].V.Reason == meter.Frozen
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.readings["W3"]); n < 60 {
		t.Errorf("suspect after %d readings, want 60", n)
	}
	last := w.points[len(w.points)-1]
	if last.Code != poll.MeterFrozen || !isTrue(&w.readings["W3"][len(w.readings["W3"])-1], 3) {
		t.Errorf("health %+v, reading %+v", last, w.readings["W3"][len(w.readings["W3"])-1])
	}
}

// A meter whose CT ratio is changed does that with a moment of silence. From its
// first answer on no value counts, and everybody is told why; set back, it is
// believed again.
func TestRatioThatChangesOnTheWire(t *testing.T) {
	t.Parallel() // as above
	bus, unit := shares(t, "network")
	u := unit(3)
	u.SetSDM630(truth(3))
	u.SetHolding(100, 200)
	p := profile(t, "eastron-sdm630", "ratios: {applied_by: meter, ct: {primary: {fc: 3, addr: 100, type: u16}}}\n")
	w := run(t, bus, p, period, func(s *modbus.Setup) { s.CT = 200 }, 3)
	w.await(t, "read", func() bool { r := w.readings["W3"]; return len(r) > 1 && good(&r[len(r)-1]) })
	u.SetHolding(100, 400)
	u.Break(metertest.Fault{Kind: metertest.Drop, Times: 1})
	w.await(t, "two readings after the change", func() bool {
		r := w.readings["W3"]
		return len(r) > 3 && r[len(r)-2].Phase[meter.L1].V.Reason == meter.Mismatch
	})
	w.mu.Lock()
	if p := w.points[len(w.points)-1]; p.Code != poll.MeterMismatch || p.State != meter.HealthFault {
		t.Errorf("health %+v", p)
	}
	changed := false
	for i, r := range w.readings["W3"] {
		v := r.Phase[meter.L1].V
		changed = changed || v.Reason == meter.Mismatch
		if changed && v.Quality != meter.Missing {
			t.Errorf("reading %d after the change: %+v", i, v)
		}
	}
	w.mu.Unlock()
}
