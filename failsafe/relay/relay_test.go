package relay

import (
	"errors"
	"testing"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// fake is a controller with one register that can refuse, forget or change
// what it is told.
type fake struct {
	value      uint16
	becomes    func(uint16) uint16
	refuse     error
	refuseRead error
}

func (f *fake) WriteHolding(_ uint8, _, v uint16) error {
	if f.refuse != nil {
		return f.refuse
	}
	f.value = v
	if f.becomes != nil {
		f.value = f.becomes(v)
	}
	return nil
}

func (f *fake) ReadHolding(uint8, uint16, uint16) ([]uint16, error) {
	return []uint16{f.value}, f.refuseRead
}

func TestApply(t *testing.T) {
	gone := errors.New("gone")
	tests := []struct {
		name  string
		bus   *fake
		limit meter.Milliamps
		want  meter.Milliamps
		value uint16
		err   error
	}{
		{"taken", &fake{}, 24_000, 24_000, 25, nil},
		{"not exact in per cent: rounded down, and taken", &fake{}, 24_500, 24_500, 25, nil},
		{"the controller knows better", &fake{becomes: func(uint16) uint16 { return 100 }}, 24_000, 96_000, 100, nil},
		{"the register does not take it", &fake{value: 50, becomes: func(uint16) uint16 { return 50 }}, 24_000, 48_000, 50, nil},
		{"write fails", &fake{refuse: gone}, 24_000, 0, 0, gone},
		{"read back fails", &fake{refuseRead: gone}, 24_000, 0, 25, gone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Register{Unit: 1, Addr: 30, Encode: Percent, Rating: 96_000}
			got, err := r.Apply(tt.bus, tt.limit)
			if got != tt.want || !errors.Is(err, tt.err) || tt.bus.value != tt.value {
				t.Errorf("= %d, %v, register %d; want %d, %v, register %d", got, err, tt.bus.value, tt.want, tt.err, tt.value)
			}
		})
	}
}

// What a register holds never permits more than the limit.
func TestARegisterNeverPermitsMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Register{
			Encode: Encoding(rapid.IntRange(0, 2).Draw(t, "encoding")),
			Rating: meter.Milliamps(rapid.IntRange(0, 2_000_000).Draw(t, "rating")),
		}
		limit := meter.Milliamps(rapid.IntRange(-1000, 3_000_000).Draw(t, "limit"))
		if got := r.Limit(r.Value(limit)); got > max(0, min(limit, r.Rating)) {
			t.Fatalf("limit %d of rating %d becomes %d", limit, r.Rating, got)
		}
	})
}
