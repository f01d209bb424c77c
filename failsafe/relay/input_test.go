package relay

import (
	"strings"
	"syscall"
	"testing"

	"lvagent/failsafe/relay/relaytest"
)

// An input is held as an input, told apart from its neighbours, and found again
// after its chip was gone.
func TestInput(t *testing.T) {
	k := relaytest.NewKernel()
	chip := k.Add("gpiochip0", "expander", "", "LOCAL")
	in := NewInput(k, Address{Chip: "expander", Line: "LOCAL"}, PullUp)
	read := func(want bool, fault string) {
		t.Helper()
		got, err := in.Read()
		if got != want || (err == nil) != (fault == "") || err != nil && !strings.Contains(err.Error(), fault) {
			t.Errorf("read %v, %v; want %v, %q", got, err, want, fault)
		}
	}
	read(low, "")
	chip.Rest(1, high)
	read(high, "")
	chip.Rest(0, high)
	chip.Rest(1, low)
	read(low, "")
	if chip.Consumer(1) != "lvagent" || chip.Consumer(0) != "" || k.Handles() != 1 {
		t.Errorf("held by %q and %q with %d handles", chip.Consumer(0), chip.Consumer(1), k.Handles())
	}
	chip.Remove()
	read(low, "read line expander:LOCAL")
	read(low, "none of gpiochip0 to 63")
	chip.Return()
	chip.Rest(1, high)
	read(high, "")
	k.Refuse = func(op relaytest.Op) error {
		if op == relaytest.Get {
			return syscall.EIO
		}
		return nil
	}
	read(low, "input/output error")
	k.Refuse = nil
	read(high, "")
	if err := in.Close(); err != nil || chip.Consumer(1) != "" || k.Handles() != 0 {
		t.Errorf("close: %v, held by %q with %d handles", err, chip.Consumer(1), k.Handles())
	}
	if err := in.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

// A line that another process has is not taken from it.
func TestInputInUse(t *testing.T) {
	k := relaytest.NewKernel()
	chip := k.Add("gpiochip0", "expander", "DOOR")
	chip.Hold(0, "other")
	if _, err := NewInput(k, Address{Chip: "gpiochip0", Line: "DOOR"}, NoPull).Read(); err == nil || !strings.Contains(err.Error(), `used by "other"`) {
		t.Errorf("read of a line in use: %v", err)
	}
}
