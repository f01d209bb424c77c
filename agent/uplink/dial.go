package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"
)

// endpoint returns the address that a broker's URL stands for, and whether the
// connection is a TLS one.
func endpoint(broker *url.URL) (address string, secure bool) {
	port := "1883"
	switch broker.Scheme {
	case "tls", "ssl", "mqtts":
		port, secure = "8883", true
	}
	if p := broker.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(broker.Hostname(), port), secure
}

// open dials a broker and, where its URL says so, shakes hands. There is no way
// to a broker that nobody vouches for: a handshake that fails is a connection
// that fails.
func (c *Config) open(ctx context.Context, broker *url.URL) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.ConnectTimeout)
	defer cancel()
	address, secure := endpoint(broker)
	conn, err := c.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if !secure {
		return conn, nil
	}
	settings := new(tls.Config)
	if c.TLS != nil {
		if settings, err = c.TLS(); err != nil {
			conn.Close()
			return nil, err
		}
	}
	settings.ServerName = broker.Hostname()
	secured := tls.Client(conn, settings)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// link is a connection on which each write has a deadline, the library's ping
// too, and on which nothing larger than a command may be is read into memory.
type link struct {
	net.Conn
	writeTimeout time.Duration
	in           narrowed
}

func newLink(conn net.Conn, writeTimeout time.Duration) *link {
	return &link{Conn: conn, writeTimeout: writeTimeout, in: narrowed{from: conn}}
}

func (l *link) Write(p []byte) (int, error) {
	if err := l.SetWriteDeadline(time.Now().Add(l.writeTimeout)); err != nil {
		return 0, err
	}
	n, err := l.Conn.Write(p)
	if err != nil {
		// The library forgets the error of a ping; its next read must not.
		err = errors.Join(err, l.SetReadDeadline(time.Unix(1, 0)))
	}
	return n, err
}

func (l *link) Read(p []byte) (int, error) { return l.in.Read(p) }

// mostPacket is the largest packet that is read whole: a command of the most
// octets there may be, and one more by which it is seen to be too large, with
// the longest topic.
const mostPacket = 64<<10 + 1 + 64<<10 + 4

// errPacket is a packet that no broker has a reason to send.
var errPacket = errors.New("packet larger than a command may be")

const (
	packetPublish = 3 // MQTT 3.1.1, table 2.1
	longestHead   = 5
)

// narrowed reads MQTT packets and cuts a publication that is too large after
// mostPacket octets: the library makes room for as much as a header announces,
// up to 256 MB, and a retained giant would come again at each connection. What
// is left of it is still larger than a command may be, and is refused as that.
type narrowed struct {
	from io.Reader
	head [longestHead]byte // of the packet, as it is passed on
	have int               // octets of head
	give int               // of which were given
	pass int               // octets of the body to pass on
	skip int               // octets after those to throw away
}

func (n *narrowed) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		switch {
		case n.give < n.have:
			k := copy(p, n.head[n.give:n.have])
			n.give += k
			return k, nil
		case n.pass > 0:
			k, err := n.from.Read(p[:min(len(p), n.pass)])
			n.pass -= k
			return k, err
		case n.skip > 0:
			var waste [4096]byte
			k, err := n.from.Read(waste[:min(len(waste), n.skip)])
			n.skip -= k
			if err != nil {
				return 0, err
			}
		default:
			if err := n.next(); err != nil {
				return 0, err
			}
		}
	}
}

// next reads the fixed header of a packet (MQTT 3.1.1, 2.2), one octet at a
// time: what follows it is passed through without a copy.
func (n *narrowed) next() error {
	n.have, n.give = 0, 0
	length := 0
	for {
		if _, err := io.ReadFull(n.from, n.head[n.have:n.have+1]); err != nil {
			return err
		}
		n.have++
		if n.have == 1 {
			continue
		}
		b := n.head[n.have-1]
		length |= int(b&0x7f) << (7 * (n.have - 2))
		if b&0x80 == 0 {
			break
		}
		if n.have == longestHead {
			return fmt.Errorf("read packet: length of more than 4 octets: %w", errPacket)
		}
	}
	n.pass, n.skip = length, 0
	if length <= mostPacket {
		return nil
	}
	if n.head[0]>>4 != packetPublish {
		return fmt.Errorf("read packet of type %d, %d octets: %w", n.head[0]>>4, length, errPacket)
	}
	n.pass, n.skip = mostPacket, length-mostPacket
	n.have = 1
	for rest := mostPacket; ; n.have++ {
		n.head[n.have] = byte(rest & 0x7f)
		if rest >>= 7; rest == 0 {
			n.have++
			return nil
		}
		n.head[n.have] |= 0x80
	}
}
