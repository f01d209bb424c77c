package modbus

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Outcome says how a change of a setting went.
type Outcome string

// Outcomes. All but the last two leave no doubt what the meter holds.
const (
	Shown     Outcome = "shown"     // looked at only
	Unchanged Outcome = "unchanged" // the meter held the value already
	Changed   Outcome = "changed"   // written, and read back
	Refused   Outcome = "refused"   // by the meter, or since it is not the right one
	NotTaken  Outcome = "not_taken" // written, and the meter holds another value
	NotAsked  Outcome = "not_asked" // given up before anything was written
	Unsure    Outcome = "unsure"    // given up after it was written: nobody read it back
)

const (
	// A request of a change is made again after changePause, and the change is
	// given up after changeTries that failed: a meter that is silent takes time
	// from the others.
	changePause = 2 * time.Second
	changeTries = 3
	// A meter that holds another value right after a write is looked at once
	// more after settlePause: some take their time.
	settlePause = time.Second
)

// Result is what a change has come to. Values are as people write them, empty
// where they are not known.
type Result struct {
	Outcome  Outcome
	Old, Now string // before the write, and as read last
	Why      string
}

// Change sets one thing in a meter, request by request: who it is, what it
// holds, what unlocks it, the write, and what it holds then. It is written once,
// whatever the answer; what it holds then is read in any case. After an outage the
// meter has to be known anew. Like its meter it belongs to one goroutine.
type Change struct {
	m      *Meter
	s      *setting
	want   uint64
	look   bool // change nothing
	opened int
	pause  time.Duration
	settle time.Duration

	phase   changePhase
	next    int // of the phase's requests
	fails   int
	waited  bool   // the second look after a write
	written bool   // the write was sent
	remark  string // what was wrong with its answer
	result  Result
}

type changePhase uint8

const (
	who changePhase = iota
	held
	unlocking
	writing
	readBack
	over
)

// NewChange returns the change of a meter's setting to a value as a person wrote
// it. With look only the value that the meter holds is found out, and value may be
// empty.
func (m *Meter) NewChange(name, value string, look bool) (*Change, error) {
	c := &Change{m: m, s: m.profile.setting(name), look: look, pause: changePause, settle: settlePause}
	if c.s == nil {
		return nil, fmt.Errorf("profile %s has no setting %q", m.profile.id, name)
	}
	if look && value == "" {
		return c, nil
	}
	var err error
	c.want, err = c.s.parse(value)
	return c, err
}

// Result returns what the change has come to, so far or in the end.
func (c *Change) Result() Result { return c.result }

// Wanted returns the value that the change is to.
func (c *Change) Wanted() string { return c.s.say(c.want) }

// GiveUp ends a change that is not done.
func (c *Change) GiveUp(why error) {
	if c.phase != over {
		c.giveUp(why.Error())
	}
}

// Step makes the next request. The one after it is to be made after wait at the
// earliest. An error means that the connection is gone.
func (c *Change) Step() (done bool, wait time.Duration, err error) {
	if now := c.m.client.opened; now != c.opened {
		c.opened, c.phase, c.next = now, who, 0
	}
	switch c.phase {
	case who:
		return c.identify()
	case held:
		return c.readOld()
	case unlocking:
		return c.unlock()
	case writing:
		return c.write()
	case readBack:
		return c.readNow()
	default:
		return true, 0, nil
	}
}

// identify asks for the next register that tells the right meter.
func (c *Change) identify() (bool, time.Duration, error) {
	matches := c.m.profile.identity.matches
	if c.next == len(matches)+len(c.s.onlyIf) {
		c.phase, c.next = held, 0
		if c.written {
			c.phase = readBack
		}
		return c.Step()
	}
	id := &slices.Concat(matches, c.s.onlyIf)[c.next]
	words, err := c.m.fetch(&id.static)
	switch {
	case err == nil && id.holds(words):
		c.next++
		return false, 0, nil
	case err == nil || isRefusal(err):
		why := "it is another meter: " + id.path + " of the profile does not match"
		if c.written {
			return c.giveUp("the meter was replaced: " + why)
		}
		return c.end(Refused, why)
	}
	return c.failed(err)
}

func (c *Change) readOld() (bool, time.Duration, error) {
	raw, err := c.read()
	if err != nil {
		return c.refusedOr(err)
	}
	c.result.Old = c.s.say(raw)
	c.result.Now = c.result.Old
	switch {
	case c.look:
		return c.end(Shown, "")
	case raw == c.want:
		return c.end(Unchanged, "")
	}
	c.phase, c.next = unlocking, 0
	return false, 0, nil
}

func (c *Change) unlock() (bool, time.Duration, error) {
	if c.next == len(c.s.unlock) {
		c.phase = writing
		return c.Step()
	}
	u := &c.s.unlock[c.next]
	if err := c.send(u.fc, u.addr, u.layout, u.number); err != nil {
		return c.refusedOr(fmt.Errorf("unlock: %w", err))
	}
	c.next++
	return false, 0, nil
}

// write writes the value, and goes on to read it back whatever became of it,
// unless nothing was sent.
func (c *Change) write() (bool, time.Duration, error) {
	err := c.send(c.s.fc, c.s.addr, c.s.layout, c.want)
	if errors.Is(err, ErrUnproven) || errors.Is(err, ErrClosed) || errors.Is(err, ErrRequest) {
		return c.failed(err)
	}
	c.written, c.phase, c.fails = true, readBack, 0
	c.result.Now = ""
	if err != nil {
		c.remark = err.Error()
	}
	if keepsConnection(err) {
		return false, 0, nil
	}
	return false, c.pause, err
}

func (c *Change) readNow() (bool, time.Duration, error) {
	raw, err := c.read()
	if err != nil {
		return c.failed(err)
	}
	switch c.result.Now = c.s.say(raw); {
	case raw == c.want:
		return c.end(Changed, c.remark)
	case !c.waited && c.remark == "":
		c.waited = true
		return false, c.settle, nil
	case c.remark != "":
		return c.end(NotTaken, c.remark)
	default:
		return c.end(NotTaken, "the meter confirmed the write and holds another value")
	}
}

func (c *Change) read() (uint64, error) {
	words, err := c.m.client.ReadHolding(c.m.unit, c.s.addr, c.s.size)
	if err != nil {
		return 0, err
	}
	return c.s.raw(words), nil
}

func (c *Change) send(fc uint8, addr uint16, l layout, raw uint64) error {
	words := l.words(raw)
	if fc == 6 {
		return c.m.client.WriteHolding(c.m.unit, addr, words[0])
	}
	return c.m.client.WriteRegisters(c.m.unit, addr, words)
}

// refusedOr ends the change when the meter has refused, before anything of it was
// written.
func (c *Change) refusedOr(err error) (bool, time.Duration, error) {
	var ex *ExceptionError
	if errors.As(err, &ex) {
		return c.end(Refused, err.Error())
	}
	return c.failed(err)
}

// failed notes that a request had no use. It is made again a few times.
func (c *Change) failed(err error) (bool, time.Duration, error) {
	if c.fails++; c.fails >= changeTries {
		c.giveUp(err.Error())
	}
	if keepsConnection(err) {
		err = nil
	}
	return c.phase == over, c.pause, err
}

func (c *Change) giveUp(why string) (bool, time.Duration, error) {
	if c.written {
		return c.end(Unsure, why)
	}
	return c.end(NotAsked, why)
}

func (c *Change) end(o Outcome, why string) (bool, time.Duration, error) {
	c.phase, c.result.Outcome, c.result.Why = over, o, why
	return true, 0, nil
}
