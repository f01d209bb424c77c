package transport

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func cut(s *Segmenter, fragment []byte) (segments [][]byte) {
	var scratch [MostData + 1]byte
	s.Cut(fragment, &scratch, func(segment []byte) { segments = append(segments, slices.Clone(segment)) })
	return segments
}

func TestAssembler(t *testing.T) {
	tests := []struct {
		name     string
		segments []string
		want     []string
	}{
		{"one segment", []string{"\xc0ab"}, []string{"ab"}},
		{"three", []string{"\x41ab", "\x02cd", "\x83ef"}, []string{"abcdef"}},
		{"number wraps", []string{"\x7fab", "\x80cd"}, []string{"abcd"}},
		{"a gap", []string{"\x41ab", "\x83cd"}, nil},
		{"a number twice", []string{"\x41ab", "\x01cd", "\x82ef"}, nil},
		{"first in mid-message", []string{"\x41ab", "\x42cd", "\x83ef"}, []string{"cdef"}},
		{"no first", []string{"\x81ab"}, nil},
		{"header alone", []string{"\xc0"}, nil},
		{"nothing", []string{""}, nil},
		{"eight octets fit", []string{"\x41abcd", "\x82efgh"}, []string{"abcdefgh"}},
		{"nine do not", []string{"\x41abcd", "\x02efgh", "\x83i"}, nil},
		{"good after bad", []string{"\x41ab", "\x83cd", "\xc9ok"}, []string{"ok"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := NewAssembler(8)
			var got []string
			for _, s := range tt.segments {
				if f, ok := a.Add([]byte(s)); ok {
					got = append(got, string(f))
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("fragments %q, want %q", got, tt.want)
			}
		})
	}
}

// A message without an end holds no more than a fragment.
func TestNeverFinIsBounded(t *testing.T) {
	a := NewAssembler(2048)
	segment := make([]byte, MostData+1)
	segment[0] = Fir
	a.Add(segment)
	for i := range 10_000 {
		segment[0] = byte(i+1) & seqMask
		if _, ok := a.Add(segment); ok {
			t.Fatal("a fragment")
		}
		if cap(a.held) > 2048 {
			t.Fatalf("%d octets held", cap(a.held))
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Segmenter
		a := NewAssembler(2048)
		for range rapid.IntRange(1, 4).Draw(t, "fragments") {
			want := rapid.SliceOfN(rapid.Byte(), 1, 2048).Draw(t, "fragment")
			segments := cut(&s, want)
			for i, segment := range segments {
				got, ok := a.Add(segment)
				if ok != (i == len(segments)-1) {
					t.Fatalf("segment %d of %d: whole %v", i, len(segments), ok)
				}
				if ok && !bytes.Equal(got, want) {
					t.Fatalf("fragment of %d octets, want %d", len(got), len(want))
				}
			}
		}
	})
}

// One lost segment costs the fragment, and that alone.
func TestLostSegment(t *testing.T) {
	for lost := range 5 {
		var s Segmenter
		a := NewAssembler(2048)
		for i, segment := range cut(&s, make([]byte, 5*MostData)) {
			if i == lost {
				continue
			}
			if _, ok := a.Add(segment); ok {
				t.Errorf("without segment %d: a fragment", lost)
			}
		}
		if _, ok := a.Add(cut(&s, []byte("next"))[0]); !ok {
			t.Errorf("without segment %d: the next fragment is lost too", lost)
		}
	}
}

func FuzzAssembler(f *testing.F) {
	f.Add([]byte("\x03\x41ab\x03\x82cd"))
	f.Add([]byte("\x02\xc0a\x01\xc0\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		a := NewAssembler(300)
		for len(in) > 0 { // a length octet before each segment
			n := min(int(in[0]), len(in)-1)
			if got, ok := a.Add(in[1 : 1+n]); ok && (len(got) == 0 || len(got) > 300) {
				t.Fatalf("fragment of %d octets", len(got))
			}
			in = in[1+n:]
		}
	})
}
