package dnp3net

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"lvagent/dnp3"
)

// conn is a connection. The loop owns it; reader and writer speak to the loop.
type conn struct {
	net.Conn            // as accepted
	stream   net.Conn   // what is read and written: the same, or TLS over it
	station  *dnp3.Conn // nil until the handshake is over
	pending  []byte     // read and not yet looked at; the reader waits meanwhile
	next     chan struct{}
	out      chan []byte
	writing  bool
	spare    []byte
	gone     chan struct{} // closed when the loop is done with it
	over     bool
	known    bool // its master was logged
}

// event is what a message tells the loop.
type event uint8

const (
	accepted event = iota
	opened
	read
	written
	closed
)

type message struct {
	event  event
	conn   *conn
	octets []byte
	peer   dnp3.Peer
	stream net.Conn
	err    error
}

// tell hands a message to the loop; false when the loop has ended.
func (s *Server) tell(m message) bool {
	select {
	case s.inbox <- m:
		return true
	case <-s.done:
		return false
	}
}

func (s *Server) accept(ctx context.Context) {
	for {
		c, err := s.listener.Accept()
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			if err == nil {
				c.Close()
			}
			return
		case err != nil:
			// Too many open files, as a rule: it passes.
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		default:
			m := message{event: accepted, conn: &conn{Conn: c, next: make(chan struct{}, 1), out: make(chan []byte, 1), gone: make(chan struct{})}}
			if !s.tell(m) {
				c.Close()
				return
			}
		}
	}
}

// handle takes a message of a connection in.
func (s *Server) handle(m message) {
	c := m.conn
	switch m.event {
	case accepted:
		s.admit(c)
	case opened:
		if c.over {
			return
		}
		s.open(c, m.stream, m.peer)
	case read:
		c.pending = m.octets
		s.advance(c)
	case written:
		c.writing, c.spare = false, m.octets
		if m.err != nil {
			s.drop(c, m.err)
			return
		}
		s.advance(c)
	case closed:
		s.drop(c, m.err)
	}
}

// admit takes a new connection in, or not.
func (s *Server) admit(c *conn) {
	if !s.config.allowed(c.RemoteAddr()) {
		s.refuse(c, "source not allowed")
		return
	}
	if len(s.conns) >= s.config.MostConnections {
		unknown := slices.IndexFunc(s.conns, func(c *conn) bool {
			if c.station == nil {
				return true
			}
			_, bound := c.station.Master()
			return !bound
		})
		if unknown < 0 {
			s.refuse(c, "too many connections")
			return
		}
		s.drop(s.conns[unknown], errors.New("made room for another"))
	}
	s.conns = append(s.conns, c)
	if s.config.TLS == nil {
		// At once, so that the order is that of accepting: the newest connection
		// of a master is the one that counts.
		s.open(c, c.Conn, dnp3.Peer{ReadOnly: !s.config.PlainControls})
	}
	s.wg.Go(func() { s.read(c) })
	s.wg.Go(func() { s.write(c) })
}

// open gives the connection to the station, and lets the reader begin.
func (s *Server) open(c *conn, stream net.Conn, peer dnp3.Peer) {
	c.stream, c.station = stream, s.station.Open(peer, s.now())
	c.next <- struct{}{}
}

func (s *Server) refuse(c *conn, why string) {
	c.Close()
	s.refused++
	if host, _, _ := net.SplitHostPort(c.RemoteAddr().String()); host != s.lastRefused {
		s.lastRefused = host
		s.config.Log.Warn("dnp3 connection refused", "peer", host, "why", why, "refused", s.refused)
	}
}

// advance lets the station look at what was read, as far as it will.
func (s *Server) advance(c *conn) {
	if c.over || c.station == nil || c.pending == nil {
		return
	}
	c.pending = c.station.Receive(c.pending, s.now(), s.wall())
	if len(c.pending) == 0 {
		c.pending = nil
		c.next <- struct{}{}
	}
}

// flush sends what the station has to say, and drops the connection when the
// station is done with it.
func (s *Server) flush(c *conn) {
	if c.over || c.station == nil {
		return
	}
	if address, bound := c.station.Master(); bound && !c.known {
		c.known = true
		s.config.Log.Info("master connected", "master", address, "peer", c.RemoteAddr().String())
	}
	if out := c.station.Output(); len(out) > 0 && !c.writing {
		buf := append(c.spare[:0], out...)
		c.station.Sent(len(out))
		c.writing = true
		c.out <- buf
	}
	if err := c.station.Over(); err != nil {
		s.drop(c, err)
	}
}

// drop ends a connection.
func (s *Server) drop(c *conn, why error) {
	if c.over {
		return
	}
	if c.station != nil {
		if address, bound := c.station.Master(); bound {
			s.config.Log.Info("master gone", "master", address, "peer", c.RemoteAddr().String(), "err", why)
		} else if c.known {
			s.config.Log.Info("master gone", "peer", c.RemoteAddr().String(), "err", why)
		}
		c.station.Close(s.now())
	}
	c.shut()
	s.conns = slices.DeleteFunc(s.conns, func(other *conn) bool { return other == c })
}

func (c *conn) shut() {
	if !c.over {
		c.over = true
		close(c.gone)
		c.Conn.Close()
	}
}

// read is the reader's goroutine.
func (s *Server) read(c *conn) {
	stream := c.Conn
	if s.config.TLS != nil {
		secure, peer, err := s.handshake(c.Conn)
		if err != nil {
			s.tell(message{event: closed, conn: c, err: err})
			return
		}
		stream = secure
		if !s.tell(message{event: opened, conn: c, peer: peer, stream: stream}) {
			return
		}
	}
	buf := make([]byte, 4096)
	for {
		select {
		case <-c.next:
		case <-c.gone:
			return
		case <-s.done:
			return
		}
		n, err := stream.Read(buf)
		if n > 0 && !s.tell(message{event: read, conn: c, octets: buf[:n]}) {
			return
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("closed by the peer")
			}
			s.tell(message{event: closed, conn: c, err: err})
			return
		}
	}
}

// handshake makes the connection secure, and says who it is.
func (s *Server) handshake(c net.Conn) (net.Conn, dnp3.Peer, error) {
	if err := c.SetDeadline(time.Now().Add(s.config.HandshakeTimeout)); err != nil {
		return nil, dnp3.Peer{}, err
	}
	secure := tls.Server(c, s.config.TLS)
	if err := secure.HandshakeContext(context.Background()); err != nil {
		return nil, dnp3.Peer{}, err
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return nil, dnp3.Peer{}, err
	}
	leaf := secure.ConnectionState().PeerCertificates[0]
	return secure, dnp3.Peer{Secure: true, Names: append([]string{leaf.Subject.CommonName}, leaf.DNSNames...)}, nil
}

// write is the writer's goroutine.
func (s *Server) write(c *conn) {
	for {
		var buf []byte
		select {
		case buf = <-c.out:
		case <-c.gone:
			return
		case <-s.done:
			return
		}
		err := c.stream.SetWriteDeadline(time.Now().Add(s.config.WriteTimeout))
		if err == nil {
			_, err = c.stream.Write(buf)
		}
		if !s.tell(message{event: written, conn: c, octets: buf, err: err}) {
			return
		}
	}
}
