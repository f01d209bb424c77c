package modbus

import (
	"errors"
	"fmt"
	"io"
	"log"
	"testing"
	"time"

	lib "github.com/simonvetter/modbus"
	"pgregory.net/rapid"

	"lvagent/meter"
	"lvagent/meter/metertest"
)

// lines are a serial line behind a gateway and one behind a port.
var lines = map[string]func() (*metertest.Line, error){
	"rtu over tcp": func() (*metertest.Line, error) { return metertest.ListenRTU("") },
	"serial port":  metertest.OpenPTY,
}

const patience = 60 * time.Millisecond

func onLine(t interface {
	Fatal(...any)
	Error(...any)
	Cleanup(func())
}, start func() (*metertest.Line, error)) (*metertest.Line, *Client) {
	l, err := start()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Bus{URL: l.URL(), Timeout: patience, Baud: 115200, Longest: 40}.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.quiet = patience // as for a line that needs less
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), l.Close()); err != nil {
			t.Error(err)
		}
	})
	return l, c
}

// manyGuards are as long as no request of these tests.
var manyGuards = []Guard{{4, 0, 3}, {4, 0, 4}, {4, 0, 5}, {4, 0, 6}, {4, 0, 8}, {4, 0, 9}, {4, 0, 10}, {4, 0, 11}, {4, 0, 12}}

// truth is what register addr of unit holds in a step.
func truth(step int, unit uint8, addr uint16) uint16 {
	return uint16(step)<<6 ^ uint16(unit)<<12 ^ addr
}

// show sets a unit to what it holds in a step: two blocks of the same length
// and one of another.
func show(l *metertest.Line, step int, unit uint8) {
	l.Unit(unit).Update(func(im *metertest.Image) {
		for addr := range uint16(40) {
			im.Input[addr] = truth(step, unit, addr)
		}
	})
}

// The library alone is led astray by the fakes: one reply that comes late, and
// each answer after it is the one to the request before, with no error.
func TestFakeDefeatsAPlainClient(t *testing.T) {
	for name, start := range lines {
		t.Run(name, func(t *testing.T) {
			l, err := start()
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			show(l, 1, 5)
			c, err := lib.NewClient(&lib.ClientConfiguration{URL: l.URL(), Speed: 115200, StopBits: 1, Timeout: patience,
				Logger: log.New(io.Discard, "", 0)})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(c.Open(), c.SetUnitId(5)); err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			l.Unit(5).Break(metertest.Fault{Kind: metertest.Late, Delay: 2 * patience, Times: 1})
			if _, err := c.ReadRegister(0, lib.INPUT_REGISTER); err == nil {
				t.Fatal("the late reply was in time")
			}
			time.Sleep(2 * patience)
			for addr := uint16(1); addr < 5; addr++ {
				got, err := c.ReadRegister(addr, lib.INPUT_REGISTER)
				if err != nil || got != truth(1, 5, addr-1) {
					t.Errorf("register %d: %d, %v; the trap wants the value of register %d", addr, got, err, addr-1)
				}
			}
		})
	}
}

// One reply that comes late, or one of a wrong unit, costs its own request and
// no other.
func TestLateAndForeignReplies(t *testing.T) {
	for name, start := range lines {
		for _, f := range []metertest.Fault{
			{Kind: metertest.Late, Delay: patience * 3 / 2, Times: 1}, // passes while the line is quiet
			{Kind: metertest.Late, Delay: patience * 6, Times: 1},     // comes when it is open again
			{Kind: metertest.WrongUnit, Times: 1},
			{Kind: metertest.Truncated, Times: 1},
			{Kind: metertest.BadLength, Times: 1},
			{Kind: metertest.Garbage, Times: 1},
			{Kind: metertest.ShortFrame, Times: 1},
			{Kind: metertest.Mute, Times: 1},
			{Kind: metertest.Drop, Times: 1},
		} {
			if f.Kind == metertest.Drop && name == "serial port" {
				continue // a port has no connection to drop
			}
			t.Run(fmt.Sprintf("%s/%s %v", name, f.Kind, f.Delay), func(t *testing.T) {
				t.Parallel() // it mostly waits
				l, c := onLine(t, start)
				show(l, 0, 5)
				c.SetGuards(5, manyGuards...)
				for tries := 0; ; tries++ { // a busy machine may be late by itself
					err := c.Open()
					if err == nil {
						_, err = c.ReadInput(5, 0, 1)
					}
					if err == nil {
						break
					}
					if tries == 20 {
						t.Fatal(err)
					}
				}
				l.Unit(5).Break(f)
				_, err := c.ReadInput(5, 7, 1)
				if err == nil || keepsConnection(err) {
					t.Fatalf("the faulty request: %v", err)
				}
				good := 0
				for step := 1; step < 40 && good < 4; step++ {
					show(l, step, 5)
					if err := c.Open(); err != nil {
						t.Fatal(err)
					}
					addr := uint16(step % 40)
					w, err := c.ReadInput(5, addr, 1)
					if err != nil {
						continue // a late reply met the guard; again
					}
					good++
					if w[0] != truth(step, 5, addr) {
						t.Errorf("step %d: register %d is %#x, want %#x", step, addr, w[0], truth(step, 5, addr))
					}
				}
				if good < 4 {
					t.Errorf("only %d of 40 requests were answered afterwards", good)
				}
			})
		}
	}
}

// Whatever comes late, from elsewhere or broken: a value that counts is what
// its register held while the request ran. The line answers in order and one
// request at a time, as a line does.
func TestAValueIsNeverThatOfAnotherRequest(t *testing.T) {
	for name, start := range lines {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			good := 0
			rapid.Check(t, func(t *rapid.T) {
				l, err := start()
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				// Short, for many runs: a slow machine makes more late replies.
				c, err := Bus{URL: l.URL(), Timeout: 12 * time.Millisecond, Baud: 115200, Longest: 7}.Client(nil)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				c.quiet = 4 * time.Millisecond
				units := []uint8{3, 4}
				for _, u := range units {
					c.SetGuards(u, manyGuards...)
				}
				for step := range rapid.IntRange(4, 9).Draw(t, "steps") {
					unit := rapid.SampledFrom(units).Draw(t, "unit")
					for _, u := range units {
						show(l, step, u)
					}
					kind := rapid.SampledFrom([]metertest.Kind{"", "", metertest.Late, metertest.Late, metertest.WrongUnit, metertest.Garbage,
						metertest.Truncated, metertest.BadLength, metertest.Mute, metertest.Exceptional}).Draw(t, "fault")
					l.Unit(unit).Break(metertest.Fault{Kind: kind, Times: 1, Code: 4, Skip: rapid.IntRange(0, 1).Draw(t, "skip"),
						Delay: time.Duration(rapid.IntRange(12, 50).Draw(t, "delay")) * time.Millisecond})
					switch rapid.IntRange(0, 7).Draw(t, "stray") {
					case 0:
						l.Inject([]byte{0x55, 0xaa, 0x00})
					case 1:
						l.Inject(metertest.Frame(9, 4, 2, 0xbe, 0xef))
					}
					if c.Open() != nil {
						continue // too busy to connect
					}
					addr := uint16(rapid.IntRange(0, 30).Draw(t, "addr"))
					n := rapid.SampledFrom([]uint16{1, 2, 7}).Draw(t, "n")
					words, err := c.ReadInput(unit, addr, n)
					if err != nil {
						continue
					}
					good++
					for i, w := range words {
						if at := addr + uint16(i); w != truth(step, unit, at) {
							t.Fatalf("step %d unit %d: register %d is %#x, want %#x", step, unit, at, w, truth(step, unit, at))
						}
					}
				}
			})
			t.Logf("%d answers", good)
			if good == 0 {
				t.Error("not one answer: nothing was tested")
			}
		})
	}
}

// The guard's own answer comes late, when it is asked again, and the answer to
// that is an exception, which has no length: were the second guard as long as
// the first, each value from then on would be the one before.
func TestLateGuardAndAnException(t *testing.T) {
	for name, start := range lines {
		t.Run(name, func(t *testing.T) {
			l, c := onLine(t, start)
			c.SetGuards(5, manyGuards...)
			show(l, 0, 5)
			l.Unit(5).Break(metertest.Fault{Kind: metertest.Late, Delay: patience * 5 / 2, Times: 1})
			if err := c.Open(); err != nil {
				t.Fatal(err)
			}
			if _, err := c.ReadInput(5, 0, 1); err == nil {
				t.Fatal("the late guard was in time")
			}
			l.Unit(5).Break(metertest.Fault{Kind: metertest.Exceptional, Code: 6, Times: 1})
			good := 0
			for step := 1; step < 40 && good < 4; step++ {
				show(l, step, 5)
				if err := c.Open(); err != nil {
					t.Fatal(err)
				}
				w, err := c.ReadInput(5, 2, 1)
				if err != nil {
					continue
				}
				if good++; w[0] != truth(step, 5, 2) {
					t.Errorf("step %d: %#x, want %#x", step, w[0], truth(step, 5, 2))
				}
			}
			if good < 4 {
				t.Errorf("%d good answers", good)
			}
		})
	}
}

// A guard that was not answered is not asked again while its answer may come; a
// unit that owes every one of them is left alone, and believed again later.
func TestGuardsThatAreOwed(t *testing.T) {
	l, c := onLine(t, lines["rtu over tcp"])
	c.latest = time.Hour
	c.SetGuards(5, Guard{4, 0, 3}, Guard{4, 0, 4})
	show(l, 0, 5)
	l.Unit(5).Break(metertest.Fault{Kind: metertest.Mute})
	read := func() error {
		if err := c.Open(); err != nil {
			t.Fatal(err)
		}
		_, err := c.ReadInput(5, 0, 1)
		return err
	}
	for i, want := range []error{ErrTimeout, ErrTimeout, ErrUnproven, ErrUnproven} {
		if err := read(); !errors.Is(err, want) {
			t.Errorf("try %d: %v, want %v", i, err, want)
		}
	}
	if n := l.Unit(5).Requests(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
	l.Unit(5).Heal()
	c.latest = 0
	if err := read(); err != nil {
		t.Errorf("later: %v", err)
	}
}

// A unit that was never asked anything is not believed either: the agent before
// this one may have left a request behind.
func TestGuardComesFirst(t *testing.T) {
	l, c := onLine(t, lines["rtu over tcp"])
	show(l, 0, 5)
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadInput(5, 0, 1); !errors.Is(err, ErrUnproven) || l.Unit(5).Requests() != 0 {
		t.Errorf("read without guard: %v, %d requests", err, l.Unit(5).Requests())
	}
	l.Unit(5).SetHolding(9, 0)
	if err := c.WriteHolding(5, 9, 1); err != nil {
		t.Errorf("write without guard: %v", err)
	}
	if w, err := c.ReadHolding(5, 9, 1); err != nil || w[0] != 1 {
		t.Errorf("read back: %v, %v", w, err)
	}
	if n := l.Unit(5).Requests(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

// A meter that refuses one guard is measured by the next one.
func TestMeterThatRefusesAGuard(t *testing.T) {
	l, c := onLine(t, lines["rtu over tcp"])
	l.Unit(3).SetSDM630(evening)
	m := NewMeter(c, "W3", 3, shipped(t))
	l.Unit(3).Break(metertest.Fault{Kind: metertest.Exceptional, Code: 2, Times: 1})
	var r meter.Reading
	var errs []error
	for range 2 {
		if err := c.Open(); err != nil {
			t.Fatal(err)
		}
		errs = append(errs, m.Read(&r))
	}
	if !errors.Is(errs[0], ErrGuard) || errs[1] != nil {
		t.Errorf("reads: %v", errs)
	}
	if want := eveningReading(); r != want {
		t.Errorf("got\n%+v, want\n%+v", r, want)
	}
	if g := c.units[3].last; g == c.units[3].guards[0] {
		t.Errorf("still the guard %+v", g)
	}
}

func TestGuards(t *testing.T) {
	p := shipped(t)
	c, err := Bus{URL: "rtuovertcp://127.0.0.1:1", Timeout: patience}.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	NewMeter(c, "W3", 3, p)
	all := c.guardsOf(3, p.channels[0].fast)
	if len(all) == 0 || all[0] != (Guard{4, 0, 4}) {
		t.Errorf("guards of the SDM630 are %+v, want first the 4 registers from 0", all)
	}
	for _, g := range all {
		for _, b := range p.requests {
			if g.Function == b.fc && g.N == b.n {
				t.Errorf("guard %+v is as long as block %d+%d", g, b.addr, b.n)
			}
		}
	}
}

// A line that fails is left alone until late octets have passed.
func TestLineIsQuietAfterAFault(t *testing.T) {
	l, c := onLine(t, lines["rtu over tcp"])
	c.quiet = leastQuiet
	show(l, 0, 5)
	c.SetGuards(5, manyGuards...)
	l.Unit(5).Break(metertest.Fault{Kind: metertest.Mute})
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadInput(5, 0, 1); !errors.Is(err, ErrTimeout) {
		t.Fatalf("read: %v", err)
	}
	failed := time.Now()
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	if rest := time.Since(failed); rest < leastQuiet*9/10 {
		t.Errorf("open again after %v, want at least %v", rest, leastQuiet)
	}
}

func TestTimeOnTheWire(t *testing.T) {
	// By hand: (8+5+2n) characters, twice 3.5 of silence, 30 ms until the answer.
	for _, tt := range []struct {
		baud, stop int
		parity     string
		n          uint16
		want       time.Duration
	}{
		{9600, 1, "even", 32, (77+7)*11*time.Second/9600 + 30*time.Millisecond},
		{9600, 1, "none", 49, (111+7)*10*time.Second/9600 + 30*time.Millisecond},
		{115200, 2, "none", 32, 77*11*time.Second/115200 + 33500*time.Microsecond},
	} {
		b := Bus{URL: "rtu:///dev/ttyS1", Timeout: time.Second, Baud: tt.baud, Stop: tt.stop, Parity: tt.parity}
		got, err := b.Reading(tt.n, 30*time.Millisecond)
		if d := got - tt.want; err != nil || d < -time.Microsecond || d > time.Microsecond {
			t.Errorf("%d registers at %d %s %d: %v, %v; want %v", tt.n, tt.baud, tt.parity, tt.stop, got, err, tt.want)
		}
	}
	for _, b := range []Bus{
		{URL: "rtu:///dev/ttyS1", Timeout: time.Second, Baud: 12345},
		{URL: "rtu:///dev/ttyS1", Timeout: time.Second, Parity: "mark"},
		{URL: "rtu:///dev/ttyS1", Timeout: time.Second, Stop: 3},
	} {
		if _, err := b.Client(nil); err == nil {
			t.Errorf("took %+v", b)
		}
	}
}
