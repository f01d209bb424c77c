package metertest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Line is a serial line in Modbus RTU with the meters that were put on it. It
// is reached as a gateway shows it, RTU over TCP, or through a pseudo-terminal.
//
// Like a real line it has no memory of who asked: requests are carried out one
// after the other, and a reply that comes late goes to whoever listens then. A
// unit that is not there is silence.
type Line struct {
	url string

	mu    sync.Mutex
	units map[uint8]*Unit
	port  io.ReadWriteCloser // who listens now; nil: nobody

	heard    chan heardRequest
	quit     chan struct{}
	closing  sync.Once
	wg       sync.WaitGroup
	accepted atomic.Int64
	end      func() error // stops what brings new ports
}

// heardRequest is a request with the port that it came by.
type heardRequest struct {
	unit uint8
	pdu  []byte
	port io.Closer
}

func newLine() *Line {
	l := &Line{units: map[uint8]*Unit{}, heard: make(chan heardRequest, 64), quit: make(chan struct{})}
	l.wg.Go(l.work)
	return l
}

// ListenRTU starts a line behind a gateway that carries RTU frames over TCP. An
// empty address is a free port on the loopback. The gateway has one serial line
// and serves the newest connection.
func ListenRTU(addr string) (*Line, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for modbus rtu: %w", err)
	}
	l := newLine()
	l.url, l.end = "rtuovertcp://"+ln.Addr().String(), ln.Close
	l.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			l.accepted.Add(1)
			if !l.plug(c) {
				return
			}
			l.wg.Go(func() { l.listen(c) })
		}
	})
	return l, nil
}

// URL returns the address as a site file gives it.
func (l *Line) URL() string { return l.url }

// Accepted returns how many connections a gateway ever took.
func (l *Line) Accepted() int { return int(l.accepted.Load()) }

// Unit returns the meter with this unit id, and puts it on the line if it is
// not there.
func (l *Line) Unit(id uint8) *Unit {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.units[id]
	if u == nil {
		u = newUnit(id)
		l.units[id] = u
	}
	return u
}

// Inject puts octets on the line that nobody asked for.
func (l *Line) Inject(octets []byte) {
	l.mu.Lock()
	port := l.port
	l.mu.Unlock()
	if port != nil {
		port.Write(octets) // nobody hears: as on a real line
	}
}

// Frame returns a proper RTU frame of unit.
func Frame(unit uint8, pdu ...byte) []byte {
	f := append([]byte{unit}, pdu...)
	return binary.LittleEndian.AppendUint16(f, crc16(f))
}

// Close takes the line down and waits until everything on it has ended.
func (l *Line) Close() (err error) {
	l.closing.Do(func() {
		close(l.quit)
		err = l.end()
		l.plug(nil)
		l.wg.Wait()
	})
	return err
}

// plug makes port the one that listens, and unplugs the one before. It reports
// false when the line is closed.
func (l *Line) plug(port io.ReadWriteCloser) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.port != nil {
		l.port.Close() // its reader ends, and says nothing else
	}
	l.port = port
	select {
	case <-l.quit:
		if port != nil {
			port.Close() // as above
			l.port = nil
		}
		return false
	default:
		return true
	}
}

// listen takes requests from a port until it ends.
func (l *Line) listen(port io.ReadWriteCloser) {
	for {
		unit, pdu, err := readRTU(port)
		if err != nil {
			return
		}
		if !l.queue(heardRequest{unit, pdu, port}) {
			return
		}
	}
}

// queue puts a request behind those that came before. One of a connection that
// was unplugged meanwhile is lost: a line keeps the order in which it is asked.
func (l *Line) queue(q heardRequest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.port != q.port {
		return false
	}
	select {
	case l.heard <- q:
		return true
	default:
		return false // nobody asks that much without waiting
	}
}

// work carries out requests in their order, late ones included.
func (l *Line) work() {
	for {
		select {
		case <-l.quit:
			return
		case q := <-l.heard:
			l.mu.Lock()
			u := l.units[q.unit]
			l.mu.Unlock()
			if u == nil {
				continue
			}
			r := u.reply(q.pdu)
			f := Frame(r.unit, r.pdu...)
			switch r.fault.Kind {
			case Mute:
				continue
			case Drop:
				q.port.Close() // its reader ends, and says nothing else
				continue
			case Garbage:
				f = noise
			case Truncated:
				f = f[:len(f)/2]
			case BadLength:
				f[2] += 4
			case Late:
				if !wait(r.fault.Delay, l.quit) {
					return
				}
			}
			l.Inject(f)
		}
	}
}

// cap16 is above the octets that a write of many registers can carry.
const cap16 = 247

// readRTU reads one request. A frame with a bad check sum is passed over.
func readRTU(r io.Reader) (unit uint8, pdu []byte, err error) {
	for {
		f := make([]byte, 8, 256)
		if _, err := io.ReadFull(r, f); err != nil {
			return 0, nil, err
		}
		if f[1] == 16 && f[6] < cap16 {
			f = f[:9+int(f[6])]
			if _, err := io.ReadFull(r, f[8:]); err != nil {
				return 0, nil, err
			}
		}
		n := len(f) - 2
		if crc16(f[:n]) == binary.LittleEndian.Uint16(f[n:]) {
			return f[0], f[1:n], nil
		}
	}
}

// crc16 is the check sum of an RTU frame (Modbus over Serial Line V1.02, 6.2.2).
func crc16(octets []byte) uint16 {
	sum := uint16(0xffff)
	for _, o := range octets {
		sum ^= uint16(o)
		for range 8 {
			odd := sum&1 != 0
			sum >>= 1
			if odd {
				sum ^= 0xa001
			}
		}
	}
	return sum
}
