package message

import "time"

// SilenceCommand says that the centre will be silent as planned.
const SilenceCommand = "silence"

// Silence suspends the heartbeat timeout for a while. It counts only from an
// issuer whose commands are signed.
type Silence struct {
	For     time.Duration
	By, Why string
}

func (Silence) body() {}

func (f *fields) silenceCommand() Silence {
	return Silence{For: f.span("for", 1, required), By: f.text("by", 200, required), Why: f.text("why", 500, optional)}
}

// Signed reports whether the commands of an issuer are signed: of the others
// nobody can tell who sent them.
func (k Keys) Signed(issuer string) bool {
	_, known := k[issuer]
	return known
}
