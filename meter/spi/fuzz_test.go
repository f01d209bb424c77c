package spi

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"testing"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/spi"

	"lvagent/meter"
)

// Whatever is in a calibration file, it has faults or its numbers are finite.
func FuzzParseCalibration(f *testing.F) {
	text, err := os.ReadFile("testdata/board.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("schema: 1\nboard: x\nchip: ade9000\nchannels:\n- {channel: A, phase: L1, full_scale_v: 500, full_scale_a: 1e-6, ct_ratio: 1e6}\n"))
	f.Add([]byte("{a: &a [*a]}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, faults := ParseCalibration(text)
		if (c == nil) != (len(faults) > 0) {
			t.Fatalf("calibration %v with faults %v", c, faults)
		}
		if c == nil {
			return
		}
		k := c.scale()
		for i := range k.phase {
			for _, x := range []float64{k.v[i], k.i[i], math.Abs(k.p[i])} {
				if k.phase[i] != none && (x <= 0 || x > 1e9 || math.IsNaN(x)) {
					t.Fatalf("channel %d: scale %v %v %v", i, k.v[i], k.i[i], k.p[i])
				}
			}
		}
		for _, s := range c.settings() {
			if s.reg.size() == 2 && s.value > 0xffff {
				t.Fatalf("register 0x%x takes 16 bits, not 0x%x", uint16(s.reg), s.value)
			}
			// These have 24 bits; the chip would not give back more.
			if (s.reg == regVLevel || s.reg == regDipLevel || s.reg == regSwell) && (s.value >= 1<<24 || s.value == 0) {
				t.Fatalf("register 0x%x is to hold 0x%x", uint16(s.reg), s.value)
			}
		}
	})
}

// script is a bus that answers with the octets of a string.
type script struct {
	octets []byte
	sent   [][]byte
	got    [][]byte
}

func (s *script) Tx(w, r []byte) error {
	n := copy(r, s.octets)
	s.octets = s.octets[n:]
	s.sent, s.got = append(s.sent, bytes.Clone(w)), append(s.got, bytes.Clone(r))
	return nil
}

func (s *script) String() string                 { return "script" }
func (s *script) Duplex() conn.Duplex            { return conn.Full }
func (s *script) TxPackets(p []spi.Packet) error { return nil }

// Whatever comes over the wire, a value is returned only when command, repeated
// data and checksum fit it.
func FuzzWireRead(f *testing.F) {
	f.Add(uint16(regVRMS), []byte("\x00\x00\x01\x02\x03\x04\x00\x00\x21\xc8\x00\x00\x21\xc8\x00\x00\x01\x02\x03\x04\x00\x00\x89\xc3"))
	f.Add(uint16(regRun), []byte("\x00\x00\x00\x01\x00\x00\x48\x08\x00\x00\x48\x08\x00\x00\x00\x01\x00\x00\x0d\x2e"))
	f.Add(uint16(regStatus1), bytes.Repeat([]byte{0xff}, 32))
	f.Fuzz(func(t *testing.T, reg uint16, octets []byte) {
		s := &script{octets: octets}
		r := register(reg & 0xfff)
		w := wire{conn: s}
		v, err := w.read(r)
		for i := range s.sent {
			if len(s.sent[i]) > 6 || s.sent[i][1]&0x0f != 8 {
				t.Fatalf("transfer %d sends % x: a read only", i, s.sent[i])
			}
		}
		if err != nil {
			return
		}
		data := s.got[0][2:]
		cmd := binary.BigEndian.AppendUint16(nil, uint16(r)<<4|8)
		if len(s.got) != 5 || !bytes.Equal(s.got[1][2:], cmd) || !bytes.Equal(s.got[2][2:], cmd) || !bytes.Equal(s.got[3][2:], data) {
			t.Fatalf("0x%x from % x", v, s.got)
		}
		var wide [4]byte
		copy(wide[4-len(data):], data)
		if v != binary.BigEndian.Uint32(wide[:]) {
			t.Fatalf("0x%x is not % x", v, data)
		}
	})
}

// Whatever a register holds, a value that is not Missing is a possible one.
func FuzzDecode(f *testing.F) {
	f.Add(uint32(fullRMS), uint32(fullRMS), uint32(fullWatt), uint32(0), uint32(5242879))
	f.Add(uint32(math.MaxUint32), uint32(1<<31), uint32(1<<31), uint32(1<<31), uint32(0))
	f.Add(uint32(0), uint32(mostRMS), uint32(0xffffffff), uint32(1), uint32(math.MaxUint32))
	text, err := os.ReadFile("testdata/board.yaml")
	if err != nil {
		f.Fatal(err)
	}
	c, faults := ParseCalibration(text)
	if len(faults) > 0 {
		f.Fatal(faults)
	}
	k := c.scale()
	f.Fuzz(func(t *testing.T, v, i, p, q, period uint32) {
		var s sums
		for range samples {
			s.add(&[channels]uint32{v, v, v}, &[channels]uint32{i, i, i}, &[channels]uint32{p, p, p}, &[channels]uint32{q, q, q}, i)
		}
		var r meter.Reading
		s.fill(&r, &k, meter.BadFrame)
		for x := range r.Phase {
			ph := &r.Phase[x]
			if (ph.Quality() == meter.Good) != (v <= fullRMS && i <= fullRMS && inWatt(p) && inWatt(q)) {
				t.Fatalf("%+v from %d %d %d %d", ph, v, i, int32(p), int32(q))
			}
			if beyond := v > mostRMS || i > mostRMS || !inWatt(p) || !inWatt(q); beyond != (ph.Quality() == meter.Missing) {
				t.Fatalf("%+v from %d %d %d %d", ph, v, i, int32(p), int32(q))
			}
			if ph.V.Value < 0 || ph.V.Value > 750_000 || ph.I.Value < 0 || ph.I.Value > 1_500_000 ||
				math.Abs(float64(ph.P.Value)) > 1.1e9 || math.Abs(float64(ph.Q.Value)) > 1.1e9 {
				t.Fatalf("%+v from %d %d %d %d", ph, v, i, int32(p), int32(q))
			}
		}
		if hz := frequency(period, 50); hz.Quality == meter.Good && (hz.Value < 42_500 || hz.Value > 57_500) {
			t.Fatalf("%+v from %d", hz, period)
		}
		if d := distortion(period); d.Value < 0 || d.Value > 4*meter.Whole || (d.Quality == meter.Good) != (period <= 4<<27) {
			t.Fatalf("%+v from %d", d, period)
		}
	})
}

func inWatt(code uint32) bool { return math.Abs(float64(int32(code))) <= mostWatt }

// The figures are those of binascii.crc_hqx(octets, 0xffff) of Python, which has
// the same polynomial.
func TestChecksum(t *testing.T) {
	tests := []struct {
		v      uint32
		octets int
		want   uint16
	}{
		{0x31323334, 4, 0x5349}, // "1234"
		{0x4142, 2, 0x4B74},     // "AB"
		{0, 4, 0x84C0},
		{0, 2, 0x1D0F},
	}
	for _, tt := range tests {
		if got := checksum(tt.v, tt.octets); got != tt.want {
			t.Errorf("checksum of %0*x = 0x%04x, want 0x%04x", 2*tt.octets, tt.v, got, tt.want)
		}
	}
}
