package dnp3_test

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lvagent/dnp3"
	"lvagent/dnp3/dnp3test"
)

// requests are the requests of the conversations in testdata.
func requests(t testing.TB) (fragments [][]byte) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			code, _, _ := strings.Cut(lines.Text(), "#")
			if code, ok := strings.CutPrefix(code, "-> "); ok {
				octets, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(code), " ", ""))
				if err != nil {
					t.Fatal(err)
				}
				fragments = append(fragments, octets)
			}
		}
	}
	if len(fragments) < 80 {
		t.Fatalf("%d requests in testdata", len(fragments))
	}
	return fragments
}

// alive fails unless the outstation still answers.
func alive(t testing.TB, r *rig) {
	t.Helper()
	r.raw(dnp3test.Frame(0xc9, outstation, master, nil))
	frames := r.links()
	if !slices.ContainsFunc(frames, func(f []byte) bool { return f[3] == 0x0b }) {
		t.Fatalf("no answer to a request of the link's status: % x", frames)
	}
}

// Each request cut short at each octet: as a fragment, and as the frame of it.
// Nothing is operated by a command that is not whole, and the next request is
// served.
func TestTruncatedRequests(t *testing.T) {
	for _, request := range requests(t) {
		for n := range request {
			r := quiet(t, small())
			r.send(request[:n])
			r.responses()
			if function := request[1]; function >= dnp3test.FuncSelect && function <= dnp3test.FuncDirectNR && len(r.operator.operated)+r.operator.selected > 0 {
				t.Errorf("% x cut at %d: operated", request, n)
			}
			alive(t, r)
		}
		frames, _ := dnp3test.Segments(0, outstation, master, request)
		for n := range frames {
			r := quiet(t, small())
			r.raw(frames[:n])
			r.nothing()
			r.raw(make([]byte, 300)) // what is missing of the frame never comes
			r.send(dnp3test.Request(1, dnp3test.FuncDelay))
			if got := r.one(); got.Objects[0].Group != 52 {
				t.Errorf("after % x cut at %d: %v", frames, n, got)
			}
		}
	}
}

// A wrong bit anywhere in a frame of several blocks: nothing comes of it.
func TestWrongBitInRequest(t *testing.T) {
	request := dnp3test.Request(1, dnp3test.FuncDirectNR, dnp3test.Setpoint(0, 1), dnp3test.Setpoint(0, 2), dnp3test.Setpoint(0, 3))
	frames, _ := dnp3test.Segments(0, outstation, master, request)
	r := quiet(t, small())
	for bit := range len(frames) * 8 {
		broken := slices.Clone(frames)
		broken[bit/8] ^= 1 << (bit % 8)
		r.raw(broken)
		r.raw(make([]byte, 300))
		if len(r.operator.operated) > 0 {
			t.Fatalf("bit %d: operated", bit)
		}
	}
	alive(t, r)
}

func TestHostileRequests(t *testing.T) {
	tests := []struct {
		name    string
		request []byte
		iin     uint16 // of the errors; answered with none unless silent
		silent  bool
	}{
		{"start above stop", dnp3test.Request(1, 1, []byte{30, 0, 1, 5, 0, 4, 0}), dnp3test.IINParameterError, false},
		{"0 to 65535", dnp3test.Request(1, 1, dnp3test.Range(1, 2, 0, 65535)), dnp3test.IINParameterError, false},
		{"0 to 4294967295", dnp3test.Request(1, 1, []byte{1, 2, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}), dnp3test.IINParameterError, false},
		{"65536 to 65537", dnp3test.Request(1, 1, []byte{1, 2, 2, 0, 0, 1, 0, 1, 0, 1, 0}), dnp3test.IINParameterError, false},
		{"65535 commands and none there", dnp3test.Request(1, 5, []byte{12, 1, 0x28, 0xff, 0xff}), dnp3test.IINParameterError, false},
		{"4294967295 commands", dnp3test.Request(1, 5, []byte{41, 1, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}), dnp3test.IINParameterError, false},
		{"a count of commands", dnp3test.Request(1, 5, []byte{41, 2, 7, 1, 0, 0, 0}), dnp3test.IINParameterError, false},
		{"no commands", dnp3test.Request(1, 5, []byte{12, 1, 0x28, 0, 0}), dnp3test.IINParameterError, false},
		{"objects of no octets, often", dnp3test.Request(1, 2, []byte{110, 0, 8, 0xff, 0xff, 110, 0, 8, 0xff, 0xff}), dnp3test.IINObjectUnknown, false},
		{"packed values to write", dnp3test.Request(1, 2, []byte{1, 1, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0}), dnp3test.IINParameterError, false},
		{"an index of 32 bits", dnp3test.Request(1, 5, []byte{41, 2, 0x39, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), dnp3test.IINParameterError, false},
		{"several indications at once to write", dnp3test.Request(1, 2, []byte{80, 1, 0, 0, 15, 0, 0}), dnp3test.IINParameterError, false},
		{"a response", []byte{0xc1, 129, 0, 0}, 0, true},
		{"an unsolicited response", []byte{0xf1, 130, 0, 0}, 0, true},
		{"a response to authentication", []byte{0xc1, 131, 0, 0}, 0, true},
		{"a function kept back", []byte{0xc1, 200}, 0, true},
		{"an authentication without an answer", dnp3test.Request(1, 33), 0, true},
		{"a request as unsolicited", []byte{0xd1, 1, 60, 1, 6}, 0, true},
		{"the first of two fragments", []byte{0x81, 1, 60, 1, 6}, 0, true},
		{"the second", []byte{0x41, 1, 60, 1, 6}, 0, true},
		{"one octet", []byte{0xc1}, 0, true},
		{"an unknown function", dnp3test.Request(1, 99), dnp3test.IINNoFunction, false},
		{"a file", dnp3test.Request(1, 25), dnp3test.IINNoFunction, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := quiet(t, small())
			r.send(tt.request)
			got := r.responses()
			switch {
			case tt.silent && len(got) > 0:
				t.Errorf("answered % x", got[0].Raw)
			case !tt.silent && (len(got) != 1 || got[0].IIN&dnp3test.IINErrors != tt.iin):
				t.Errorf("responses %v, want one with %04x", got, tt.iin)
			}
			if len(r.operator.operated)+r.operator.selected > 0 {
				t.Error("the handler was asked")
			}
			// The error belonged to that response alone.
			if next := r.do(dnp3test.FuncDelay); next.IIN&dnp3test.IINErrors != 0 {
				t.Errorf("the next response has indications %04x", next.IIN)
			}
		})
	}
}

// A short request that names the database as often as it can costs what the
// items of one request may.
func TestRepeatedHeadersAreBounded(t *testing.T) {
	tests := []struct {
		name     string
		function uint8
		header   []byte
	}{
		{"class 0", dnp3test.FuncRead, dnp3test.Classes(0)},
		{"attributes", dnp3test.FuncRead, dnp3test.All(0, 254)},
		{"freeze", dnp3test.FuncFreeze, dnp3test.All(20, 0)},
		{"classes", dnp3test.FuncAssignClass, append(dnp3test.Classes(1), dnp3test.All(30, 0)...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := polled()
			c.Masters[0].FrozenEvents = 10_000
			r := quiet(t, c)
			var objects []byte
			for len(objects)+len(tt.header) < 2000 {
				objects = append(objects, tt.header...)
			}
			got := r.do(tt.function, objects)
			if got.IIN&dnp3test.IINParameterError == 0 {
				t.Errorf("indications %04x, want PARAMETER_ERROR", got.IIN)
			}
			if n := r.station.Counts()[0].Waiting; n > 64 {
				t.Errorf("%d events made by one request", n)
			}
			octets := len(got.Raw)
			for !got.Final() {
				r.send(dnp3test.Confirm(got))
				got = r.one()
				octets += len(got.Raw)
			}
			if octets > 100*300 {
				t.Errorf("%d octets for one request", octets)
			}
		})
	}
}

// Confirms nobody asked for, a thousand a second.
func TestConfirmStorm(t *testing.T) {
	r := quiet(t, small())
	r.update(dnp3.BinaryInput, 0, 1)
	for i := range 10_000 {
		r.send([]byte{0xc0 | uint8(i)&0x1f, 0})
	}
	r.nothing()
	if n := r.station.Counts()[0].Waiting; n != 1 {
		t.Errorf("%d events wait, want 1", n)
	}
}

// A peer that asks without taking the answers does not make the outstation hold
// more and more of them.
func TestPeerThatDoesNotTakeAnswers(t *testing.T) {
	r := quiet(t, small())
	frames, _ := dnp3test.Segments(0, outstation, master, dnp3test.Request(1, dnp3test.FuncRead, dnp3test.Classes(0)))
	var stream []byte
	for range 1000 {
		stream = append(stream, frames...)
	}
	rest := r.conn.Receive(stream, r.now, r.wall())
	if len(rest) == 0 || len(r.conn.Output()) > 20<<10 {
		t.Fatalf("%d octets of output held, %d of input left", len(r.conn.Output()), len(rest))
	}
	for range 100 {
		r.wait(time.Minute)
	}
	if n := len(r.conn.Output()); n > 64<<10 {
		t.Errorf("%d octets of output held", n)
	}
}

// Octets into a session, in frames whose content is the fuzzer's and in octets
// as they are: it always answers something that another reading understands,
// rests at last, and serves the next request.
func FuzzSession(f *testing.F) {
	for _, request := range requests(f) {
		f.Add(append([]byte{uint8(len(request))}, request...), uint8(0))
	}
	f.Add([]byte("\x0b\xc1\x14\x3c\x02\x06\x3c\x03\x06\x3c\x04\x06\x02\xd1\x00\x02\xd2\x00"), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, seconds uint8) {
		c := small()
		c.Masters[0].MostFragment = 300
		c.Masters[0].Events = [7]int{4, 4, 4, 4, 4, 4, 4}
		r := newRig(t, c)
		r.connect()
		for i := range 6 {
			r.update(dnp3.AnalogInput, 300, float64(i))
			r.update(dnp3.Counter, 0, float64(i))
		}
		for len(in) > 0 && r.conn.Over() == nil {
			n := min(int(in[0]), len(in)-1)
			if piece := in[1 : 1+n]; n%7 == 6 {
				r.raw(piece)
			} else if n > 0 {
				r.send(piece)
			}
			r.responses()
			in = in[1+n:]
			r.wait(time.Duration(seconds) * s)
			r.update(dnp3.AnalogInput, 300, float64(n))
		}
		if waiting := r.station.Counts()[0].Waiting; waiting > 4*3*10 {
			t.Fatalf("%d events kept", waiting)
		}
		if r.conn.Over() == nil {
			r.drop()
		}
		r.connect()
		alive(t, r)
		if err := newRig(t, c).station.Restore(r.station.Save(nil)); err != nil {
			t.Fatal(err)
		}
	})
}

// checked puts the right checksum behind what was saved.
func checked(body []byte) []byte {
	return binary.LittleEndian.AppendUint32(slices.Clone(body), crc32.ChecksumIEEE(body))
}

func FuzzRestore(f *testing.F) {
	r := quiet(f, small())
	r.update(dnp3.BinaryInput, 0, 1)
	r.update(dnp3.Counter, 0, 7)
	f.Add(r.station.Save(nil))
	f.Fuzz(func(t *testing.T, saved []byte) {
		r := newRig(t, small())
		before := r.station.Save(nil)
		// The check at the end keeps chance out: the fuzzer gets a good one.
		if len(saved) > 4 {
			saved = checked(saved[:len(saved)-4])
		}
		if err := r.station.Restore(saved); err != nil && !slices.Equal(before, r.station.Save(nil)) {
			t.Fatalf("refused with %v, and some of it taken", err)
		}
		r.connect()
		r.one()
		r.post(dnp3test.FuncRead, dnp3test.Integrity())
		r.responses()
	})
}
