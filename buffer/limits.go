package buffer

import "fmt"

// slack is the part of a limit, one in so many, that is freed beyond need once
// the limit is passed. Without it each record appended to a full class would
// drop one record and make another to tell of it.
const slack = 32

// keepLimits drops records until every limit holds, and appends the records
// that tell of it.
//
// The records that tell take room themselves, perhaps in a class that is full
// too. They are therefore counted as soon as a drop begins, which may lead to
// further drops, and appended when all drops are done. The loop ends because a
// round which drops nothing is the last, and there is only so much to drop.
func (w *work) keepLimits() error {
	for {
		had := w.dropped
		if err := w.trim(); err != nil {
			return err
		}
		if w.dropped == had {
			break
		}
		if err := w.retell(); err != nil {
			return err
		}
	}
	return w.tellDrops()
}

// tellDrops appends the records that tell of drops.
func (w *work) tellDrops() error {
	for k := range w.drops {
		d := &w.drops[k]
		if w.s.opt.Tell == nil {
			continue
		}
		w.use(d.tell.Class, -1, -int64(len(d.tell.Body))) // append counts it again
		i, err := w.append(&d.tell)
		if err != nil {
			return fmt.Errorf("append to %s: %w", d.tell.Stream, err)
		}
		w.streams[i].tell = true
	}
	return nil
}

// trim drops until every limit holds or nothing is left to drop.
func (w *work) trim() error {
	for c := range w.s.opt.Classes {
		l := &w.s.opt.Classes[c]
		if !w.overClass(Class(c), 0) {
			continue
		}
		if err := w.shrink(func() bool { return w.overClass(Class(c), slack) }, func(st *stream) bool { return int(st.class) == c }, false); err != nil {
			return fmt.Errorf("drop of class %s: %w", l.Name, err)
		}
	}
	if !w.overAll(0) {
		return nil
	}
	if err := w.shrink(func() bool { return w.overAll(slack) }, func(*stream) bool { return true }, true); err != nil {
		return fmt.Errorf("drop: %w", err)
	}
	return nil
}

// shrink takes records out of eligible streams while there are too many: those
// that were acknowledged, which nobody misses, and only then others.
func (w *work) shrink(tooMany func() bool, eligible func(*stream) bool, byRank bool) error {
	for tooMany() {
		i, ok := w.oldest(func(st *stream) bool { return st.kept() > 0 && eligible(st) }, byRank)
		if !ok {
			break
		}
		if err := w.takeFirst(i); err != nil {
			return err
		}
	}
	for tooMany() {
		i, ok := w.oldest(eligible, byRank)
		if !ok {
			break
		}
		if err := w.dropFirst(i); err != nil {
			return err
		}
	}
	return nil
}

// overClass says whether a class is over its limit, or, with part, over all but
// one part of its limit.
func (w *work) overClass(c Class, part int64) bool {
	l, u := &w.s.opt.Classes[c], w.used[c]
	return over(int64(u.records), int64(l.MaxRecords), part) || over(u.bytes, l.MaxBytes, part)
}

func (w *work) overAll(part int64) bool {
	var bytes int64
	for _, u := range w.used {
		bytes += u.bytes
	}
	return over(bytes, w.s.opt.MaxBytes, part)
}

func over(have, limit, part int64) bool {
	if limit > 0 && part > 0 {
		limit -= limit / part
	}
	return limit > 0 && have > limit
}

// oldest picks the stream whose oldest record goes next, among those that are
// eligible: streams which tell of drops last; by rank of the class if asked;
// then by time. Streams first used earlier come first where all is equal.
func (w *work) oldest(eligible func(*stream) bool, byRank bool) (best int, ok bool) {
	for i := range w.streams {
		st := &w.streams[i]
		if st.count() == 0 || !eligible(st) {
			continue
		}
		if !ok || w.before(st, &w.streams[best], byRank) {
			best, ok = i, true
		}
	}
	return best, ok
}

func (w *work) before(a, b *stream, byRank bool) bool {
	if a.tell != b.tell {
		return b.tell
	}
	if ra, rb := w.s.opt.Classes[a.class].DropRank, w.s.opt.Classes[b.class].DropRank; byRank && ra != rb {
		return ra < rb
	}
	return a.firstAt < b.firstAt
}

// dropFirst drops the oldest record of a stream and counts the record that will
// tell of it.
func (w *work) dropFirst(i int) error {
	n, at := w.streams[i].first, w.streams[i].firstAt
	if err := w.takeFirst(i); err != nil {
		return err
	}
	w.dropped++
	for k := range w.drops {
		if d := &w.drops[k]; d.i == i {
			d.to, d.stale = n, true
			d.since, d.until = min(d.since, at), max(d.until, at)
			return nil
		}
	}
	d := drop{i: i, from: n, to: n, since: at, until: at, why: WhyQuota}
	if w.full {
		d.why = WhyFull
	}
	if err := w.tell(&d); err != nil {
		return err
	}
	w.drops = append(w.drops, d)
	return nil
}

// retell makes the records anew which tell of runs that have grown since.
func (w *work) retell() error {
	if w.s.opt.Tell == nil {
		return nil
	}
	for k := range w.drops {
		d := &w.drops[k]
		if !d.stale {
			continue
		}
		w.use(d.tell.Class, -1, -int64(len(d.tell.Body)))
		if err := w.tell(d); err != nil {
			return err
		}
	}
	return nil
}

// tell asks for the record which tells of d, and counts it.
func (w *work) tell(d *drop) (err error) {
	if w.s.opt.Tell == nil {
		return nil
	}
	name := w.streams[d.i].name
	d.tell, d.stale = w.callTell(Gap{
		Stream: name, From: d.from, To: d.to, Count: int(d.to - d.from + 1), Why: d.why, At: w.at,
		Since: utc(d.since), Until: utc(d.until),
	}), false
	if w.tellPanic != nil {
		return fmt.Errorf("tell of drop in %s: panic: %v", name, w.tellPanic)
	}
	if err := w.s.checkEntry(&d.tell); err != nil {
		return fmt.Errorf("tell of drop in %s: %w", name, err)
	}
	w.use(d.tell.Class, 1, int64(len(d.tell.Body)))
	return nil
}

// callTell keeps a panic of the caller's function apart from one of bbolt.
// Commit goes on with it once the transaction is undone.
func (w *work) callTell(g Gap) Entry {
	defer func() { w.tellPanic = recover() }()
	return w.s.opt.Tell(g)
}
