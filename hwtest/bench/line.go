package bench

import (
	"net"
	"sync"
	"time"
)

// Conditions are what a link does to what passes, each direction by itself. The
// zero value is a link that does nothing to it.
type Conditions struct {
	Rate  int           // bit/s of all connections together; 0: as fast as it goes
	Delay time.Duration // of every octet

	// Blackhole lets nothing pass, in either direction, and tells nobody:
	// connections stand, new ones too, and lead to nothing. What was sent meanwhile
	// passes when it is over, as what a lossy network makes TCP send once more.
	Blackhole bool
}

// What waits in the link, in each direction of a connection, as in a modem's
// memory: 22 kB are 3 s of 64 kbit/s.
const (
	chunkMost  = 1400
	chunksMost = 16
)

// direction is one way through the link.
type direction struct{ free time.Time } // when the line has sent what it was given

// pair is the two ends of one connection through the link.
type pair struct {
	agent, broker net.Conn

	mu   sync.Mutex
	half bool // the broker's end is gone, and the agent does not know
	over chan struct{}
	done bool
}

// end closes both ends.
func (p *pair) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.done {
		p.done = true
		close(p.over)
	}
	p.agent.Close()
	p.broker.Close()
}

// ended is end, but for a pair that is half open: its agent is told nothing. It
// reports whether the pair is over.
func (p *pair) ended() bool {
	p.mu.Lock()
	half := p.half
	p.mu.Unlock()
	if half {
		return false
	}
	p.end()
	return true
}

// Set changes the conditions, also for connections that stand.
func (l *Link) Set(c Conditions) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line = c
	close(l.changed)
	l.changed = make(chan struct{})
}

// HalfOpen takes the broker's end from each connection that stands, without a word
// to the agent: what it sends is never read, and nothing comes any more, until the
// link is cut. New connections are whole. It returns how many there were.
func (l *Link) HalfOpen() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for p := range l.pairs {
		p.mu.Lock()
		if !p.half {
			n, p.half = n+1, true
			p.broker.Close()
			p.agent.SetReadDeadline(time.Unix(1, 0)) // nobody reads it any more
		}
		p.mu.Unlock()
	}
	return n
}

// chunk is some octets and when they have come through the line.
type chunk struct {
	octets []byte
	due    time.Time
}

// pump passes one direction on until either end closes, then closes both.
func (l *Link) pump(p *pair, dst, src net.Conn, d *direction, counter packetCounter) {
	defer l.pumps.Done()
	chunks := make(chan chunk, chunksMost)
	var writer sync.WaitGroup
	writer.Go(func() {
		for c := range chunks {
			if !l.through(p, c.due) {
				return
			}
			_, err := counter.Write(c.octets)
			if err == nil {
				_, err = dst.Write(c.octets)
			}
			if err != nil {
				l.forget(p)
				return
			}
		}
	})
	for {
		octets := make([]byte, chunkMost)
		n, err := src.Read(octets)
		if n > 0 {
			select {
			case chunks <- chunk{octets[:n], l.due(d, n)}:
			case <-p.over:
			}
		}
		if err != nil {
			break
		}
	}
	close(chunks)
	writer.Wait() // what was read before the end still arrives
	l.forget(p)
}

// forget ends a pair, unless it is half open.
func (l *Link) forget(p *pair) {
	if p.ended() {
		l.mu.Lock()
		delete(l.pairs, p)
		l.mu.Unlock()
	}
}

// due is when n octets that are given to the line now have come through it.
func (l *Link) due(d *direction, n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.line.Rate <= 0 {
		d.free = now
		return now.Add(l.line.Delay)
	}
	if d.free.Before(now) {
		d.free = now
	}
	d.free = d.free.Add(time.Duration(n) * 8 * time.Second / time.Duration(l.line.Rate))
	return d.free.Add(l.line.Delay)
}

// through waits until something that is due has come through. It reports false
// when the connection is over before.
func (l *Link) through(p *pair, due time.Time) bool {
	for {
		l.mu.Lock()
		hole, changed := l.line.Blackhole, l.changed
		l.mu.Unlock()
		wait := time.Until(due)
		if !hole && wait <= 0 {
			return true
		}
		var late <-chan time.Time
		if !hole {
			late = time.After(wait)
		}
		select {
		case <-late:
		case <-changed:
		case <-p.over:
			return false
		}
	}
}
