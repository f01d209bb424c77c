package uplink

import (
	"errors"
	"net/url"
	"time"
)

// Ends of a session that are our own wish. What is in flight is waited for, so
// that nothing is sent twice, and a new connection follows at once.
var (
	errAge      = errors.New("connection as old as one may be")
	errRenewed  = errors.New("new certificate")
	errFailback = errors.New("the first broker is back")
)

// planned reports whether a session's end was our own wish.
func planned(err error) bool {
	return errors.Is(err, errAge) || errors.Is(err, errRenewed) || errors.Is(err, errFailback) || errors.Is(err, errHostGone)
}

// brokers chooses which of several brokers is tried. There is one session at a
// time: two with one client id would throw each other out on a cluster, and
// every record would come twice on two brokers.
type brokers struct {
	all    []*url.URL
	at     int
	failed int // in a row, of the one at hand
}

func (b *brokers) now() *url.URL { return b.all[b.at] }

// fail counts a failure and moves on after as many as are borne.
func (b *brokers) fail(most int) (moved bool) {
	b.failed++
	if len(b.all) < 2 || b.failed < most {
		return false
	}
	b.at, b.failed = (b.at+1)%len(b.all), 0
	return true
}

// losses remembers when a broker closed connections that had come about.
type losses struct {
	times [takeovers]time.Time
	next  int
}

// A client id that two clients use is a loop: each connection throws the other
// one out. MQTT 3.1.1 does not say why a connection is closed, so this many
// within a time are taken for it.
const (
	takeovers      = 5
	takeoverWithin = time.Minute
)

// add notes a loss and reports whether there were too many.
func (l *losses) add(now time.Time) bool {
	oldest := l.times[l.next]
	l.times[l.next] = now
	l.next = (l.next + 1) % takeovers
	return !oldest.IsZero() && now.Sub(oldest) <= takeoverWithin
}
