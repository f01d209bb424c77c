package bench

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// joined is a link to a far end that a test holds, and one connection over it.
func joined(t *testing.T) (link *Link, near, far net.Conn, again func() (near, far net.Conn)) {
	t.Helper()
	end, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end.Close() })
	link, err = NewLink(end.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	again = func() (net.Conn, net.Conn) {
		near, err := net.Dial("tcp", link.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { near.Close() })
		far, err := end.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { far.Close() })
		link.mu.Lock()
		hole := link.line.Blackhole
		link.mu.Unlock()
		if !hole { // the far end is dialled before the link has joined the two
			send(t, near, pings(2))
			receive(t, far, 2)
		}
		return near, far
	}
	near, far = again()
	return link, near, far, again
}

// pings are n octets of MQTT.
func pings(n int) []byte { return bytes.Repeat([]byte{0xc0, 0}, n/2) }

func send(t *testing.T, c net.Conn, octets []byte) {
	t.Helper()
	if _, err := c.Write(octets); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c net.Conn, n int) []byte {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	octets := make([]byte, n)
	if _, err := io.ReadFull(c, octets); err != nil {
		t.Fatal(err)
	}
	return octets
}

// nothing demands that a connection says nothing for a while, and stands.
func nothing(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d octets, %v; want a silent connection", n, err)
	}
}

// No octet comes through sooner than the conditions allow; a slower machine only
// makes it later. Both directions have the line to themselves.
func TestLinkIsSlow(t *testing.T) {
	const octets = 8000
	tests := []struct {
		name  string
		line  Conditions
		least time.Duration
	}{
		{"64 kbit/s", Conditions{Rate: 64_000}, time.Second},
		{"delay", Conditions{Delay: 300 * time.Millisecond}, 300 * time.Millisecond},
		{"both", Conditions{Rate: 64_000, Delay: 300 * time.Millisecond}, 1300 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			link, near, far, _ := joined(t)
			link.Set(tt.line)
			for name, way := range map[string]struct{ from, to net.Conn }{"up": {near, far}, "down": {far, near}} {
				began := time.Now()
				send(t, way.from, pings(octets))
				if got := receive(t, way.to, octets); !bytes.Equal(got, pings(octets)) {
					t.Errorf("%s: other octets came through", name)
				}
				if took := time.Since(began); took < tt.least {
					t.Errorf("%s: %d octets in %v, want at least %v", name, octets, took, tt.least)
				}
			}
		})
	}
}

// Two connections share the line.
func TestConnectionsShareTheLine(t *testing.T) {
	link, a, afar, again := joined(t)
	b, bfar := again()
	link.Set(Conditions{Rate: 64_000})
	began := time.Now()
	send(t, a, pings(4000))
	send(t, b, pings(4000))
	receive(t, afar, 4000)
	receive(t, bfar, 4000)
	if took := time.Since(began); took < time.Second {
		t.Errorf("twice 4000 octets in %v, want at least a second", took)
	}
}

// In a black hole connections stand and nothing passes, for new ones too; when it
// is over all of it comes.
func TestBlackhole(t *testing.T) {
	link, near, far, again := joined(t)
	link.Set(Conditions{Blackhole: true})
	send(t, near, pings(4))
	send(t, far, []byte{0xd0, 0})
	new, newFar := again()
	send(t, new, pings(2))
	nothing(t, far)
	nothing(t, near)
	nothing(t, newFar)
	link.Set(Conditions{})
	receive(t, far, 4)
	receive(t, near, 2)
	receive(t, newFar, 2)
}

// A half-open connection takes what it is given and says nothing; the far end is
// gone. New connections are whole.
func TestHalfOpen(t *testing.T) {
	link, near, far, again := joined(t)
	if n := link.HalfOpen(); n != 1 {
		t.Fatalf("%d connections were opened by half, want 1", n)
	}
	far.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := far.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) || err == nil {
		t.Errorf("the far end reads %v, want the end", err)
	}
	send(t, near, pings(2))
	nothing(t, near)
	whole, wholeFar := again()
	send(t, whole, pings(2))
	receive(t, wholeFar, 2)
	if n := link.HalfOpen(); n != 1 {
		t.Errorf("%d connections were opened by half, want the new one only", n)
	}
	link.Cut()
	near.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := near.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) || err == nil {
		t.Errorf("after the cut the near end reads %v, want the end", err)
	}
}

// A link that is cut in a black hole ends, and what waited in it is gone.
func TestCutInABlackhole(t *testing.T) {
	link, near, far, again := joined(t)
	link.Set(Conditions{Blackhole: true})
	send(t, near, pings(100_000))
	link.Cut()
	if got, err := io.ReadAll(far); len(got) != 0 {
		t.Errorf("%d octets came through, %v", len(got), err)
	}
	link.Set(Conditions{})
	if err := link.Restore(); err != nil {
		t.Fatal(err)
	}
	near, far = again()
	send(t, near, pings(2))
	receive(t, far, 2)
}
