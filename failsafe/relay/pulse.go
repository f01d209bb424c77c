package relay

import (
	"errors"
	"fmt"
)

// Pulse is a GPIO line that changes its level at each proof of life. A
// retriggerable relay behind it (the watchdog contact) holds while it changes and
// drops some time after it stops, at whichever level: a process that hangs, or
// dies on a chip that keeps its levels, lets go of it too.
type Pulse struct {
	line Line
	high bool
}

// NewPulse returns the pulse on the line at an address.
func NewPulse(k Kernel, at Address) *Pulse { return &Pulse{line: Line{at: at, kernel: k}} }

// Beat changes the line's level once.
func (p *Pulse) Beat() error {
	p.high = !p.high
	got, err := p.line.drive(p.high)
	if err == nil && got != p.high {
		err = errStuck
	}
	if err != nil {
		return fmt.Errorf("drive watchdog line %s %s: %w", p.line.at, level(p.high), err)
	}
	return nil
}

// errStuck is a line that does not take the level it is driven to.
var errStuck = errors.New("the line does not follow")

// Close drives the line LOW and gives it back.
func (p *Pulse) Close() error { return p.line.Close() }
