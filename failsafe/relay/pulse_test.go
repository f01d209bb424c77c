package relay

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"lvagent/failsafe/relay/relaytest"
)

// Two contacts in series: a process that decides keeps the watchdog's closed. One
// that hangs, dies or is stopped lets it drop within its off-delay, though the
// chip keeps the level of the line that sheds.
func TestWatchdogContact(t *testing.T) {
	const off = 3 * time.Second
	tests := []struct {
		name  string
		after func(k *relaytest.Kernel, chip *relaytest.Chip, p *Pulse)
		want  bool // that current flows five seconds later
	}{
		{"it goes on", nil, true},
		{"it hangs", func(*relaytest.Kernel, *relaytest.Chip, *Pulse) {}, false},
		{"it dies on a chip that keeps its levels", func(k *relaytest.Kernel, _ *relaytest.Chip, _ *Pulse) { k.Exit() }, false},
		{"it stops in order", func(_ *relaytest.Kernel, _ *relaytest.Chip, p *Pulse) {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}, false},
		{"its chip is gone", func(_ *relaytest.Kernel, chip *relaytest.Chip, _ *Pulse) { chip.Remove() }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := relaytest.NewKernel()
			chip := k.Add("gpiochip0", "soc", "SHED", "ALIVE")
			chip.Keep(0)
			chip.Keep(1)
			var now time.Duration
			contact := chip.Watchdog(1, off, func() time.Duration { return now })
			shed := NewLine(k, Address{Chip: "gpiochip0", Line: "0"}, rating)
			apply(t, shed, rating, rating)
			p := NewPulse(k, Address{Chip: "gpiochip0", Line: "ALIVE"})
			flows := func() bool { return chip.High(0) && contact.Closed() }
			if flows() {
				t.Fatal("current flows before the first proof of life")
			}
			for range 5 {
				if err := p.Beat(); err != nil {
					t.Fatal(err)
				}
				now += time.Second
				if !flows() {
					t.Fatal("no current while it is alive")
				}
			}
			if tt.after != nil {
				tt.after(k, chip, p)
			}
			for range 5 {
				if tt.after == nil {
					if err := p.Beat(); err != nil {
						t.Fatal(err)
					}
				}
				now += time.Second
			}
			if got := flows(); got != tt.want {
				t.Errorf("current flows %v, want %v", got, tt.want)
			}
		})
	}
}

func TestPulseSaysWhatIsWrong(t *testing.T) {
	k := relaytest.NewKernel()
	chip := k.Add("gpiochip0", "soc", "ALIVE")
	p := NewPulse(k, Address{Chip: "gpiochip0", Line: "0"})
	chip.Stick(0)
	if err := p.Beat(); !errors.Is(err, errStuck) || !strings.Contains(err.Error(), "gpiochip0:0") {
		t.Errorf("a line that is stuck: %v", err)
	}
	chip.Remove()
	if err := p.Beat(); !errors.Is(err, syscall.ENODEV) || k.Handles() != 0 {
		t.Errorf("a chip that is gone: %v, %d handles", err, k.Handles())
	}
	chip.Return()
	chip.Hold(0, "heater")
	if err := p.Beat(); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "heater") {
		t.Errorf("a line of another: %v", err)
	}
}
