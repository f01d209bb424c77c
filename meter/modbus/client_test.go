package modbus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"lvagent/meter/metertest"
)

// short is long enough for a loopback and short enough for a mute peer.
const short = 300 * time.Millisecond

func serve(t *testing.T) *metertest.Server {
	t.Helper()
	s, err := metertest.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newClient(t *testing.T, url string, timeout time.Duration) *Client {
	t.Helper()
	c, err := NewClient(url, timeout, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func open(t *testing.T, url string) *Client {
	t.Helper()
	c := newClient(t, url, short)
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNewClientRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		timeout   time.Duration
	}{
		{"serial line without a device", "rtu://", short},
		{"serial line on a host", "rtu://host/dev/ttyS0", short},
		{"rtu over tcp without a port", "rtuovertcp://10.0.0.1", short},
		{"tls without files", "tcp+tls://10.0.0.1:802", short},
		{"udp", "udp://10.0.0.1:502", short},
		{"no scheme", "10.0.0.1:502", short},
		{"no port", "tcp://10.0.0.1", short},
		{"no host", "tcp://:502", short},
		{"a path", "tcp://10.0.0.1:502/x", short},
		{"no timeout", "tcp://10.0.0.1:502", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := NewClient(tt.url, tt.timeout, nil); err == nil {
				t.Errorf("took %q with timeout %v", tt.url, tt.timeout)
			}
		})
	}
}

// The library panics on a read before Open.
func TestUseBeforeOpenAndAfterClose(t *testing.T) {
	s := serve(t)
	s.Unit(1).SetInput(0, 7)
	c := newClient(t, s.URL(), short)
	use := func(when string) {
		t.Helper()
		_, err1 := c.ReadInput(1, 0, 1)
		_, err2 := c.ReadCoil(1, 0)
		err3 := c.WriteHolding(1, 0, 1)
		for _, err := range []error{err1, err2, err3} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v, want ErrClosed", when, err)
			}
		}
	}
	if err := c.Close(); err != nil {
		t.Errorf("close before open: %v", err)
	}
	use("before open")
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	use("after close")
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	if w, err := c.ReadInput(1, 0, 1); err != nil || w[0] != 7 {
		t.Errorf("after the second open: %v, %v", w, err)
	}
}

// The library leaks a socket on each Open of an open client.
func TestOpenTwiceIsOneConnection(t *testing.T) {
	s := serve(t)
	c := open(t, s.URL())
	s.Unit(1).SetInput(0, 7)
	for range 5 {
		if err := c.Open(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.ReadInput(1, 0, 1); err != nil { // the server has accepted by now
		t.Fatal(err)
	}
	if n := s.Accepted(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestReadsAndWrites(t *testing.T) {
	s := serve(t)
	u := s.Unit(9)
	u.SetInput(0x10, 1, 2, 3)
	u.SetHolding(0x10, 4, 5, 6)
	u.SetCoil(3, true)
	u.SetCoil(4, true)
	c := open(t, s.URL())
	if w, err := c.ReadInput(9, 0x10, 3); fmt.Sprint(w, err) != "[1 2 3] <nil>" {
		t.Errorf("input registers: %v, %v", w, err)
	}
	if w, err := c.ReadHolding(9, 0x11, 2); fmt.Sprint(w, err) != "[5 6] <nil>" {
		t.Errorf("holding registers: %v, %v", w, err)
	}
	if on, err := c.ReadCoil(9, 3); !on || err != nil {
		t.Errorf("coil: %v, %v", on, err)
	}
	if err := c.WriteHolding(9, 0x12, 40); err != nil {
		t.Error(err)
	}
	if w, _ := u.Holding(0x12); w != 40 {
		t.Errorf("holding register is %d, want 40", w)
	}
	if err := c.WriteCoil(9, 4, false); err != nil {
		t.Error(err)
	}
	if on, _ := u.Coil(4); on {
		t.Error("coil is on, want off")
	}
}

func TestImpossibleRequestsAreNotSent(t *testing.T) {
	s := serve(t)
	c := open(t, s.URL())
	u := s.Unit(1)
	for _, q := range []struct{ addr, n uint16 }{{0, 0}, {0, 126}, {0xffff, 2}} {
		if _, err := c.ReadInput(1, q.addr, q.n); !errors.Is(err, ErrRequest) {
			t.Errorf("read 0x%x+%d: %v, want ErrRequest", q.addr, q.n, err)
		}
	}
	u.SetInput(0xffff, 5)
	if w, err := c.ReadInput(1, 0xffff, 1); err != nil || w[0] != 5 {
		t.Errorf("the last register: %v, %v", w, err)
	}
	if n := u.Requests(); n != 1 {
		t.Errorf("%d requests sent, want 1", n)
	}
}

// Only an exception keeps the connection.
func TestFaultsOnTheWire(t *testing.T) {
	for _, tt := range []struct {
		fault metertest.Fault
		want  error // nil: an ExceptionError
		code  uint8
	}{
		{metertest.Fault{Kind: metertest.Exceptional, Code: 2}, nil, 2},
		{metertest.Fault{Kind: metertest.Exceptional, Code: 6}, nil, 6},
		{metertest.Fault{Kind: metertest.Exceptional, Code: 0x42}, nil, 0}, // the library has no type for it
		{metertest.Fault{Kind: metertest.Mute}, ErrTimeout, 0},
		{metertest.Fault{Kind: metertest.WrongTransaction}, ErrTimeout, 0},
		{metertest.Fault{Kind: metertest.Late, Delay: 2 * short}, ErrTimeout, 0},
		{metertest.Fault{Kind: metertest.ShortFrame}, ErrBadFrame, 0},
		{metertest.Fault{Kind: metertest.Garbage}, ErrBadFrame, 0},
		{metertest.Fault{Kind: metertest.WrongUnit}, ErrBadFrame, 0},
		{metertest.Fault{Kind: metertest.Drop}, io.EOF, 0},
	} {
		for _, op := range []string{"read", "write"} {
			t.Run(fmt.Sprintf("%s %s %d", op, tt.fault.Kind, tt.fault.Code), func(t *testing.T) {
				s := serve(t)
				u := s.Unit(1)
				u.SetInput(0, 7)
				u.SetHolding(0, 7)
				c := open(t, s.URL())
				u.Break(tt.fault)
				var err error
				if op == "read" {
					var w []uint16
					w, err = c.ReadInput(1, 0, 1)
					if w != nil {
						t.Errorf("got registers %v", w)
					}
				} else {
					err = c.WriteHolding(1, 0, 8)
				}
				var ex *ExceptionError
				if isException := errors.As(err, &ex); isException != (tt.want == nil) {
					t.Fatalf("got %v", err)
				}
				if tt.want == nil && ex.Code != tt.code {
					t.Errorf("exception %d, want %d", ex.Code, tt.code)
				}
				if tt.want != nil && !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				u.Heal()
				_, err = c.ReadInput(1, 0, 1)
				if closed := errors.Is(err, ErrClosed); closed != (tt.want != nil) {
					t.Errorf("afterwards: %v", err)
				}
				if err := c.Open(); err != nil {
					t.Fatal(err)
				}
				if _, err := c.ReadInput(1, 0, 1); err != nil {
					t.Errorf("after a new open: %v", err)
				}
			})
		}
	}
}

// A peer that accepts and then never says a word.
func TestMutePeer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c := newClient(t, "tcp://"+ln.Addr().String(), short)
	for range 2 {
		if err := c.Open(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ReadInput(1, 0, 30); !errors.Is(err, ErrTimeout) {
			t.Errorf("read: %v, want ErrTimeout", err)
		}
	}
}

// A peer that takes no connection and refuses none, such as one without power
// behind a switch. The library dials for five seconds; the bus must not wait.
func TestDialThatHangs(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	// Nobody accepts: the queue is full after a connection or two, and the
	// kernel then drops what comes.
	for {
		conn, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			break
		}
		defer conn.Close()
	}
	c := newClient(t, "tcp://"+addr, short)
	if err := c.Open(); !errors.Is(err, ErrTimeout) {
		t.Fatalf("open: %v, want ErrTimeout", err)
	}
	first := c.line
	if _, err := c.ReadInput(1, 0, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("read while dialling: %v, want ErrClosed", err)
	}
	if err := c.Open(); !errors.Is(err, ErrTimeout) {
		t.Errorf("second open: %v, want ErrTimeout", err)
	}
	if c.line != first {
		t.Error("the second open started a second dial")
	}
	if err := c.Close(); err != nil {
		t.Errorf("close while dialling: %v", err)
	}
}

func TestRefusedConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	c := newClient(t, "tcp://"+ln.Addr().String(), short)
	for range 2 {
		if err := c.Open(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("open: %v, want connection refused", err)
		}
	}
}

// A server that comes back on its port is found by the same client.
func TestServerRestarts(t *testing.T) {
	s := serve(t)
	c := open(t, s.URL())
	addr := s.Addr()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadInput(1, 0, 1); err == nil || keepsConnection(err) {
		t.Fatalf("read from a dead server: %v", err)
	}
	s, err := metertest.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Unit(1).SetInput(0, 9)
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	if w, err := c.ReadInput(1, 0, 1); err != nil || w[0] != 9 {
		t.Errorf("after the restart: %v, %v", w, err)
	}
}

// What the library has to say goes to our log; without a logger it prints.
func TestLibraryDoesNotPrint(t *testing.T) {
	s := serve(t)
	s.Unit(1).SetInput(0, 7)
	s.Unit(1).Break(metertest.Fault{Kind: metertest.WrongTransaction})
	var log bytes.Buffer
	for _, l := range []*slog.Logger{nil, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))} {
		printed := capture(t, func() {
			c, err := NewClient(s.URL(), short, l)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Open(); err != nil {
				t.Fatal(err)
			}
			if _, err := c.ReadInput(1, 0, 1); !errors.Is(err, ErrTimeout) {
				t.Errorf("read: %v, want ErrTimeout", err)
			}
		})
		if printed != "" {
			t.Errorf("printed %q", printed)
		}
	}
	if !strings.Contains(log.String(), "unexpected transaction id") {
		t.Errorf("log lacks the library's warning:\n%s", &log)
	}
}

// capture returns what f writes to standard output.
func capture(t *testing.T, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = stdout }()
	f()
	w.Close()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestErrorNamesTheRequest(t *testing.T) {
	s := serve(t)
	s.Unit(5)
	c := open(t, s.URL())
	_, err := c.ReadInput(5, 0xe0, 2)
	const want = "read input register 0x00e0+2 of unit 5: exception 2: illegal data address"
	if err == nil || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}
