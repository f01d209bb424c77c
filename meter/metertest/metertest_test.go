package metertest

import (
	"encoding/hex"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lvagent/meter"
)

// conversation is a raw connection: octets in hexadecimal, blanks ignored.
type conversation struct {
	t *testing.T
	c net.Conn
}

func talk(t *testing.T, s *Server) *conversation {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &conversation{t, c}
}

func octets(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (v *conversation) send(text string) {
	v.t.Helper()
	if _, err := v.c.Write(octets(v.t, text)); err != nil {
		v.t.Fatal(err)
	}
}

func (v *conversation) expect(text string) {
	v.t.Helper()
	want := octets(v.t, text)
	got := make([]byte, len(want))
	n, err := io.ReadFull(v.c, got)
	if !slices.Equal(got[:n], want) {
		v.t.Errorf("got % x (%v), want % x", got[:n], err, want)
	}
}

func listen(t *testing.T) *Server {
	t.Helper()
	s, err := Listen("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Requests and replies as in the Modbus Application Protocol V1.1b3, section 6.
func TestConversations(t *testing.T) {
	s := listen(t)
	u := s.Unit(0x11)
	u.SetInput(0x0008, 0x000a)
	u.SetHolding(0x006b, 0x022b, 0x0000, 0x0064)
	u.SetHolding(0x0001, 0, 0, 0)
	for a := range uint16(19) { // coils 20 to 38 of the specification's example
		u.SetCoil(0x13+a, 0x56bcd>>a&1 == 1)
	}
	u.SetCoil(0x00ac, false)
	for _, tt := range []struct{ name, ask, reply string }{
		{"read coils", "0001 0000 0006 11 01 0013 0013", "0001 0000 0006 11 01 03 cd 6b 05"},
		{"read holding registers", "0002 0000 0006 11 03 006b 0003", "0002 0000 0009 11 03 06 022b 0000 0064"},
		{"read input registers", "0003 0000 0006 11 04 0008 0001", "0003 0000 0005 11 04 02 000a"},
		{"write coil", "0004 0000 0006 11 05 00ac ff00", "0004 0000 0006 11 05 00ac ff00"},
		{"coil is on", "0005 0000 0006 11 01 00ac 0001", "0005 0000 0004 11 01 01 01"},
		{"write register", "0006 0000 0006 11 06 0001 0003", "0006 0000 0006 11 06 0001 0003"},
		{"write registers", "0007 0000 000b 11 10 0002 0002 04 000a 0102", "0007 0000 0006 11 10 0002 0002"},
		{"registers are written", "0008 0000 0006 11 03 0001 0003", "0008 0000 0009 11 03 06 0003 000a 0102"},
		{"no such register", "0009 0000 0006 11 03 006b 0004", "0009 0000 0003 11 83 02"},
		{"no such coil", "000a 0000 0006 11 05 00ad ff00", "000a 0000 0003 11 85 02"},
		{"coil neither on nor off", "000b 0000 0006 11 05 00ac 0001", "000b 0000 0003 11 85 03"},
		{"126 registers", "000c 0000 0006 11 04 0000 007e", "000c 0000 0003 11 84 03"},
		{"0 registers", "000d 0000 0006 11 04 0000 0000", "000d 0000 0003 11 84 03"},
		{"byte count does not fit", "000e 0000 000b 11 10 0002 0002 03 000a 0102", "000e 0000 0003 11 90 03"},
		{"unknown function", "000f 0000 0006 11 2b 0e01 0000", "000f 0000 0003 11 ab 01"},
		{"too short", "0010 0000 0004 11 03 006b", "0010 0000 0003 11 83 03"},
		{"a unit that is not there", "0011 0000 0006 12 03 006b 0001", "0011 0000 0003 12 83 0b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := talk(t, s)
			v.send(tt.ask)
			v.expect(tt.reply)
		})
	}
}

func TestFaultsAsOctets(t *testing.T) {
	const ask = "0001 0000 0006 11 04 0008 0002"
	const good = "0001 0000 0007 11 04 04 4366 0000"
	for _, tt := range []struct {
		name  string
		fault Fault
		reply string
	}{
		{"healthy", Fault{}, good},
		{"exception", Fault{Kind: Exceptional, Code: 4}, "0001 0000 0003 11 84 04"},
		{"short frame", Fault{Kind: ShortFrame}, "0001 0000 0006 11 04 04 4366 00"},
		{"garbage", Fault{Kind: Garbage}, "dead beef ffff ffff ff"},
		{"wrong transaction", Fault{Kind: WrongTransaction}, "1001 0000 0007 11 04 04 4366 0000"},
		{"wrong unit", Fault{Kind: WrongUnit}, "0001 0000 0007 12 04 04 4366 0000"},
		{"late", Fault{Kind: Late, Delay: time.Millisecond}, good},
		{"not a number", Fault{Kind: NaN}, "0001 0000 0007 11 04 04 7fc0 0000"},
		{"sentinel", Fault{Kind: Sentinel, Word: 0x8000}, "0001 0000 0007 11 04 04 8000 8000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := listen(t)
			u := s.Unit(0x11)
			u.SetFloat(8, 230)
			v := talk(t, s)
			tt.fault.Skip = 1
			u.Break(tt.fault)
			v.send(ask)
			v.expect(good)
			v.send(ask)
			v.expect(tt.reply)
			u.Heal()
			v.send(ask)
			v.expect(good)
		})
	}
}

func TestStuckConfirmsAndDoesNotTake(t *testing.T) {
	s := listen(t)
	u := s.Unit(0x11)
	u.SetHolding(1, 5)
	u.SetCoil(2, true)
	u.OnWrite(func(w Write) { t.Errorf("took %+v", w) })
	v := talk(t, s)
	u.Break(Fault{Kind: Stuck})
	for _, write := range []string{"0001 0000 0006 11 06 0001 0003", "0002 0000 0006 11 05 0002 0000"} {
		v.send(write)
		v.expect(write)
	}
	if w, _ := u.Holding(1); w != 5 {
		t.Errorf("register = %d, want 5", w)
	}
	if on, _ := u.Coil(2); !on {
		t.Error("the coil took the write")
	}
}

func TestMuteHearsAndDropHangsUp(t *testing.T) {
	s := listen(t)
	u := s.Unit(0x11)
	u.SetHolding(1, 5)
	v := talk(t, s)
	u.Break(Fault{Kind: Mute})
	v.send("0001 0000 0006 11 06 0001 0003") // lost
	v.send("0002 0000 0006 12 06 0001 0003") // to show that the first was heard
	v.expect("0002 0000 0003 12 86 0b")
	if w, _ := u.Holding(1); w != 5 || u.Requests() != 1 {
		t.Errorf("a lost write: register %d, %d requests; want 5, 1", w, u.Requests())
	}
	u.Break(Fault{Kind: Drop})
	v.send("0003 0000 0006 11 03 0001 0001")
	if n, err := v.c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d octets, %v; want end of file", n, err)
	}
}

func TestOnWrite(t *testing.T) {
	s := listen(t)
	u := s.Unit(0x11)
	u.SetHolding(1, 0, 0)
	u.SetCoil(7, true)
	got := make(chan Write, 4)
	u.OnWrite(func(w Write) { got <- w })
	v := talk(t, s)
	v.send("0001 0000 000b 11 10 0001 0002 04 000a 0102")
	v.expect("0001 0000 0006 11 10 0001 0002")
	v.send("0002 0000 0006 11 05 0007 0000")
	v.expect("0002 0000 0006 11 05 0007 0000")
	v.send("0003 0000 0006 11 05 0007 ff00")
	v.expect("0003 0000 0006 11 05 0007 ff00")
	for _, want := range []Write{
		{Addr: 1, Value: 10}, {Addr: 2, Value: 0x102}, {Coil: true, Addr: 7}, {Coil: true, Addr: 7, Value: 1},
	} {
		if w := <-got; w != want {
			t.Errorf("told of %+v, want %+v", w, want)
		}
	}
}

// The registers of an SDM630 as its table has them.
func TestSDM630Registers(t *testing.T) {
	s := listen(t)
	s.SetSDM630(1, SDM630{V: [3]float64{230, 1, 2}, Q: [3]float64{0, 0, -0.5}, N: 8})
	v := talk(t, s)
	v.send("0001 0000 0006 01 04 0000 0006")
	v.expect("0001 0000 000f 01 04 0c 4366 0000 3f80 0000 4000 0000")
	v.send("0002 0000 0006 01 04 001c 0002")
	v.expect("0002 0000 0007 01 04 04 bf00 0000")
	v.send("0003 0000 0006 01 04 00e0 0002")
	v.expect("0003 0000 0007 01 04 04 4100 0000")
}

// A reply never mixes two states of the image.
func TestUpdateIsOneInstant(t *testing.T) {
	s := listen(t)
	u := s.Unit(1)
	u.SetInput(0, 0, 0)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range uint16(200) {
			u.Update(func(im *Image) { im.Input[0], im.Input[1] = i, i })
		}
	})
	v := talk(t, s)
	for range 200 {
		v.send("0001 0000 0006 01 04 0000 0002")
		reply := make([]byte, 13)
		if _, err := io.ReadFull(v.c, reply); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(reply[9:11], reply[11:13]) {
			t.Fatalf("mixed reply % x", reply)
		}
	}
	wg.Wait()
}

func TestCloseEndsALateReply(t *testing.T) {
	s := listen(t)
	s.Unit(1).SetInput(0, 0)
	s.Unit(1).Break(Fault{Kind: Late, Delay: time.Hour})
	v := talk(t, s)
	v.send("0001 0000 0006 01 04 0000 0001")
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := s.Connections(); n != 0 {
		t.Errorf("%d connections open after close", n)
	}
}

func TestSources(t *testing.T) {
	good := Good(230_000, 1, 2, 3, 4)
	errGone := errors.New("gone")
	p := &Playback{Steps: []Step{{Reading: good}, {Err: errGone}}}
	r := meter.Reading{Way: "W1", At: 5}
	if err := p.Read(&r); err != nil || r.Phase[meter.L3].V.Value != 230_000 || r.Way != "W1" || r.At != 5 {
		t.Errorf("first step: %v, %+v", err, r)
	}
	for _, want := range []error{errGone, ErrPlayedOut} {
		if err := p.Read(&r); !errors.Is(err, want) || r.Neutral.Quality != meter.Missing {
			t.Errorf("got %v, %+v; want %v and nothing", err, r.Neutral, want)
		}
	}
	s := NewSteady(good)
	s.Break(errGone)
	if err := s.Read(&r); !errors.Is(err, errGone) || r.Neutral != (meter.Sample[meter.Milliamps]{Reason: meter.NoAnswer}) {
		t.Errorf("broken: %v, %+v", err, r.Neutral)
	}
	s.Break(nil)
	if err := s.Read(&r); err != nil || r.Neutral.Value != 4 || s.Reads() != 2 {
		t.Errorf("healed: %v, %+v, %d reads", err, r.Neutral, s.Reads())
	}
}
