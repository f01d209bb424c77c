package relaytest

import "time"

// Watchdog is a retriggerable relay behind a line, in series with what it guards:
// it closes with a change of the line's level and opens when none came for its
// off-delay.
type Watchdog struct {
	chip *Chip
	line int
	off  time.Duration
	now  func() time.Duration
	last time.Duration
	ever bool
}

// Watchdog puts such a relay at line n.
func (c *Chip) Watchdog(n int, off time.Duration, now func() time.Duration) *Watchdog {
	w := &Watchdog{chip: c, line: n, off: off, now: now}
	c.kernel.mu.Lock()
	defer c.kernel.mu.Unlock()
	c.pins[n].edge = func() { w.ever, w.last = true, now() }
	return w
}

// Closed reports whether the relay lets current through now.
func (w *Watchdog) Closed() bool {
	w.chip.kernel.mu.Lock()
	defer w.chip.kernel.mu.Unlock()
	return w.ever && w.now()-w.last < w.off
}
