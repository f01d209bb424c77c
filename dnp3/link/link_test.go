package link

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func octets(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Frames as other implementations publish them, so that the check does not
// rest on our own reading of it.
func TestFramesKnownFromElsewhere(t *testing.T) {
	tests := []struct {
		name, frame string
		header      Header
		data        string
	}{
		{"reset of the link, 1024 to 1", "05 64 05 c0 01 00 00 04 e9 21", Header{0xc0, 1, 1024}, ""},
		{"an integrity poll as confirmed data", "05 64 14 f3 01 00 00 04 0a 3b c0 c3 01 3c 02 06 3c 03 06 3c 04 06 3c 01 06 9a 12",
			Header{0xf3, 1, 1024}, "c0 c3 01 3c 02 06 3c 03 06 3c 04 06 3c 01 06"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := Append(nil, tt.header, octets(t, tt.data))
			if got := octets(t, tt.frame); !bytes.Equal(got, want) {
				t.Errorf("frame = % x, want % x", want, got)
			}
		})
	}
	// The catalogue value of CRC-16/DNP over "123456789".
	if got := crc([]byte("123456789")); got != 0xea82 {
		t.Errorf("check of 123456789 = %#x, want 0xea82", got)
	}
}

// all returns the frames in octets, given to the reader in the pieces.
func all(r *Reader, octets []byte, piece func(left int) int) (frames []Frame) {
	for len(octets) > 0 {
		n := max(1, min(len(octets), piece(len(octets))))
		in := octets[:n]
		for {
			f, rest, ok := r.Next(in)
			if !ok {
				break
			}
			f.Data = slices.Clone(f.Data)
			frames = append(frames, f)
			in = rest
		}
		octets = octets[n:]
	}
	return frames
}

func whole(left int) int { return left }

// Whatever the frames, the noise between them and the way the stream is cut,
// every frame arrives, once and in order.
func TestEveryFrameArrives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var want []Frame
		for range rapid.IntRange(1, 5).Draw(t, "frames") {
			// Noise without a start octet, so that it cannot hold a frame.
			stream = append(stream, rapid.SliceOfN(rapid.ByteRange(0x65, 0xff), 0, 20).Draw(t, "noise")...)
			f := Frame{Header{rapid.Byte().Draw(t, "control"), rapid.Uint16().Draw(t, "to"), rapid.Uint16().Draw(t, "from")},
				rapid.SliceOfN(rapid.Byte(), 0, MostData).Draw(t, "data")}
			stream = Append(stream, f.Header, f.Data)
			want = append(want, f)
		}
		var r Reader
		got := all(&r, stream, func(left int) int { return rapid.IntRange(1, left).Draw(t, "piece") })
		if len(got) != len(want) {
			t.Fatalf("%d frames, want %d", len(got), len(want))
		}
		for i := range want {
			if got[i].Header != want[i].Header || !bytes.Equal(got[i].Data, want[i].Data) {
				t.Errorf("frame %d = %v, want %v", i, got[i], want[i])
			}
		}
	})
}

// A wrong bit anywhere costs that frame; the next one arrives.
func TestWrongBitCostsOneFrame(t *testing.T) {
	data := make([]byte, MostData)
	for i := range data {
		data[i] = byte(i)
	}
	first := Append(nil, Header{0xc4, 1024, 1}, data)
	second := Append(nil, Header{0xc4, 1024, 1}, []byte{0xc0, 0xc0, 0x17})
	for bit := range len(first) * 8 {
		stream := slices.Concat(first, second)
		stream[bit/8] ^= 1 << (bit % 8)
		var r Reader
		frames := all(&r, stream, whole)
		if len(frames) != 1 || !bytes.Equal(frames[0].Data, []byte{0xc0, 0xc0, 0x17}) {
			t.Fatalf("bit %d of octet %d: %d frames, want the second alone", bit%8, bit/8, len(frames))
		}
	}
}

// A frame cut short is not a frame, at whichever octet; after it the next one
// arrives, at the latest when what was missing has been filled by it.
func TestTruncatedFrame(t *testing.T) {
	frame := Append(nil, Header{0xc4, 1024, 1}, bytes.Repeat([]byte{7}, 40))
	for n := range frame {
		var r Reader
		if got := all(&r, frame[:n], whole); len(got) != 0 {
			t.Fatalf("%d octets: a frame", n)
		}
		if got := all(&r, slices.Concat(frame, frame), whole); len(got) != 2 {
			t.Errorf("cut at %d: %d frames after it, want 2", n, len(got))
		}
	}
}

func TestLengthBelowFive(t *testing.T) {
	for n := range byte(5) {
		frame := []byte{0x05, 0x64, n, 0xc4, 0, 4, 1, 0}
		c := crc(frame)
		frame = append(frame, byte(c), byte(c>>8))
		good := Append(nil, Header{0xc9, 1024, 1}, nil)
		var r Reader
		if got := all(&r, slices.Concat(frame, good), whole); len(got) != 1 || got[0].Function() != RequestLinkStatus {
			t.Errorf("length %d: frames %v, want the good one alone", n, got)
		}
	}
}

// Each octet is judged a bounded number of times, whatever comes: counted are
// the headers and blocks whose check was bad, the only way back.
func TestWorkPerOctet(t *testing.T) {
	inputs := map[string][]byte{
		"starts only":          bytes.Repeat([]byte{0x05, 0x64}, 50_000),
		"first octet only":     bytes.Repeat([]byte{0x05}, 100_000),
		"headers without data": bytes.Repeat(Append(nil, Header{0xc4, 1, 2}, make([]byte, MostData))[:10], 10_000),
	}
	for name, input := range inputs {
		t.Run(name, func(t *testing.T) {
			var r Reader
			all(&r, input, whole)
			if n := r.Faults.Header + r.Faults.Block + r.Faults.Noise; n > uint64(len(input)) {
				t.Errorf("%d steps back in %d octets", n, len(input))
			}
		})
	}
}

func TestSecondary(t *testing.T) {
	const (
		reset     = 0xc0
		test0     = 0xd2
		test1     = 0xf2
		confirmed = 0xd3 // FCB 0
		confirm1  = 0xf3 // FCB 1
		data      = 0xc4
		status    = 0xc9
	)
	type step struct {
		control uint8
		reply   int // -1: none
		deliver bool
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"status needs no reset", []step{{status, int(LinkStatus), false}}},
		{"data needs no reset", []step{{data, -1, true}}},
		{"confirmed data before a reset", []step{{confirm1, int(Nack), false}}},
		{"test before a reset", []step{{test1, int(Nack), false}}},
		{"confirmed data after a reset, twice", []step{{reset, int(Ack), false}, {confirm1, int(Ack), true}, {confirmed, int(Ack), true}}},
		{"the acknowledgement was lost", []step{{reset, int(Ack), false}, {confirm1, int(Ack), true}, {confirm1, int(Ack), false}, {confirmed, int(Ack), true}}},
		{"test toggles too", []step{{reset, int(Ack), false}, {test1, int(Ack), false}, {confirmed, int(Ack), true}}},
		{"test repeated", []step{{reset, int(Ack), false}, {test1, int(Ack), false}, {test1, int(Ack), false}, {test0, int(Ack), false}}},
		// opendnp3 #398: a master that restarts begins its count anew.
		{"master restarts in mid-count", []step{{reset, int(Ack), false}, {confirm1, int(Ack), true}, {reset, int(Ack), false}, {confirm1, int(Ack), true}}},
		{"data with a frame count", []step{{data | FCV, -1, false}}},
		{"confirmed data without one", []step{{reset, int(Ack), false}, {0xc3, -1, false}}},
		{"reset of a user process", []step{{0xc1, int(NotSupported), false}}},
		{"a reserved function", []step{{0xcf, int(NotSupported), false}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s Secondary
			for i, step := range tt.steps {
				reply, answer, deliver := s.Receive(Header{Control: step.control})
				got := -1
				if answer {
					got = int(reply)
				}
				if got != step.reply || deliver != step.deliver {
					t.Errorf("step %d, control %#x: reply %d deliver %v, want %d %v", i, step.control, got, deliver, step.reply, step.deliver)
				}
			}
		})
	}
}

func FuzzReader(f *testing.F) {
	frame := Append(nil, Header{0xc4, 1024, 1}, []byte("\xc0\xc0\x01\x3c\x02\x06\x3c\x03\x06\x3c\x04\x06\x3c\x01\x06"))
	f.Add(frame, uint8(1))
	f.Add(frame[3:], uint8(200))
	f.Add(slices.Concat(frame[:12], frame), uint8(7))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint8) {
		var r, again Reader
		frames := all(&r, stream, whole)
		if split := all(&again, stream, func(int) int { return int(cut) }); len(split) != len(frames) {
			t.Fatalf("%d frames at once, %d in pieces of %d", len(frames), len(split), cut)
		}
		for _, got := range frames {
			if !bytes.Contains(stream, Append(nil, got.Header, got.Data)) {
				t.Errorf("frame %v is not in the stream", got)
			}
		}
	})
}

func FuzzSecondary(f *testing.F) {
	f.Add([]byte{0xc0, 0xf3, 0xf3, 0xd3, 0xc9})
	f.Fuzz(func(t *testing.T, controls []byte) {
		var s Secondary
		for _, c := range controls {
			if _, _, deliver := s.Receive(Header{Control: c}); deliver && c&0x0f != 3 && c&0x0f != 4 {
				t.Fatalf("control %#x delivers data", c)
			}
		}
	})
}

func BenchmarkReader(b *testing.B) {
	frame := Append(nil, Header{0xc4, 1024, 1}, make([]byte, MostData))
	var r Reader
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := r.Next(frame); !ok {
			b.Fatal("no frame")
		}
	}
}
