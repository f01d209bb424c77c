package dnp3

import "lvagent/dnp3/app"

// kind is a kind of event: those of the types, and three that have no static
// value of their own.
type kind uint8

const (
	frozenCounter = kind(types) + iota
	binaryCommand
	analogCommand
	kinds
)

// eventGroups are the object groups of kinds and the variation that is sent
// unless configured.
var eventGroups = [kinds]struct{ group, variation uint8 }{
	kind(BinaryInput): {2, 2}, kind(DoubleBitInput): {4, 2}, kind(BinaryOutput): {11, 2}, kind(Counter): {22, 5},
	kind(AnalogInput): {32, 7}, kind(AnalogOutput): {42, 7}, kind(OctetString): {111, 0},
	frozenCounter: {23, 5}, binaryCommand: {13, 2}, analogCommand: {43, 7},
}

// pool says which response an event was put into and waits for the confirm of.
type pool uint8

const (
	waiting pool = iota
	solicited
	unsolicited
	pools
)

const none = -1

type event struct {
	app.Measurement
	seq       uint64 // 1, 2, 3 in the order of arrival
	index     uint16
	kind      kind
	class     Class
	variation uint8
	pool      pool
	synced    bool
	// Neighbours in the order of arrival, and in the queue of the same kind and
	// class, from which the oldest is dropped.
	next, prev, queueNext, queuePrev int32
}

type queue struct {
	first, last int32
	n, waiting  int
	most        int
	overflow    bool
}

// buffer keeps the events of one master. Each kind has a queue for each class,
// so that a flood of one kind pushes out nothing else.
type buffer struct {
	slab        []event
	free        int32
	first, last int32
	queues      [kinds][3]queue
	ready       [3]int // events of each class that are in no pool
	seq         uint64
	picked      [pools][]pick
	dropped     uint64
}

// pick names an event in a pool: the place may have been given to another since.
type pick struct {
	at  int32
	seq uint64
}

func newBuffer(m Master) *buffer {
	b := &buffer{free: none, first: none, last: none}
	for k := range b.queues {
		most := 0
		switch kind := kind(k); {
		case kind == frozenCounter:
			most = m.FrozenEvents
		case kind >= binaryCommand:
			most = m.CommandEvents
		default:
			most = m.Events[k]
		}
		for c := range b.queues[k] {
			b.queues[k][c] = queue{first: none, last: none, most: max(0, most)}
		}
	}
	return b
}

// add puts an event at the end. When its queue is full, the oldest of it goes.
func (b *buffer) add(e event) {
	q := &b.queues[e.kind][e.class-1]
	if q.most == 0 {
		// Nothing of this kind is kept, which is configuration, not overflow.
		return
	}
	if q.n >= q.most {
		b.remove(q.first)
		b.dropped++
		q.overflow = true
	}
	b.seq++
	e.seq, e.pool = b.seq, waiting
	at := b.free
	if at != none {
		b.free = b.slab[at].next
	} else {
		at = int32(len(b.slab))
		b.slab = append(b.slab, event{})
	}
	e.prev, e.next, e.queuePrev, e.queueNext = b.last, none, q.last, none
	if b.last != none {
		b.slab[b.last].next = at
	} else {
		b.first = at
	}
	b.last = at
	if q.last != none {
		b.slab[q.last].queueNext = at
	} else {
		q.first = at
	}
	q.last = at
	b.slab[at] = e
	q.n++
	q.waiting++
	b.ready[e.class-1]++
}

// remove takes an event out of both orders.
func (b *buffer) remove(at int32) {
	e := &b.slab[at]
	q := &b.queues[e.kind][e.class-1]
	if e.prev != none {
		b.slab[e.prev].next = e.next
	} else {
		b.first = e.next
	}
	if e.next != none {
		b.slab[e.next].prev = e.prev
	} else {
		b.last = e.prev
	}
	if e.queuePrev != none {
		b.slab[e.queuePrev].queueNext = e.queueNext
	} else {
		q.first = e.queueNext
	}
	if e.queueNext != none {
		b.slab[e.queueNext].queuePrev = e.queuePrev
	} else {
		q.last = e.queuePrev
	}
	q.n--
	if e.pool == waiting {
		q.waiting--
		b.ready[e.class-1]--
	}
	*e = event{next: b.free} // seq 0: no pick names it any more
	b.free = at
}

// pick marks an event as sent with a pool's response.
func (b *buffer) pick(at int32, p pool) {
	e := &b.slab[at]
	e.pool = p
	b.queues[e.kind][e.class-1].waiting--
	b.ready[e.class-1]--
	b.picked[p] = append(b.picked[p], pick{at, e.seq})
}

// release lets the events of a pool wait again: their confirm did not come.
func (b *buffer) release(p pool) {
	for _, k := range b.picked[p] {
		if e := &b.slab[k.at]; e.seq == k.seq {
			e.pool = waiting
			b.queues[e.kind][e.class-1].waiting++
			b.ready[e.class-1]++
		}
	}
	b.picked[p] = b.picked[p][:0]
}

// confirm deletes the events of a pool, and says how many. Overflow is over
// where there is space again.
func (b *buffer) confirm(p pool) (deleted int) {
	for _, k := range b.picked[p] {
		if b.slab[k.at].seq == k.seq {
			b.remove(k.at)
			deleted++
		}
	}
	b.picked[p] = b.picked[p][:0]
	for k := range b.queues {
		for c := range b.queues[k] {
			if q := &b.queues[k][c]; q.n < q.most {
				q.overflow = false
			}
		}
	}
	return deleted
}

// indications are the class bits and the overflow bit of a response.
func (b *buffer) indications() app.IIN {
	var iin app.IIN
	for c, n := range b.ready {
		if n > 0 {
			iin |= app.Class1 << c
		}
	}
	for k := range b.queues {
		for c := range b.queues[k] {
			if b.queues[k][c].overflow {
				iin |= app.EventOverflow
			}
		}
	}
	return iin
}

// selection says which events a header asks for.
type selection struct {
	kinds   uint16 // bits of kinds
	classes uint8  // bits of classes, class 1 lowest
}

func (s selection) has(e *event) bool {
	return s.kinds>>e.kind&1 != 0 && s.classes>>(e.class-1)&1 != 0
}

const allKinds = 1<<kinds - 1

// n is the number of events kept.
func (b *buffer) n() (n int) {
	for k := range b.queues {
		for c := range b.queues[k] {
			n += b.queues[k][c].n
		}
	}
	return n
}

// waitingOf counts the events of a selection that are in no pool.
func (b *buffer) waitingOf(s selection) (n int) {
	for k := range b.queues {
		for c := range b.queues[k] {
			if s.kinds>>k&1 != 0 && s.classes>>c&1 != 0 {
				n += b.queues[k][c].waiting
			}
		}
	}
	return n
}
