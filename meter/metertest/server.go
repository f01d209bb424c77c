// Package metertest stands in for meters in tests and on benches: a Modbus TCP
// server that answers from a register image and can be made to fail, and plain
// sources and links without any wire.
//
// It decides nothing about measurement. Its registers and its frames are
// written from the Modbus specification and the meters' tables, not from the
// driver, so that the two check each other.
//
// Requirements: R1 and R13, as the far end of their tests.
package metertest

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Server is a Modbus TCP gateway with the meters that were put on it.
type Server struct {
	scheme string
	ln     net.Listener

	mu     sync.Mutex
	units  map[uint8]*Unit
	conns  map[net.Conn]bool
	closed bool

	quit     chan struct{}
	wg       sync.WaitGroup
	accepted atomic.Int64
}

// Listen starts a server. An empty address is a free port on the loopback.
func Listen(addr string) (*Server, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for modbus: %w", err)
	}
	return newServer("tcp", ln), nil
}

// ListenTLS starts a server that speaks TLS, as c says, on a free port of the
// loopback.
func ListenTLS(c *tls.Config) (*Server, error) {
	ln, err := tls.Listen("tcp", "127.0.0.1:0", c)
	if err != nil {
		return nil, fmt.Errorf("listen for modbus over tls: %w", err)
	}
	return newServer("tcp+tls", ln), nil
}

func newServer(scheme string, ln net.Listener) *Server {
	s := &Server{
		scheme: scheme, ln: ln, units: map[uint8]*Unit{}, conns: map[net.Conn]bool{}, quit: make(chan struct{}),
	}
	s.wg.Go(s.accept)
	return s
}

// Addr returns host and port.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// URL returns the address as a site file gives it.
func (s *Server) URL() string { return s.scheme + "://" + s.Addr() }

// Accepted returns how many connections were ever taken.
func (s *Server) Accepted() int { return int(s.accepted.Load()) }

// Connections returns how many connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Unit returns the meter with this unit id, and puts it on the bus if it is not
// there. A unit that is not there is answered for by the gateway: exception 11.
func (s *Server) Unit(id uint8) *Unit {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[id]
	if u == nil {
		u = newUnit(id)
		s.units[id] = u
	}
	return u
}

// Hang ends every open connection; new ones are taken.
func (s *Server) Hang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close() // the serving goroutine reports nothing else
	}
}

// Close stops the server and waits until all its connections have ended.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.quit)
	err := s.ln.Close()
	s.Hang()
	s.wg.Wait()
	return err
}

func (s *Server) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			c.Close() // nobody is told: the server is gone
			return
		}
		s.conns[c] = true
		s.accepted.Add(1)
		s.wg.Go(func() { s.serve(c) })
		s.mu.Unlock()
	}
}

func (s *Server) serve(c net.Conn) {
	defer func() {
		c.Close() // either end may have closed it already
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	for {
		q, err := readRequest(c)
		if err != nil {
			return
		}
		s.mu.Lock()
		u := s.units[q.unit]
		s.mu.Unlock()
		var octets []byte
		if u == nil {
			octets = q.frame(q.unit, exception(q.fc(), GatewayNoReply))
		} else if octets, err = u.answer(q, s.quit); err != nil {
			return
		}
		if _, err := c.Write(octets); err != nil {
			return
		}
	}
}

// wireRequest is one request as it came: MBAP header and PDU.
type wireRequest struct {
	transaction uint16
	unit        uint8
	pdu         []byte
}

func (q *wireRequest) fc() uint8 { return q.pdu[0] }

// frame wraps a reply PDU (Modbus Messaging on TCP/IP V1.0b, section 3.1.3).
func (q *wireRequest) frame(unit uint8, pdu []byte) []byte {
	f := make([]byte, 7, 7+len(pdu))
	binary.BigEndian.PutUint16(f[0:], q.transaction)
	binary.BigEndian.PutUint16(f[4:], uint16(1+len(pdu)))
	f[6] = unit
	return append(f, pdu...)
}

func readRequest(r io.Reader) (wireRequest, error) {
	var head [7]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return wireRequest{}, err
	}
	n := int(binary.BigEndian.Uint16(head[4:])) - 1
	if binary.BigEndian.Uint16(head[2:]) != 0 || n < 1 || n > 253 {
		return wireRequest{}, errors.New("not a modbus request")
	}
	q := wireRequest{transaction: binary.BigEndian.Uint16(head[0:]), unit: head[6], pdu: make([]byte, n)}
	_, err := io.ReadFull(r, q.pdu)
	return q, err
}

func exception(fc, code uint8) []byte { return []byte{fc | 0x80, code} }

// wait returns after d, or false when quit is closed before.
func wait(d time.Duration, quit <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-quit:
		return false
	}
}
