// Package outbox owns the record store: it takes records from the core loop
// without making it wait, commits them in batches, gives the committed ones to
// the uplink, and keeps what the broker has acknowledged for as long as the site
// file says.
//
// Nothing is given out that is not on disk. A store that will not open or write
// never stops measuring: records wait in memory, bounded, and what had to be let
// go is stated in a gap record once the store works again (R2, R16).
package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/uplink"
	"lvagent/buffer"
	"lvagent/configs"
)

// Routine work commits once a second at most; what is urgent (alarms, acks,
// failsafe transitions) at once, but ten times in any second at most.
const (
	routineEvery = time.Second
	mostUrgent   = 10
)

// mostWaiting bounds the records that wait in memory for a store.
const mostWaiting = 4096

// gapClass is the store's class of gap records: one of their own, so that a drop
// of others never drops what tells of it.
const gapClass = buffer.Class(message.History) + 1

// Outbox is the owner of the store.
type Outbox struct {
	path  string
	opts  buffer.Options
	agent string
	wall  func() time.Time
	log   *slog.Logger

	store   atomic.Pointer[buffer.Store]
	older   *takeover     // owned by Run
	untidy  string        // owned by Run: why the store could not be tidied
	period  time.Duration // of half-hours
	digests digests       // owned by Run
	pack    packer        // owned by Run
	seeks   []*seek       // owned by Run
	written atomic.Int64  // by stores that were closed since
	wake    chan struct{} // to the uplink: something new is committed
	kick    chan bool     // to Run: something waits; true is urgent

	mu      sync.Mutex // guards what waits
	waiting []buffer.Entry
	puts    map[string][]byte
	acks    map[string]uint64
	lost    map[string]int // records let go while there was no store
	urgent  bool
	resends resends

	health atomic.Pointer[Health]
}

// Health is what the outbox says of itself.
type Health struct {
	Failing  string // the store's last error; empty when it works
	Replaced string // where a broken store was set aside at start
	Waiting  int
}

// New returns the outbox of the site; Open must be called before Run.
func New(cfg *configs.Config, wall func() time.Time, log *slog.Logger, noSync bool) *Outbox {
	l, keep := cfg.Buffer.Limits, cfg.Buffer.Keep
	days := func(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }
	agent := cfg.Site.ID
	o := &Outbox{
		path: filepath.Join(cfg.Buffer.Path, "records.db"), agent: agent, wall: wall, log: log,
		wake: make(chan struct{}, 1), kick: make(chan bool, 2),
		puts: map[string][]byte{}, acks: map[string]uint64{}, lost: map[string]int{},
	}
	o.period, o.digests.every = cfg.Window.Period, cfg.Window.Digest
	o.opts = buffer.Options{
		NoSync:   noSync,
		MaxBytes: int64(cfg.Buffer.MaxMB) << 20,
		Classes: []buffer.Limit{
			message.Control:  {Name: message.Control.String(), MaxRecords: l.Control, Keep: days(keep.Control), DropRank: 4},
			message.Alarms:   {Name: message.Alarms.String(), MaxRecords: l.Alarms, Keep: days(keep.Alarms), DropRank: 3},
			message.Live:     {Name: message.Live.String(), MaxRecords: l.Live, Keep: days(keep.Live), DropRank: 0},
			message.HalfHour: {Name: message.HalfHour.String(), MaxRecords: l.HalfHours, Keep: days(keep.HalfHours), DropRank: 1},
			message.History:  {Name: message.History.String(), MaxRecords: l.Audit, Keep: days(keep.Audit), DropRank: 2},
			gapClass:         {Name: "gap", MaxRecords: l.Control, Keep: days(keep.HalfHours), DropRank: 5},
		},
		Tell: func(g buffer.Gap) buffer.Entry { return gapEntry(agent, g) },
	}
	o.health.Store(&Health{})
	return o
}

func gapEntry(agent string, g buffer.Gap) buffer.Entry {
	return buffer.Entry{
		Stream: message.GapStream, Class: gapClass, At: g.At,
		Body: message.AppendGap(nil, agent, &message.Gap{
			Stream: g.Stream, From: g.From, To: g.To, Count: uint64(g.Count), Why: g.Why, T: g.At, Since: g.Since, Until: g.Until}),
	}
}

// Open opens the store. An error means that another process has it: two agents
// on one store must not be. Any other fault is coped with: a broken store is set
// aside, and one that can't be made at all is tried again by Run.
func (o *Outbox) Open() error {
	s, replaced, err := buffer.OpenOrReplace(o.path, o.opts, o.wall())
	switch {
	case errors.Is(err, buffer.ErrLocked):
		return fmt.Errorf("open store: %w: is another agent running?", err)
	case err != nil:
		o.fail(err)
		return nil
	}
	h := Health{}
	if replaced != nil {
		o.log.Error("store set aside; a new one is in use", "path", replaced.SetAside,
			"generation", replaced.Generation, "err", replaced.Cause)
		h.Replaced = replaced.SetAside
	}
	if err := o.resumeTakeover(s, replaced); err != nil {
		o.log.Error("older store not carried over", "err", err)
	}
	if err := o.resumeResends(s); err != nil {
		o.log.Error("requests of the centre not resumed", "err", err)
	}
	if err := o.resumeDigests(s); err != nil {
		o.log.Error("digests not resumed", "err", err)
	}
	o.health.Store(&h)
	o.store.Store(s)
	return nil
}

// Get returns the small state kept under key, or nil.
func (o *Outbox) Get(key string) []byte {
	s := o.store.Load()
	if s == nil {
		return nil
	}
	v, err := kept(s, key)
	if err != nil {
		o.log.Error("kept state not read", "key", key, "err", err)
		return nil
	}
	return v
}

func kept(s *buffer.Store, key string) ([]byte, error) {
	v, err := s.Get(key)
	if err != nil {
		return nil, err
	}
	return unpack(v)
}

// Record is a record on its way into the store.
type Record struct {
	Stream string
	At     time.Time // when it was due
	Body   []byte
}

// Kept is a small state that is stored under a key; the newest value counts.
type Kept struct {
	Key   string
	Value []byte
}

// Store takes records and small states, which are committed together or not at
// all. It does not wait.
func (o *Outbox) Store(urgent bool, records []Record, kept ...Kept) {
	o.mu.Lock()
	for _, r := range records {
		if len(o.waiting) >= mostWaiting {
			o.letGo()
		}
		o.waiting = append(o.waiting, buffer.Entry{
			Stream: r.Stream, Class: buffer.Class(message.ClassOf(r.Stream)), At: r.At, Body: r.Body})
	}
	for _, k := range kept {
		o.puts[k.Key] = k.Value
	}
	o.mu.Unlock()
	o.nudge(urgent)
}

// letGo drops the oldest record of the least important class that waits.
func (o *Outbox) letGo() {
	rank := func(e buffer.Entry) int { return o.opts.Classes[e.Class].DropRank }
	least := slices.MinFunc(o.waiting, func(a, b buffer.Entry) int { return cmp.Compare(rank(a), rank(b)) })
	i := slices.IndexFunc(o.waiting, func(e buffer.Entry) bool { return e.Class == least.Class })
	o.lost[o.waiting[i].Stream]++
	o.waiting = slices.Delete(o.waiting, i, i+1)
}

// Ack says that the broker has taken all of stream up to n.
func (o *Outbox) Ack(stream string, n uint64) {
	if isRepeat(stream) {
		o.ackRepeat(stream, n)
		return
	}
	o.mu.Lock()
	o.acks[stream] = max(o.acks[stream], n)
	o.mu.Unlock()
	o.nudge(false)
}

func (o *Outbox) nudge(urgent bool) {
	if urgent {
		o.mu.Lock()
		o.urgent = true
		o.mu.Unlock()
	}
	select {
	case o.kick <- urgent:
	default:
	}
}

// Wake tells the uplink that something new was committed.
func (o *Outbox) Wake() <-chan struct{} { return o.wake }

// Streams appends the streams of the store with what they hold.
func (o *Outbox) Streams(dst []uplink.Stream) []uplink.Stream {
	s := o.store.Load()
	if s == nil {
		return dst
	}
	states := s.Streams(nil)
	for _, st := range states {
		dst = append(dst, uplink.Stream{Name: st.Name, Class: message.ClassOf(st.Name), First: st.Acked + 1, Next: st.Next})
	}
	return o.repeatStream(dst, states)
}

// Read appends records of stream from number from on, in order.
func (o *Outbox) Read(stream string, from uint64, dst []uplink.Record, most int) ([]uplink.Record, error) {
	s := o.store.Load()
	if s == nil {
		return dst, nil
	}
	if isRepeat(stream) {
		return o.readRepeat(s, stream, from, dst, most)
	}
	records, err := s.Read(stream, from, nil, most)
	for _, r := range records {
		dst = append(dst, uplink.Record{Stream: r.Stream, N: r.N, G: r.G, At: r.At, Body: r.Body})
	}
	var torn *buffer.TornError
	if errors.As(err, &torn) {
		err = nil // those before it first
		if len(records) == 0 {
			o.skip(s, torn)
		}
	}
	return dst, err
}

// skip lets go of records that the disk has damaged, and tells of them, once
// they are the oldest of their stream.
func (o *Outbox) skip(s *buffer.Store, torn *buffer.TornError) {
	for _, st := range s.Streams(nil) {
		if st.Name != torn.Stream || st.Acked+1 != torn.N {
			continue
		}
		o.mu.Lock()
		told := o.acks[torn.Stream] >= torn.N
		if !told {
			o.waiting = append(o.waiting, gapEntry(o.agent, buffer.Gap{
				Stream: torn.Stream, From: torn.N, To: torn.To, Count: int(torn.To - torn.N + 1), Why: "TORN", At: o.wall()}))
			o.acks[torn.Stream] = torn.To
		}
		o.mu.Unlock()
		if !told {
			o.log.Error("stored record is damaged", "stream", torn.Stream, "n", torn.N, "to", torn.To, "err", torn)
			o.nudge(false)
		}
	}
}

// Backlog returns how many records are stored and not acknowledged.
func (o *Outbox) Backlog() int {
	if s := o.store.Load(); s != nil {
		return s.Stats().Waiting
	}
	return 0
}

// Health returns how the store does. It may be called from anywhere.
func (o *Outbox) Health() Health { return *o.health.Load() }

// Run commits what waits until ctx ends, then once more, and closes the store.
func (o *Outbox) Run(ctx context.Context) error {
	defer func() {
		if s := o.store.Load(); s != nil {
			if err := s.Close(); err != nil {
				o.log.Error("store not closed", "err", err)
			}
		}
	}()
	timer := time.NewTimer(routineEvery)
	defer timer.Stop()
	var last time.Time
	var commits [mostUrgent]time.Time // the last ones, in a ring
	next := 0
	due := func(urgent bool) time.Duration {
		if urgent {
			return max(0, routineEvery-time.Since(commits[next]))
		}
		return max(0, routineEvery-time.Since(last))
	}
	for {
		o.carryOver(ctx)
		select {
		case <-ctx.Done():
			o.commit()
			return nil
		case urgent := <-o.kick:
			o.mu.Lock()
			urgent = urgent || o.urgent
			o.mu.Unlock()
			timer.Reset(due(urgent && o.Health().Failing == ""))
			continue
		case <-o.seeking():
			o.seekOn()
			continue
		case <-timer.C:
		}
		last = time.Now()
		commits[next], next = last, (next+1)%mostUrgent
		again := !o.commit()
		if s := o.store.Load(); s != nil {
			again = o.tidy() || o.digest(s) || again
		}
		if again {
			timer.Reset(routineEvery)
		}
	}
}

// Written is how many octets were written for the store since the start.
func (o *Outbox) Written() int64 {
	written := o.written.Load()
	if s := o.store.Load(); s != nil {
		written += s.Stats().BytesWritten
	}
	return written
}

// tidy does what the store has to do that nobody waits for, one step a second,
// and says whether there is more. What urgently waits goes first.
func (o *Outbox) tidy() (more bool) {
	s := o.store.Load()
	if s == nil {
		return false
	}
	more, err := s.Tidy(o.wall())
	if err != nil && o.untidy == "" {
		o.log.Error("store not tidied; it goes on without", "err", err)
	}
	if err == nil && o.untidy != "" {
		o.log.Info("store tidied again")
	}
	o.untidy = ""
	if err != nil {
		o.untidy = err.Error()
	}
	return more
}

// commit writes what waits. What could not be written keeps waiting.
func (o *Outbox) commit() bool {
	s := o.store.Load()
	if s == nil {
		if err := o.Open(); err != nil {
			o.fail(err)
		}
		if s = o.store.Load(); s == nil {
			return false
		}
	}
	o.workResends(s)
	o.mu.Lock()
	b := buffer.Batch{At: o.wall(), Append: o.waiting}
	resent := o.putResends()
	puts, acks, lost := o.puts, o.acks, o.lost
	o.waiting, o.puts, o.acks, o.lost = nil, map[string][]byte{}, map[string]uint64{}, map[string]int{}
	o.urgent = false
	o.mu.Unlock()
	if resent != nil {
		b.Put = append(b.Put, *resent)
	}
	for key, value := range puts {
		b.Put = append(b.Put, buffer.Put{Key: key, Value: o.pack.pack(value)})
	}
	for stream, n := range acks {
		b.Ack = append(b.Ack, buffer.Ack{Stream: stream, N: n})
	}
	slices.SortFunc(b.Put, func(x, y buffer.Put) int { return cmp.Compare(x.Key, y.Key) })
	slices.SortFunc(b.Ack, func(x, y buffer.Ack) int { return cmp.Compare(x.Stream, y.Stream) })
	entries := b.Append
	var told []buffer.Entry
	for _, stream := range slices.Sorted(maps.Keys(lost)) {
		told = append(told, gapEntry(o.agent, buffer.Gap{
			Stream: stream, Count: lost[stream], Why: "STORE_FAILED", At: o.wall()}))
	}
	b.Append = append(entries[:len(entries):len(entries)], told...)
	if len(b.Append)+len(b.Put)+len(b.Ack) == 0 {
		return true
	}
	err := s.Commit(b)
	if errors.Is(err, buffer.ErrDamaged) || errors.Is(err, buffer.ErrInDoubt) {
		err = o.reopen(s, b, err)
	}
	if buffer.Full(err) {
		// Not everything fits. What matters most is tried by itself: for that the
		// store lets go of what matters less.
		b.Append = told
		var stored bool
		if entries, stored = o.commitByWorth(s, b, entries); stored {
			acks, lost = nil, nil
			o.tellUplink()
		}
		if len(entries) == 0 && stored {
			err = nil
		}
	}
	if err != nil {
		o.mu.Lock()
		o.waiting = append(entries, o.waiting...)
		for len(o.waiting) > mostWaiting {
			o.letGo()
		}
		for key, value := range puts {
			if _, newer := o.puts[key]; !newer {
				o.puts[key] = value
			}
		}
		for stream, n := range acks {
			o.acks[stream] = max(o.acks[stream], n)
		}
		for stream, n := range lost {
			o.lost[stream] += n
		}
		o.resends.dirty = o.resends.dirty || resent != nil
		o.mu.Unlock()
		o.fail(err)
		return false
	}
	if h := o.Health(); h.Failing != "" {
		o.log.Info("store works again")
		h.Failing = ""
		o.health.Store(&h)
	}
	if len(b.Append) > 0 {
		o.tellUplink()
	}
	return true
}

// commitByWorth commits one class after the other, those first that are dropped
// last. Acknowledgements and what tells of losses go with the first that fits.
// Small states go with the last, and only when everything did: one may say of a
// record that it was made. It returns what did not fit, in the order it came in,
// and whether anything was stored.
func (o *Outbox) commitByWorth(s *buffer.Store, b buffer.Batch, entries []buffer.Entry) (left []buffer.Entry, stored bool) {
	rank := func(e buffer.Entry) int { return o.opts.Classes[e.Class].DropRank }
	var ranks []int
	for _, e := range entries {
		ranks = append(ranks, rank(e))
	}
	slices.Sort(ranks)
	ranks = slices.Compact(ranks)
	slices.Reverse(ranks)
	left = entries
	for i, r := range ranks {
		var part buffer.Batch
		part.At = b.At
		if !stored {
			part.Append, part.Ack = slices.Clone(b.Append), b.Ack
		}
		rest := left[:0:0]
		for _, e := range left {
			if rank(e) == r {
				part.Append = append(part.Append, e)
			} else {
				rest = append(rest, e)
			}
		}
		if i == len(ranks)-1 && len(rest) == 0 {
			part.Put = b.Put
		}
		if s.Commit(part) == nil {
			left, stored = rest, true
		}
	}
	return left, stored
}

func (o *Outbox) tellUplink() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// reopen closes a store that failed in the middle and opens it again, set aside
// if it is damaged. It returns nil when it finds that the batch is in it.
func (o *Outbox) reopen(s *buffer.Store, b buffer.Batch, cause error) error {
	before := s.Streams(nil)
	g := s.Generation()
	o.store.Store(nil)
	o.written.Add(s.Stats().BytesWritten)
	if err := s.Close(); err != nil {
		cause = errors.Join(cause, err)
	}
	if err := o.Open(); err != nil {
		return errors.Join(cause, err)
	}
	s = o.store.Load()
	if s == nil || s.Generation() != g || len(b.Append) == 0 {
		return cause
	}
	next := func(all []buffer.StreamState) uint64 {
		for _, st := range all {
			if st.Name == b.Append[0].Stream {
				return st.Next
			}
		}
		return 1
	}
	if next(s.Streams(nil)) > next(before) {
		return nil
	}
	return cause
}

func (o *Outbox) fail(err error) {
	h := o.Health()
	if h.Failing == "" {
		o.log.Error("store does not work; records wait in memory", "err", err, "most", mostWaiting)
	}
	o.mu.Lock()
	h.Waiting = len(o.waiting)
	o.mu.Unlock()
	h.Failing = err.Error()
	o.health.Store(&h)
}
