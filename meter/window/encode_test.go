package window

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// checkpoint is that of a window which has closed periods, one of them unnamed.
func checkpoint() State {
	g := newRig(10 * s)
	g.cfg.Settings = "a"
	g.w = New(g.cfg)
	g.advance(0)
	g.poll(0, 25*s, 5)
	g.w.Supply(supply(1, 2, 3))
	g.add(55*s, 7) // closes three, none handed out
	return g.w.Checkpoint()
}

func TestCheckpointsSurviveTheStore(t *testing.T) {
	a, b := checkpoint(), checkpoint()
	b.Way = "W2"
	text, err := Encode([]State{a, b})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(text)
	if err != nil || !reflect.DeepEqual(got, []State{a, b}) {
		t.Errorf("%v: got %+v\nwant %+v", err, got, []State{a, b})
	}
}

// Every octet of a checkpoint matters.
func TestDamagedCheckpointIsRefused(t *testing.T) {
	text, err := Encode([]State{checkpoint()})
	if err != nil {
		t.Fatal(err)
	}
	dice := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		bad := append([]byte(nil), text...)
		at := dice.IntN(len(bad))
		bad[at] ^= 1 << dice.IntN(8)
		if got, err := Decode(bad); !errors.Is(err, ErrCorrupt) || got != nil {
			// The checksum itself may be spelled in capitals.
			if !strings.EqualFold(string(bad), string(text)) {
				t.Fatalf("octet %d changed: %v, %d states", at, err, len(got))
			}
		}
	}
	for n := range text {
		if _, err := Decode(text[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut after %d of %d octets: %v", n, len(text), err)
		}
	}
}

// What no window can have summed up is not published, whoever wrote it; the
// other windows of the same checkpoint go on.
func TestImpossibleCheckpoints(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(s *State)
	}{
		{"a period of no length", func(s *State) { s.Open[0].End = s.Open[0].Start }},
		{"a grid that divides no hour", func(s *State) { s.Period = int64(7 * time.Second) }},
		{"more weight than there is time", func(s *State) { s.Open[0].Phase[0].Weight = mostWeight + 1 }},
		{"negative weight", func(s *State) { s.Open[0].Phase[1].Weight = -1 }},
		{"held longer than measured", func(s *State) { s.Closed[0].Phase[0].Held = s.Closed[0].Phase[0].Weight + 1 }},
		{"values without weight", func(s *State) { s.Closed[0].Phase[0].Weight = 0 }},
		{"a mean above all values", func(s *State) { s.Closed[0].Phase[0].V.Sum = Largest*s.Closed[0].Phase[0].Weight + 1 }},
		{"squares below the square of the mean", func(s *State) { s.Closed[0].Phase[0].I.SquareLo /= 2 }},
		{"squares beyond all values", func(s *State) { s.Closed[0].Phase[0].I.SquareHi = 1 << 60 }},
		{"import less export is not the sum", func(s *State) { s.Closed[0].Phase[2].P.Import++ }},
		{"a total that does not add up", func(s *State) { s.Closed[0].Total.Export++ }},
		{"minimum above maximum", func(s *State) { s.Closed[0].Phase[0].V.Min = s.Closed[0].Phase[0].V.Max + 1 }},
		{"a maximum after the end", func(s *State) { s.Open[0].Phase[0].I.MaxAt = int64(10 * time.Second) }},
		{"a negative count", func(s *State) { s.Waiting[0].Period.Bad = -1 }},
		{"a negative revision", func(s *State) { s.Closed[0].Rev = -1 }},
		{"records for ever", func(s *State) { s.Waiting[1].Until = 1 << 62 }},
		{"a flag that there is not", func(s *State) { s.Open[0].Flags = 1 << 30 }},
		{"a clock that there is not", func(s *State) { s.Open[0].Clock = 9 }},
		{"spans that run backwards", func(s *State) { s.Issued[0] = Span{5, 4} }},
		{"two open periods", func(s *State) { s.Open = append(s.Open, s.Open[0]) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad, good := checkpoint(), checkpoint()
			bad.Way = "W2"
			tt.spoil(&bad)
			text, err := Encode([]State{bad, good})
			if err != nil {
				t.Fatal(err)
			}
			got, err := Decode(text)
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(fmt.Sprint(err), `"W2"`) {
				t.Errorf("err = %v", err)
			}
			if len(got) != 1 || got[0].Way != "W1" {
				t.Errorf("%d states left", len(got))
			}
		})
	}
}

// What a window can come to, its checkpoint may say.
func TestTrueCheckpointsAreTaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newRig(10 * s)
		g.advance(0)
		at := time.Duration(0)
		for _, r := range arrivals(t, 0, 40*s) {
			if rapid.IntRange(0, 9).Draw(t, "step") == 0 {
				g.shift += time.Duration(rapid.Int64Range(-int64(40*s), int64(40*s)).Draw(t, "leap"))
			}
			at = r.At
			g.advance(at)
			g.w.Add(&r)
		}
		state := g.w.Checkpoint()
		if err := state.check(); err != nil {
			t.Fatalf("%v: %+v", err, state)
		}
	})
}

// FuzzCheckpoint feeds the decoder with garbage, and with JSON of which the
// checksum is right: it never crashes, what it takes makes consistent records,
// not more than it has room for, and none twice.
func FuzzCheckpoint(f *testing.F) {
	state := checkpoint()
	text, err := json.Marshal([]State{state, {Way: "W2", Period: int64(10 * s)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("[{}]"))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = Decode(body) // without a checksum
		states, _ := Decode(append(fmt.Appendf(nil, checkpointHead, crc32.ChecksumIEEE(body)), body...))
		for _, state := range states {
			w := New(Config{Way: state.Way, Period: 10 * s})
			w.Resume(state, 0, day)
			type key struct{ start, end, rev int64 }
			seen := map[key]bool{}
			for _, at := range []time.Duration{0, s, 11 * s, 21 * s} {
				for range 20 {
					h, ok := w.Advance(at, day.Add(at), meter.Synced)
					if !ok {
						break
					}
					sound(t, &h)
					k := key{h.Start.UnixNano(), h.End.UnixNano(), int64(h.Rev)}
					if at > 0 && seen[k] {
						t.Fatalf("%v twice", k)
					}
					seen[k] = true
				}
				r := reading(at, 230_000, 5000, 1000, 1000, 100)
				w.Add(&r)
			}
		}
	})
}

// sound fails on a record that contradicts itself.
func sound(t *testing.T, h *meter.HalfHour) {
	t.Helper()
	if h.Coverage < 0 || h.Coverage > meter.Whole || h.Samples < 0 || h.Bad < 0 || h.Held < 0 || h.Rev < 0 || !h.Start.Before(h.End) {
		t.Fatalf("record %+v", h)
	}
	for _, p := range h.Phase {
		if p == nil {
			continue
		}
		for _, x := range []meter.Stats{p.V, p.I} {
			if x.RMS < max(x.Mean, -x.Mean) || x.RMS > Largest || x.Min > x.Max || x.MaxAt.Before(h.Start) || !x.MaxAt.Before(h.End) {
				t.Fatalf("stats %+v", x)
			}
		}
		for _, x := range []meter.PowerStats{p.P, p.Q} {
			if d := x.Import - x.Export - x.Mean; d < -1 || d > 1 || x.Import < 0 || x.Export < 0 || x.Min > x.Max {
				t.Fatalf("power %+v", x)
			}
		}
	}
	if x := h.Total; x != nil && (x.PF < 0 || x.PF > 1000 || x.S < 0) {
		t.Fatalf("total %+v", x)
	}
}
