package failsafe

import (
	"slices"
	"time"

	"lvagent/meter"
)

// Class is the authority with which a command is given; a lower number is a
// higher class.
type Class uint8

// The classes of a command. The zero value is none of them.
const (
	Emergency Class = iota + 1
	Network
	Commercial
)

var classNames = [...]string{"", "emergency", "network", "commercial"}

// String returns the class's name in messages.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return ""
}

// ParseClass returns the class called name.
func ParseClass(name string) (Class, bool) {
	i := slices.Index(classNames[1:], name)
	return Class(i + 1), i >= 0
}

// Unit is what a limit is counted in.
type Unit uint8

// The units of a limit. The zero value is no limit at all and must be asked for
// by name.
const (
	NoUnit   Unit = iota
	None          // the statement that there is no limit
	Amps          // per phase
	Watts         // the group's total, at 230 V
	Percent       // of the group's rating
	ByRegime      // what the group's contract allows in a [Regime], which is the value
)

// Amount is a limit as it was commanded, in thousandths of its unit.
type Amount struct {
	Unit  Unit
	Value int64
}

// nominal is the voltage at which watts become amperes.
const nominal meter.Millivolts = 230_000

// For returns the amount in milliamps per phase of group g that a command may
// ask for: never below what its customers are guaranteed.
func (a Amount) For(g *Group) meter.Milliamps { return max(a.per(g), min(g.Guarantee, g.Rating)) }

// per returns the amount in milliamps per phase of group g, never above its
// rating and never below 0. Fractions are rounded down: the lower limit is the
// safe one.
func (a Amount) per(g *Group) meter.Milliamps {
	limit := g.Rating
	switch a.Unit {
	case Amps:
		limit = meter.Milliamps(a.Value)
	case Percent:
		limit = meter.Milliamps(int64(g.Rating) * a.Value / 100_000)
	case Watts:
		phases := int64(0)
		for _, used := range g.Phases {
			if used {
				phases++
			}
		}
		if phases > 0 {
			limit = meter.Milliamps(a.Value * 1000 / int64(nominal) / phases)
		}
	case ByRegime:
		if a.Value > 0 && a.Value < regimes && g.Contract[a.Value].Agreed {
			limit = g.Contract[a.Value].Limit
		}
	}
	return max(0, min(limit, g.Rating))
}

// valid reports whether the amount is one that a command may carry.
func (a Amount) valid() bool {
	const most = 1_000_000_000_000 // a gigawatt in milliwatts; a product below stays inside int64
	switch a.Unit {
	case None:
		return a.Value == 0
	case Amps, Watts:
		return a.Value >= 0 && a.Value <= most
	case Percent:
		return a.Value >= 0 && a.Value <= 100_000
	case ByRegime:
		return a.Value >= 0 && a.Value < regimes
	default:
		return false
	}
}

// Target is what a command is about: one way (optionally only the groups on
// some of its phases) or named groups.
type Target struct {
	Way    string
	Phases [meter.Phases]bool // none set: all
	Groups []string
	// Absent is what else was named and is not here, in words that may be
	// repeated: where customers were named by number, not by that.
	Absent []string
}

// LimitCommand is the load management signal (R9): a limit for some groups from
// a start for a duration, or the statement that there is none.
type LimitCommand struct {
	ID, Issuer   string
	Epoch, Seq   uint64
	Hash         string // of the whole body
	Retained     bool
	Expires      time.Time // last moment of acceptance
	Class        Class
	Target       Target
	Start        time.Time     // or
	StartIn      time.Duration // from receipt; 0 is now
	Relative     bool          // StartIn was given, not Start
	Duration     time.Duration // 0: until cancelled, at most MaxDuration
	Amount       Amount
	Curve        []Block       // instead of Amount and Duration
	Randomise    time.Duration // longest wait of a group that is let go, drawn per group
	Compensation string        // the centre's token, given back in acks
	Supersedes   string
}

// CancelCommand ends a command before its time.
type CancelCommand struct {
	ID, Issuer string
	Epoch, Seq uint64
	Hash       string
	Retained   bool
	Expires    time.Time
	Cancels    string
}

const (
	mostCommands = 64  // scheduled and active at one time
	mostKnown    = 512 // ids remembered

	mostRandomise = 30 * time.Minute
)

// ack adds a rung to the ladder of command id.
func (r *run) ack(a Ack) { r.ev.Acks = append(r.ev.Acks, a) }

func (r *run) reject(id, command string, code Code) {
	r.ack(Ack{ID: id, Command: command, Stage: Rejected, Code: code})
}

// admit checks what every command must pass, and says whether it may go on. A
// repeated id is answered with the stage that it had reached.
func (r *run) admit(id, command, issuer, hash string, epoch, seq uint64, retained bool, expires time.Time, absolute bool) bool {
	code := OK
	switch {
	case retained:
		code = RetainedRefuse
	case id == "" || hash == "":
		code = InvalidCommand
	case !slices.Contains(r.cfg.Issuers, issuer) && !(command == reportName && slices.Contains(r.cfg.Reporters, issuer)):
		code = UnknownIssuer
	}
	if code != OK {
		r.reject(id, command, code)
		return false
	}
	if i := slices.IndexFunc(r.s.Known, func(k Known) bool { return k.ID == id }); i >= 0 {
		switch k := r.s.Known[i]; {
		case k.Hash == "":
			r.reject(id, command, WasCancelled)
		case k.Hash != hash:
			r.conflict()
			r.reject(id, command, IDConflict)
		default:
			r.ack(Ack{ID: id, Command: command, Stage: k.Stage, Code: Duplicate})
		}
		return false
	}
	switch {
	case !r.fresh(issuer, epoch, seq):
		code = Replay
	case absolute && (r.suspect || !r.clock.Trusted()):
		code = ClockUntrusted
	case r.clock.Trusted() && r.wall.After(expires):
		code = Stale
	}
	if code != OK {
		r.reject(id, command, code)
		return false
	}
	return true
}

// fresh reports whether a command's number was not seen yet: of the present
// epoch within the last 64, or newer.
func (r *run) fresh(issuer string, epoch, seq uint64) bool {
	i := slices.IndexFunc(r.s.Sequences, func(q Sequence) bool { return q.Issuer == issuer })
	if i < 0 || epoch > r.s.Sequences[i].Epoch {
		return true
	}
	q := r.s.Sequences[i]
	switch {
	case epoch < q.Epoch:
		return false
	case seq > q.High:
		return true
	case q.High-seq >= 64:
		return false
	}
	return q.Window&(1<<(q.High-seq)) == 0
}

// accept notes the command's id and number: from here on it can't act again.
func (r *run) accept(id, hash, issuer string, epoch, seq uint64, stage Stage) {
	r.know(id, hash, stage)
	r.ev.Store = true
	i := slices.IndexFunc(r.s.Sequences, func(q Sequence) bool { return q.Issuer == issuer })
	if i < 0 {
		r.s.Sequences = append(r.s.Sequences, Sequence{Issuer: issuer, Epoch: epoch, High: seq, Window: 1})
		return
	}
	q := &r.s.Sequences[i]
	switch {
	case epoch > q.Epoch:
		q.Epoch, q.High, q.Window = epoch, seq, 1
	case seq > q.High:
		if shift := seq - q.High; shift < 64 {
			q.Window = q.Window<<shift | 1
		} else {
			q.Window = 1
		}
		q.High = seq
	default:
		q.Window |= 1 << (q.High - seq)
	}
}

// know remembers an id and the stage it has reached. An empty hash is the
// tombstone of a command that was cancelled before it came.
func (r *run) know(id, hash string, stage Stage) {
	if i := slices.IndexFunc(r.s.Known, func(k Known) bool { return k.ID == id }); i >= 0 {
		r.s.Known[i].Stage = stage
		return
	}
	if len(r.s.Known) >= mostKnown {
		r.s.Known = slices.Delete(r.s.Known, 0, 1)
	}
	r.s.Known = append(r.s.Known, Known{ID: id, Hash: hash, Stage: stage, At: r.now})
}

// forget drops ids that are older than they need to be known.
func (r *run) forget() {
	for len(r.s.Known) > 0 && r.now-r.s.Known[0].At > r.cfg.Timers.Remember {
		r.s.Known = slices.Delete(r.s.Known, 0, 1)
	}
}

// resolve returns the groups and ways that a target means, and the names in it
// that this substation does not have.
func (r *run) resolve(t Target) (groups, ways, refused []string) {
	refused = slices.Clone(t.Absent)
	if t.Way != "" {
		w := r.way(t.Way)
		if w < 0 {
			return nil, nil, append(refused, t.Way)
		}
		ways = []string{t.Way}
		for _, g := range r.groups[w] {
			cfg := &r.cfg.Groups[g]
			meets := t.Phases == [meter.Phases]bool{}
			for p, used := range t.Phases {
				meets = meets || used && cfg.Phases[p]
			}
			if meets {
				groups = append(groups, cfg.ID)
			}
		}
		return groups, ways, refused
	}
	for _, id := range t.Groups {
		g := r.group(id)
		switch {
		case g < 0:
			refused = append(refused, id)
		case !slices.Contains(groups, id):
			groups = append(groups, id)
			if way := r.cfg.Groups[g].Way; !slices.Contains(ways, way) {
				ways = append(ways, way)
			}
		}
	}
	return groups, ways, refused
}

// limit takes a load management signal.
func (r *run) limit(c LimitCommand) {
	const name = "limit"
	if !r.admit(c.ID, name, c.Issuer, c.Hash, c.Epoch, c.Seq, c.Retained, c.Expires, !c.Relative) {
		return
	}
	t := r.cfg.Timers
	groups, ways, refused := r.resolve(c.Target)
	length, code := r.form(&c)
	switch {
	case code != OK:
	case len(ways) == 0 || len(groups) == 0 && c.Amount.Unit != None:
		code = NoTarget
	}
	at := r.now
	var startWall time.Time
	if c.Relative {
		at += c.StartIn
		startWall = r.wall.Add(c.StartIn)
	} else if !c.Start.IsZero() {
		startWall = c.Start
		if ahead := c.Start.Sub(r.wall); ahead > 0 {
			at += ahead
		}
	} else {
		startWall = r.wall
	}
	endWall := startWall.Add(length)
	remark := OK
	lifts := c.Amount.Unit == None || c.Amount.Unit == ByRegime && Regime(c.Amount.Value) == Green
	if code == OK && c.Class == Commercial && !lifts {
		var not []string
		groups, not = r.agreed(groups, startWall)
		if refused = append(refused, not...); len(groups) == 0 {
			code = NotOptedIn
		}
	}
	if code == OK {
		switch {
		case at-r.now > t.MaxAhead:
			code = TooFar
		case lifts && at > r.now:
			code = InvalidCommand
		case !c.Relative && !endWall.After(r.wall):
			code = Expired
		case !lifts && len(r.s.Commands) >= mostCommands:
			code = TooMany
		}
	}
	if code != OK {
		r.ack(Ack{ID: c.ID, Command: name, Stage: Rejected, Code: code, Refused: refused})
		return
	}
	end := at + length
	if late := r.wall.Sub(startWall); !c.Relative && late > 0 {
		end = r.now + endWall.Sub(r.wall)
		if late > time.Second {
			remark = Late
		}
	}
	if len(refused) > 0 {
		remark = Partial
	}
	r.ack(Ack{ID: c.ID, Command: name, Stage: Received, Code: remark, Groups: groups, Refused: refused})
	if c.Supersedes != "" {
		r.supersede(func(o *Command) bool { return o.ID == c.Supersedes && o.Issuer == c.Issuer && o.Class >= c.Class }, nil)
	}
	if c.Class != Commercial && r.alive() {
		for _, id := range ways {
			if w := &r.s.Ways[r.way(id)]; w.State != Failsafe {
				w.Statement, w.Source = true, c.ID
			}
		}
	}
	if lifts {
		r.accept(c.ID, c.Hash, c.Issuer, c.Epoch, c.Seq, Completed)
		r.supersede(func(o *Command) bool {
			return o.Issuer == c.Issuer && o.Class >= c.Class && (c.Amount.Unit == None || o.Amount.Unit == ByRegime)
		}, groups)
		r.ack(Ack{ID: c.ID, Command: name, Stage: Completed, Groups: groups})
		return
	}
	stage := Active
	if at > r.now {
		stage = Scheduled
	}
	r.accept(c.ID, c.Hash, c.Issuer, c.Epoch, c.Seq, stage)
	r.s.Commands = append(r.s.Commands, Command{
		ID: c.ID, Issuer: c.Issuer, Class: c.Class, Groups: groups, Way: c.Target.Way, Amount: c.Amount, Curve: c.Curve,
		Compensation: c.Compensation, Stage: stage, Start: at, End: end, Randomise: c.Randomise,
		StartWall: startWall, EndWall: endWall, Duration: end - at, Open: c.Duration == 0 && len(c.Curve) == 0,
	})
	r.ack(Ack{ID: c.ID, Command: name, Stage: stage, Groups: groups})
}

// form returns how long a command of this form lasts at most, or what is wrong
// with it.
func (r *run) form(c *LimitCommand) (length time.Duration, code Code) {
	if length = c.Duration; length == 0 {
		length = r.cfg.Timers.MaxDuration
	}
	if len(c.Curve) > 0 {
		if length = whole(c.Curve); length == 0 || c.Amount != (Amount{}) || c.Duration != 0 {
			return 0, InvalidCommand
		}
		c.Curve = slices.Clone(c.Curve)
		c.Amount = c.Curve[0].Amount
	}
	switch t := &c.Target; {
	case c.Class < Emergency || c.Class > Commercial || !c.Amount.valid(), c.Duration < 0, length > r.cfg.Timers.MaxDuration,
		c.StartIn < 0, c.Randomise < 0 || c.Randomise > mostRandomise, t.Way != "" && len(t.Groups) > 0:
		return 0, InvalidCommand
	case c.Amount.Unit == ByRegime && (c.Class == Commercial || t.Way == "" || t.Phases != [meter.Phases]bool{}):
		return 0, InvalidCommand // a regime is the network's, and of a whole way
	}
	return length, OK
}

// cancel takes the end of a command before its time. A cancel may overtake its
// command: what it names is then refused when it comes.
func (r *run) cancel(c CancelCommand) {
	const name = "cancel"
	if !r.admit(c.ID, name, c.Issuer, c.Hash, c.Epoch, c.Seq, c.Retained, c.Expires, false) {
		return
	}
	i := slices.IndexFunc(r.s.Commands, func(o Command) bool { return o.ID == c.Cancels })
	known := slices.ContainsFunc(r.s.Known, func(k Known) bool { return k.ID == c.Cancels })
	if c.Cancels == "" || c.Cancels == c.ID || i >= 0 && r.s.Commands[i].Issuer != c.Issuer {
		r.reject(c.ID, name, InvalidCommand)
		return
	}
	r.accept(c.ID, c.Hash, c.Issuer, c.Epoch, c.Seq, Completed)
	r.ack(Ack{ID: c.ID, Command: name, Stage: Received})
	switch {
	case i >= 0:
		r.finish(i, Cancelled)
	case !known:
		r.know(c.Cancels, "", Cancelled)
	}
	r.ack(Ack{ID: c.ID, Command: name, Stage: Completed})
}

// supersede takes groups out of the commands that match; nil is all groups. A
// command without groups has reached its end.
func (r *run) supersede(match func(*Command) bool, groups []string) {
	for i := len(r.s.Commands) - 1; i >= 0; i-- {
		c := &r.s.Commands[i]
		if !match(c) {
			continue
		}
		if groups != nil {
			r.drop(c, groups)
		}
		if groups == nil || len(c.Groups) == 0 {
			r.finish(i, Superseded)
		}
	}
}

// finish ends command i at its final stage.
func (r *run) finish(i int, stage Stage) { r.end(i, stage, OK) }

func (r *run) end(i int, stage Stage, why Code) {
	c := r.s.Commands[i]
	for _, id := range c.Groups {
		r.let(&c, id)
	}
	r.know(c.ID, "-", stage)
	r.ack(Ack{ID: c.ID, Command: "limit", Stage: stage, Code: why, Groups: c.Groups, Refused: c.OptedOut, Compensation: c.Compensation, Outcome: r.outcome(&c)})
	r.s.Commands = slices.Delete(r.s.Commands, i, i+1)
	r.ev.Store = true
}

// lifecycle starts what is due and ends what is over. A start is never late:
// whichever clock says first that it is time starts it. The end of a running
// limit is a matter of the monotonic clock alone; of one that was carried over
// a restart, of both clocks, so that neither a stepped clock nor a crash
// releases it early.
func (r *run) lifecycle() {
	for i := len(r.s.Commands) - 1; i >= 0; i-- {
		c := &r.s.Commands[i]
		if c.Stage == Scheduled {
			due := r.now >= c.Start
			if r.clock.Trusted() && !r.wall.Before(c.StartWall) {
				due = true
			}
			if !due {
				continue
			}
			length := c.Duration
			if left := c.EndWall.Sub(r.wall); c.Restored && r.clock.Trusted() && !r.suspect && left < length {
				length = max(0, left) // it was due while the agent was down
			}
			c.Latest = r.now + length
			c.Stage, c.Start, c.End = Active, r.now, r.now+length
			r.know(c.ID, "-", Active)
			r.ack(Ack{ID: c.ID, Command: "limit", Stage: Active, Groups: c.Groups})
			r.ev.Store = true
		}
		if c.Stage == Active {
			r.follow(c)
		}
		over := r.now >= c.End
		if c.Restored && over && r.now < c.Latest && (r.suspect || r.clock.Trusted() && r.wall.Before(c.EndWall)) {
			over = false
		}
		if over {
			r.finish(i, Completed)
		}
	}
}

// actuated says of each command, once, that all its groups were read back at or
// below its limit.
func (r *run) actuated() {
	for i := range r.s.Commands {
		c := &r.s.Commands[i]
		if c.Stage != Active || c.Actuated || len(c.Groups) == 0 {
			continue
		}
		done := true
		for _, id := range c.Groups {
			g := r.group(id)
			gs := &r.s.Groups[g]
			done = done && (gs.Actuation == Confirmed || gs.Actuation == Restricted) &&
				gs.Feedback <= c.Amount.For(&r.cfg.Groups[g])+r.cfg.Groups[g].Rating/100
		}
		if done {
			c.Actuated = true
			r.know(c.ID, "-", Actuated)
			r.ack(Ack{ID: c.ID, Command: "limit", Stage: Actuated, Groups: c.Groups})
		}
	}
}
