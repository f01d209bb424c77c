package failsafe

import "time"

// SilenceCommand says that the centre will be silent for a while, as planned: the
// timeout does not run meanwhile. It must be signed, for whoever could forge it
// could hold off failsafe.
type SilenceCommand struct {
	ID, Issuer string
	Epoch, Seq uint64
	Hash       string
	Retained   bool
	Expires    time.Time
	Signed     bool
	For        time.Duration
	By, Why    string
}

// Silence is the last planned silence. It is not carried over a crash: a process
// that has not heard the centre itself knows of no plan.
type Silence struct {
	ID      string        `json:",omitempty"`
	By      string        `json:",omitempty"`
	Why     string        `json:",omitempty"`
	Since   time.Time     `json:",omitzero"`
	Until   time.Duration `json:",omitempty"` // monotonic; 0: there was none
	EndWall time.Time     `json:",omitzero"`
}

// SilenceName is the command in acknowledgements.
const SilenceName = "silence"

// Codes of a planned silence that is refused.
const (
	NotEnabled Code = "NOT_ENABLED"
	NotSigned  Code = "UNSIGNED"
)

// silence takes a planned silence. The newest counts, so that a shorter one ends
// a longer.
func (r *run) silence(c SilenceCommand) {
	if !r.admit(c.ID, SilenceName, c.Issuer, c.Hash, c.Epoch, c.Seq, c.Retained, c.Expires, true) {
		return
	}
	code := OK
	switch most := r.cfg.Timers.SilenceMost; {
	case most == 0:
		code = NotEnabled
	case !c.Signed:
		code = NotSigned
	case c.For <= 0 || c.For > most || c.By == "":
		code = InvalidCommand
	case !r.alive():
		code = NotHeard
	}
	if code != OK {
		r.reject(c.ID, SilenceName, code)
		return
	}
	r.accept(c.ID, c.Hash, c.Issuer, c.Epoch, c.Seq, Completed)
	r.s.Silence = Silence{ID: c.ID, By: c.By, Why: c.Why, Since: r.wall, Until: r.now + c.For, EndWall: r.wall.Add(c.For)}
	r.ack(Ack{ID: c.ID, Command: SilenceName, Stage: Received})
	r.ack(Ack{ID: c.ID, Command: SilenceName, Stage: Completed})
}

// NotHeard refuses what only a centre that is heard may ask for.
const NotHeard Code = "NOT_HEARD"

// lastSign is from when on the centre's silence counts: its last heartbeat, or
// the end of a planned silence.
func (s *State) lastSign() time.Duration {
	if s.Silence.Until == 0 { // there was none; Heard may be before the start of the process
		return s.Heard
	}
	return max(s.Heard, s.Silence.Until)
}
