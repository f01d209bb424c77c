package relay

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"lvagent/failsafe/relay/relaytest"
	"lvagent/meter"
)

const rating = 32_000

const (
	low  = false
	high = true
)

// board is a kernel with one chip, and a line of it as an output.
func board(k *relaytest.Kernel) (*relaytest.Chip, *Line) {
	chip := k.Add("gpiochip0", "expander", "", "SHED_G1")
	return chip, NewLine(k, Address{Chip: "gpiochip0", Line: "0"}, rating)
}

func apply(t *testing.T, l *Line, limit, want meter.Milliamps) {
	t.Helper()
	if got, err := l.Apply(limit); err != nil || got != want {
		t.Fatalf("apply %d = %d, %v; want %d", limit, got, err, want)
	}
}

func TestParseAddress(t *testing.T) {
	tests := []struct {
		text string
		want Address
		err  string
	}{
		{"gpiochip0:17", Address{"gpiochip0", "17"}, ""},
		{"/dev/gpiochip0:17", Address{"gpiochip0", "17"}, ""},
		{"pinctrl-bcm2711:SHED_G1", Address{"pinctrl-bcm2711", "SHED_G1"}, ""},
		{"INT33FF:00:17", Address{"INT33FF:00", "17"}, ""},
		{"gpiochip0", Address{}, "want chip:line"},
		{"", Address{}, "want chip:line"},
		{":17", Address{}, "missing"},
		{"gpiochip0:", Address{}, "missing"},
		{"/dev/../etc/passwd:1", Address{}, "neither a device nor a label"},
		{strings.Repeat("x", 31) + ":1", Address{strings.Repeat("x", 31), "1"}, ""},
		{strings.Repeat("x", 32) + ":1", Address{}, "more than 31"},
	}
	for _, tt := range tests {
		got, err := ParseAddress(tt.text)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("ParseAddress(%q) = %v, %v; want %v, %q", tt.text, got, err, tt.want, tt.err)
		}
	}
}

func TestLine(t *testing.T) {
	tests := []struct {
		name   string
		limits []meter.Milliamps
		want   meter.Milliamps
		trace  []bool // of the level, from before the first limit
	}{
		{"starts at the rating", []meter.Milliamps{rating}, rating, []bool{low, high}},
		{"starts above the rating", []meter.Milliamps{2 * rating}, rating, []bool{low, high}},
		{"starts a milliampere below it", []meter.Milliamps{rating - 1}, 0, []bool{low}},
		{"starts at nothing", []meter.Milliamps{0}, 0, []bool{low}},
		{"opens", []meter.Milliamps{rating, rating - 1}, 0, []bool{low, high, low}},
		{"opens and closes", []meter.Milliamps{rating, 0, rating}, rating, []bool{low, high, low, high}},
		{"refreshed", []meter.Milliamps{rating, rating, rating}, rating, []bool{low, high}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := relaytest.NewKernel()
			chip, l := board(k)
			var got meter.Milliamps
			for _, limit := range tt.limits {
				var err error
				if got, err = l.Apply(limit); err != nil {
					t.Fatalf("apply %d: %v", limit, err)
				}
			}
			if trace := chip.Trace(0); got != tt.want || !slices.Equal(trace, tt.trace) {
				t.Errorf("permits %d, levels %v; want %d, %v", got, trace, tt.want, tt.trace)
			}
			if chip.Consumer(0) != "lvagent" || k.Handles() != 1 {
				t.Errorf("held by %q with %d handles, want lvagent with 1", chip.Consumer(0), k.Handles())
			}
		})
	}
}

func TestLineIsFound(t *testing.T) {
	tests := []struct {
		address string
		chip    int // that has it
		line    int
		err     string
	}{
		{"gpiochip1:2", 1, 2, ""},
		{"gpiochip1:SHED_G2", 1, 2, ""},
		{"expander:SHED_G1", 0, 1, ""},
		{"expander:0", 0, 0, ""},
		{"gpiochip1:3", 0, 0, "the chip has lines 0 to 2"},
		{"gpiochip1:SHED_G3", 0, 0, "none of 3 has this name"},
		{"gpiochip1:TWICE", 0, 0, "0 and 1 have this name"},
		{"gpiochip2:0", 0, 0, "open chip: no such file or directory"},
		{"soc:0", 0, 0, "no such device"}, // its chip can't be asked
		{"twin:0", 0, 0, "more than one has label"},
	}
	for _, tt := range tests {
		t.Run(tt.address, func(t *testing.T) {
			k := relaytest.NewKernel()
			chips := []*relaytest.Chip{
				k.Add("gpiochip0", "expander", "", "SHED_G1"),
				k.Add("gpiochip1", "bank", "TWICE", "TWICE", "SHED_G2"),
				k.Add("gpiochip4", "twin", ""),
				k.Add("gpiochip9", "twin", ""),
			}
			if strings.HasPrefix(tt.address, "soc:") {
				k.Refuse = func(relaytest.Op) error { return syscall.ENODEV }
			}
			at, err := ParseAddress(tt.address)
			if err != nil {
				t.Fatal(err)
			}
			_, err = NewLine(k, at, rating).Apply(rating)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), tt.address) {
					t.Errorf("error = %v, want one with %q and %q", err, tt.address, tt.err)
				}
				if k.Handles() != 0 {
					t.Errorf("%d handles left open", k.Handles())
				}
				return
			}
			if err != nil || !chips[tt.chip].High(tt.line) || k.Handles() != 1 {
				t.Errorf("line %d high %t, handles %d, error %v", tt.line, chips[tt.chip].High(tt.line), k.Handles(), err)
			}
		})
	}
}

func TestLabelOfNoChip(t *testing.T) {
	k := relaytest.NewKernel()
	board(k)
	_, err := NewLine(k, Address{Chip: "soc", Line: "0"}, rating).Apply(rating)
	if err == nil || !strings.Contains(err.Error(), `none of gpiochip0 to 63 has label "soc"`) || k.Handles() != 0 {
		t.Errorf("error %v, %d handles", err, k.Handles())
	}
}

func TestLineUsedByAnother(t *testing.T) {
	k := relaytest.NewKernel()
	chip, l := board(k)
	chip.Hold(0, "heater")
	_, err := l.Apply(0)
	if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), `used by "heater"`) {
		t.Errorf("error = %v, want one that names the user", err)
	}
}

// A chip that is missing at the start, or goes and comes back, is an error of
// what is applied meanwhile; afterwards all is as if it had been there.
func TestChipComesAndGoes(t *testing.T) {
	k := relaytest.NewKernel()
	chip, l := board(k)
	chip.Remove()
	if _, err := l.Apply(rating); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("without a chip: error %v, want %v", err, fs.ErrNotExist)
	}
	chip.Return()
	apply(t, l, rating, rating)
	chip.Remove()
	if _, err := l.Apply(rating); !errors.Is(err, syscall.ENODEV) || k.Handles() != 0 {
		t.Fatalf("chip gone: error %v, %d handles; want %v, 0", err, k.Handles(), syscall.ENODEV)
	}
	if _, err := l.Apply(rating); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("chip still gone: error %v, want %v", err, fs.ErrNotExist)
	}
	chip.Return()
	apply(t, l, 0, 0)
	apply(t, l, rating, rating)
	if !chip.High(0) {
		t.Error("chip is back and the line isn't driven")
	}
}

// Whatever request fails, it is that Apply's error, nothing stays open, and the
// next Apply does what the failed one should have done.
func TestFailureAtEachRequest(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for _, at := range []string{"2", "SHED_G1"} {
			for n := 1; ; n++ {
				k := relaytest.NewKernel()
				chip := k.Add("gpiochip0", "expander", "", "", "SHED_G1")
				l := NewLine(k, Address{Chip: "expander", Line: at}, rating)
				requests := 0
				fail := func(relaytest.Op) error {
					if requests++; requests == n {
						return syscall.EIO
					}
					return nil
				}
				if lost {
					k.Lose = fail
				} else {
					k.Refuse = fail
				}
				errs := 0
				for _, limit := range []meter.Milliamps{rating, 0, rating} {
					if _, err := l.Apply(limit); err != nil {
						errs++
						if !errors.Is(err, syscall.EIO) {
							t.Fatalf("request %d: error %v, want %v", n, err, syscall.EIO)
						}
						apply(t, l, limit, limit)
					}
					if chip.High(2) != (limit == rating) || k.Handles() != 1 {
						t.Fatalf("request %d, limit %d: high %t, %d handles", n, limit, chip.High(2), k.Handles())
					}
				}
				if requests < n {
					break // every request has failed once
				}
				if errs != 1 {
					t.Fatalf("request %d: %d errors, want 1", n, errs)
				}
			}
		}
	}
}

// meddler is a kernel through which a worse driver can be played: it alters
// what our line asks for.
type meddler struct {
	*relaytest.Kernel
	alter func(k *relaytest.Kernel, fd int, request uint, arg unsafe.Pointer) error
}

func (m meddler) Ioctl(fd int, request uint, arg unsafe.Pointer) error {
	return m.alter(m.Kernel, fd, request, arg)
}

// TestHazards plays what real chips do to a relay, first with our line, which
// comes to no harm, then with the driver that one would write at first, so that
// it is known that the fake shows the hazard.
func TestHazards(t *testing.T) {
	const flagInput, flagPullUp = 1 << 2, 1 << 8
	dropped := func(c *relaytest.Chip) bool { // LOW after it was HIGH
		trace := c.Trace(0)
		return slices.Contains(trace[slices.Index(trace, high)+1:], low)
	}
	at := Address{Chip: "gpiochip0", Line: "0"}
	var believed uint64
	tests := []struct {
		name  string
		play  func(t *testing.T, k Kernel, kernel *relaytest.Kernel, chip *relaytest.Chip) (hazard bool)
		naive func(k *relaytest.Kernel, fd int, request uint, arg unsafe.Pointer) error
	}{
		{
			"reading back as an input with pull-up releases the relay",
			func(t *testing.T, k Kernel, _ *relaytest.Kernel, chip *relaytest.Chip) bool {
				l := NewLine(k, at, rating)
				for range 3 {
					l.Apply(rating)
				}
				return dropped(chip)
			},
			func(k *relaytest.Kernel, fd int, request uint, arg unsafe.Pointer) error {
				if request == getValues {
					in := lineConfig{flags: flagInput | flagPullUp}
					if err := k.Ioctl(fd, setConfig, unsafe.Pointer(&in)); err != nil {
						return err
					}
				}
				return k.Ioctl(fd, request, arg)
			},
		}, {
			"without an initial value the line is LOW first, at each start",
			func(t *testing.T, k Kernel, kernel *relaytest.Kernel, chip *relaytest.Chip) bool {
				chip.Keep(0)
				apply(t, NewLine(k, at, rating), rating, rating)
				kernel.Exit()
				apply(t, NewLine(k, at, rating), rating, rating)
				return dropped(chip)
			},
			func(k *relaytest.Kernel, fd int, request uint, arg unsafe.Pointer) error {
				if request == getLine {
					(*lineRequest)(arg).config.numAttrs = 0
				}
				return k.Ioctl(fd, request, arg)
			},
		}, {
			"with HIGH as initial value a start permits for a moment",
			func(t *testing.T, k Kernel, _ *relaytest.Kernel, chip *relaytest.Chip) bool {
				apply(t, NewLine(k, at, rating), 0, 0)
				return slices.Contains(chip.Trace(0), high)
			},
			func(k *relaytest.Kernel, fd int, request uint, arg unsafe.Pointer) error {
				if request == getLine {
					(*lineRequest)(arg).config.attrs[0].attr.values = 1
				}
				return k.Ioctl(fd, request, arg)
			},
		}, {
			"a chip that keeps a released line's level keeps it after the stop",
			func(t *testing.T, k Kernel, _ *relaytest.Kernel, chip *relaytest.Chip) bool {
				chip.Keep(0)
				l := NewLine(k, at, rating)
				apply(t, l, rating, rating)
				if err := (Lines{l}).Close(); err != nil {
					t.Fatal(err)
				}
				return chip.High(0)
			},
			func(k *relaytest.Kernel, fd int, request uint, arg unsafe.Pointer) error {
				if request == setValues && (*lineValues)(arg).bits == 0 {
					return nil
				}
				return k.Ioctl(fd, request, arg)
			},
		}, {
			"a stuck line is believed to have followed",
			func(t *testing.T, k Kernel, _ *relaytest.Kernel, chip *relaytest.Chip) bool {
				l := NewLine(k, at, rating)
				apply(t, l, rating, rating)
				chip.Stick(0)
				got, err := l.Apply(0)
				return chip.High(0) && err == nil && got < rating
			},
			func(k *relaytest.Kernel, fd int, request uint, arg unsafe.Pointer) error {
				switch request {
				case getLine:
					believed = (*lineRequest)(arg).config.attrs[0].attr.values
				case setValues:
					believed = (*lineValues)(arg).bits
				case getValues: // what was set is what it is
					(*lineValues)(arg).bits = believed
					return nil
				}
				return k.Ioctl(fd, request, arg)
			},
		}, {
			"an expander with pull-ups permits after it lost its supply",
			func(t *testing.T, k Kernel, _ *relaytest.Kernel, chip *relaytest.Chip) bool {
				chip.Rest(0, high)
				l := NewLine(k, at, rating)
				apply(t, l, 0, 0)
				chip.PowerCycle()
				if !chip.High(0) {
					t.Fatal("the pull-up does not pull")
				}
				if _, err := l.Apply(0); err != nil {
					t.Fatal(err)
				}
				return chip.High(0)
			},
			func(k *relaytest.Kernel, fd int, request uint, arg unsafe.Pointer) error {
				if request == setConfig {
					return nil
				}
				return k.Ioctl(fd, request, arg)
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, bad := relaytest.NewKernel(), relaytest.NewKernel()
			chip, _ := board(ours)
			if tt.play(t, ours, ours, chip) {
				t.Errorf("our line shows the hazard; levels %v", chip.Trace(0))
			}
			chip, _ = board(bad)
			if !tt.play(t, meddler{bad, tt.naive}, bad, chip) {
				t.Errorf("the fake does not show the hazard; levels %v", chip.Trace(0))
			}
		})
	}
}

// The end of the process gives the line back to its resistor, and that curtails
// because LOW does. A chip that keeps the level stays closed after a crash:
// nothing in a process that is gone can help there, only a watchdog contact in
// series.
func TestEndOfProcess(t *testing.T) {
	tests := []struct {
		name  string
		keeps bool
		limit meter.Milliamps
		high  bool // afterwards
	}{
		{"while permitting", false, rating, low},
		{"while curtailing", false, 0, low},
		{"while permitting, on a chip that keeps levels", true, rating, high},
		{"while curtailing, on a chip that keeps levels", true, 0, low},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := relaytest.NewKernel()
			chip, l := board(k)
			if tt.keeps {
				chip.Keep(0)
			}
			apply(t, l, tt.limit, tt.limit)
			k.Exit()
			if chip.High(0) != tt.high || chip.Consumer(0) != "" {
				t.Errorf("high %t, held by %q; want %t, nobody", chip.High(0), chip.Consumer(0), tt.high)
			}
		})
	}
}

// The same end permits where HIGH is what curtails.
func TestEndOfProcessOfTheOtherContact(t *testing.T) {
	k := relaytest.NewKernel()
	chip, _ := board(k)
	inverted := meddler{k, func(k *relaytest.Kernel, fd int, request uint, arg unsafe.Pointer) error {
		switch request {
		case getLine:
			(*lineRequest)(arg).config.attrs[0].attr.values ^= 1
		case setValues:
			(*lineValues)(arg).bits ^= 1
		}
		err := k.Ioctl(fd, request, arg)
		if request == getValues {
			(*lineValues)(arg).bits ^= 1
		}
		return err
	}}
	apply(t, NewLine(inverted, Address{Chip: "gpiochip0", Line: "0"}, rating), 0, 0)
	if !chip.High(0) {
		t.Fatal("HIGH should curtail here")
	}
	k.Exit()
	if chip.High(0) {
		t.Error("the fake does not show the hazard: the line stays driven after the end")
	}
}

func TestCloseOfALineThatIsNotHeld(t *testing.T) {
	k := relaytest.NewKernel()
	chip, l := board(k)
	s := Lines{l, NewLine(k, Address{Chip: "gpiochip7", Line: "0"}, rating)}
	if err := errors.Join(s.Open(), s.Close()); err != nil || chip.Consumer(0) != "" {
		t.Errorf("error %v, held by %q", err, chip.Consumer(0))
	}
	apply(t, l, rating, rating)
	if err := errors.Join(s.Close(), s.Close()); err != nil || chip.High(0) || k.Handles() != 0 {
		t.Errorf("error %v, high %t, %d handles", err, chip.High(0), k.Handles())
	}
}

func TestCloseThatCannotDriveLow(t *testing.T) {
	k := relaytest.NewKernel()
	_, l := board(k)
	apply(t, l, rating, rating)
	k.Refuse = func(relaytest.Op) error { return syscall.EIO }
	if err := l.Close(); !errors.Is(err, syscall.EIO) || k.Handles() != 0 {
		t.Errorf("error %v, %d handles; want %v, 0", err, k.Handles(), syscall.EIO)
	}
}

func TestARefreshDoesNotAllocate(t *testing.T) {
	_, l := board(relaytest.NewKernel())
	if n := testing.AllocsPerRun(100, func() { l.Apply(rating) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
