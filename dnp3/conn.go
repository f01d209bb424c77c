package dnp3

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"lvagent/dnp3/link"
	"lvagent/dnp3/transport"
)

// Why a connection is over.
var (
	ErrTakenOver = errors.New("a newer connection of the same master took over")
	ErrSilent    = errors.New("the link did not answer")
	ErrNoFrame   = errors.New("no frame of a known master")
	ErrBlocked   = errors.New("the master does not take what is sent")
	ErrStranger  = errors.New("the certificate is no master's")
)

// Peer is what is known of the other end of a connection.
type Peer struct {
	// Secure is whether the connection is authenticated; Names are those of the
	// peer's certificate then. Only the master that has one of them may speak.
	Secure bool
	Names  []string
	// ReadOnly refuses all that Master.ReadOnly refuses.
	ReadOnly bool
}

// Conn is one connection of a master: link and transport layer, bound to the
// master's session by its first frame, or at once where only one master can be
// meant.
type Conn struct {
	o         *Outstation
	peer      Peer
	allowed   *session // the only one that the certificate permits
	session   *session
	reader    link.Reader
	secondary link.Secondary
	assembler *transport.Assembler
	segmenter transport.Segmenter
	scratch   [transport.MostData + 1]byte
	out       []byte
	over      error

	number               uint64 // of connections, in the order of opening
	opened, heard, asked time.Duration
	asking               bool
	last                 uint16 // destination of the segment before
}

// mostOutput is how many octets may wait to be sent before requests wait too.
const mostOutput = 16 << 10

// Open begins a connection.
func (o *Outstation) Open(peer Peer, now time.Duration) *Conn {
	o.opened++
	c := &Conn{o: o, number: o.opened, peer: peer, assembler: transport.NewAssembler(MostFragment), opened: now, heard: now}
	var only *session
	if peer.Secure {
		for _, s := range o.sessions {
			if s.master.Certificate != "" && slices.Contains(peer.Names, s.master.Certificate) {
				c.allowed, only = s, s
			}
		}
		if c.allowed == nil {
			c.over = ErrStranger
			return c
		}
	} else if len(o.sessions) == 1 {
		only = o.sessions[0]
	}
	o.conns = append(o.conns, c)
	// Another connection is not displaced by one that has not spoken yet.
	if only != nil && only.conn == nil {
		c.bind(only, now)
	}
	return c
}

// bind makes the connection that of a session. The newest one wins: what a dead
// one sent may arrive after the master has come again.
func (c *Conn) bind(s *session, now time.Duration) {
	if s.conn != nil && s.conn.number > c.number {
		c.end(ErrTakenOver, now)
		return
	}
	if s.conn != nil {
		s.conn.end(ErrTakenOver, now)
	}
	c.session = s
	s.connect(c, now)
}

// Close ends the connection: what was sent and not confirmed will be sent again.
func (c *Conn) Close(now time.Duration) { c.end(nil, now) }

func (c *Conn) end(why error, now time.Duration) {
	if c.over == nil {
		c.over = why
	}
	c.o.conns = slices.DeleteFunc(c.o.conns, func(other *Conn) bool { return other == c })
	if s := c.session; s != nil && s.conn == c {
		s.disconnect(now)
	}
	c.session = nil
}

// Over says why the connection must be closed, nil while it goes on.
func (c *Conn) Over() error { return c.over }

// Master is the address of the master; false while it is not known.
func (c *Conn) Master() (uint16, bool) {
	if c.session == nil {
		return 0, false
	}
	return c.session.master.Address, true
}

// Output returns what is to be sent, to be taken with [Conn.Sent].
func (c *Conn) Output() []byte { return c.out }

// Sent forgets the first n octets of the output.
func (c *Conn) Sent(n int) { c.out = append(c.out[:0], c.out[n:]...) }

// Receive takes octets in. It returns those it did not look at, because the
// peer does not take its answers: send the output first.
func (c *Conn) Receive(octets []byte, now time.Duration, wall int64) (rest []byte) {
	for c.over == nil && len(c.out) < mostOutput {
		f, left, ok := c.reader.Next(octets)
		octets = left
		if !ok {
			return nil
		}
		c.frame(f, now, wall)
	}
	if c.over != nil {
		return nil
	}
	return octets
}

func (c *Conn) frame(f link.Frame, now time.Duration, wall int64) {
	broadcast := link.IsBroadcast(f.Destination)
	own := f.Destination == c.o.config.Address || c.o.config.SelfAddress && f.Destination == link.Self
	if !f.FromMaster() || !own && !broadcast {
		return
	}
	s := c.o.session(f.Source)
	if s == nil || c.session != nil && s != c.session || c.allowed != nil && s != c.allowed {
		return
	}
	if c.session == nil {
		if c.bind(s, now); c.over != nil {
			return
		}
	}
	c.heard, c.asking = now, false
	if !f.FromPrimary() {
		return // an answer to our own question; being heard is all it says
	}
	if broadcast {
		if f.Function() == link.UnconfirmedUserData && f.Control&link.FCV == 0 {
			c.segment(f, now, wall)
		}
		return
	}
	reply, answer, deliver := c.secondary.Receive(f.Header)
	if answer {
		c.out = link.Append(c.out, link.Header{Control: uint8(reply), Destination: f.Source, Source: c.o.config.Address}, nil)
	}
	if deliver {
		c.segment(f, now, wall)
	}
}

func (c *Conn) segment(f link.Frame, now time.Duration, wall int64) {
	if f.Destination != c.last { // pieces of different messages
		c.assembler.Reset()
		c.last = f.Destination
	}
	if fragment, whole := c.assembler.Add(f.Data); whole {
		c.session.receive(fragment, f.Destination, now, wall)
	}
}

// send puts a fragment into frames.
func (c *Conn) send(fragment []byte) {
	if len(c.out) > 2*mostOutput {
		c.over = ErrBlocked
		return
	}
	h := link.Header{Control: link.Primary | uint8(link.UnconfirmedUserData), Destination: c.session.master.Address, Source: c.o.config.Address}
	c.segmenter.Cut(fragment, &c.scratch, func(segment []byte) { c.out = link.Append(c.out, h, segment) })
}

func (c *Conn) deadline() (time.Duration, bool) {
	switch {
	case c.over != nil:
		return 0, false
	case c.session == nil:
		return c.opened + c.o.config.Greeting, true
	case c.asking:
		return c.asked + c.o.config.KeepAliveTimeout, true
	}
	return c.heard + c.o.config.KeepAlive, true
}

func (c *Conn) tick(now time.Duration) {
	if at, ok := c.deadline(); !ok || now < at {
		return
	}
	switch {
	case c.session == nil:
		c.end(fmt.Errorf("%w within %v", ErrNoFrame, c.o.config.Greeting), now)
	case c.asking:
		c.end(fmt.Errorf("%w within %v", ErrSilent, c.o.config.KeepAliveTimeout), now)
	default:
		c.asking, c.asked = true, now
		c.out = link.Append(c.out, link.Header{Control: link.Primary | uint8(link.RequestLinkStatus), Destination: c.session.master.Address, Source: c.o.config.Address}, nil)
	}
}
