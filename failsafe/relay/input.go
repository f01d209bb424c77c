package relay

import (
	"errors"
	"fmt"
	"syscall"
)

// Flags of a line that is read.
const (
	flagInput    = 1 << 2 // GPIO_V2_LINE_FLAG_INPUT
	flagPullUp   = 1 << 8 // GPIO_V2_LINE_FLAG_BIAS_PULL_UP
	flagPullDown = 1 << 9 // GPIO_V2_LINE_FLAG_BIAS_PULL_DOWN
)

// Pull is what an input is pulled to while nothing drives it.
type Pull string

// Pulls. The zero value leaves the line as the board has it.
const (
	NoPull   Pull = ""
	PullUp   Pull = "up"
	PullDown Pull = "down"
)

// Input is a GPIO line that is read. Like an output it is asked for when it is
// first needed, and again after its chip was gone.
type Input struct {
	line   *Line
	config lineConfig
}

// NewInput returns the input at an address. It asks nothing of the kernel yet.
func NewInput(k Kernel, at Address, pull Pull) *Input {
	flags := uint64(flagInput)
	switch pull {
	case PullUp:
		flags |= flagPullUp
	case PullDown:
		flags |= flagPullDown
	}
	return &Input{line: NewLine(k, at, 0), config: lineConfig{flags: flags}}
}

// Read returns the line's level.
func (i *Input) Read() (high bool, err error) {
	if i.line.fd == 0 {
		err = i.line.ask(i.config)
	}
	if err == nil {
		high, err = i.line.read()
	}
	if err != nil {
		if errors.Is(err, syscall.ENODEV) && i.line.fd != 0 {
			err = errors.Join(err, i.line.release())
		}
		return false, fmt.Errorf("read line %s: %w", i.line.at, err)
	}
	return high, nil
}

// Close gives the line back.
func (i *Input) Close() error {
	if i.line.fd == 0 {
		return nil
	}
	if err := i.line.release(); err != nil {
		return fmt.Errorf("close line %s: %w", i.line.at, err)
	}
	return nil
}
