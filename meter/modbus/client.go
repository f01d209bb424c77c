package modbus

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	lib "github.com/simonvetter/modbus"
)

// Client is one connection to one meter, gateway or serial line, and so one bus.
// It is not safe for concurrent use: one goroutine owns it.
//
// Every call returns within the client's timeout, whatever the far end does.
// After an error that is not an [ExceptionError] the connection is closed and
// calls return [ErrClosed] until Open: a reply that comes late must not be
// taken for the answer to a later request. On a serial line Open then waits
// until the line is quiet, and each unit is asked its guard before anything
// else (see [Guard]).
type Client struct {
	bus  Bus
	conf lib.ClientConfiguration
	log  *slog.Logger

	limit time.Duration // for one call
	line  *line         // nil: closed, no dial under way
	open  bool
	// opened counts connections: what was asked on an earlier one is not gone on
	// with.
	opened int
	timer  *time.Timer

	lastAt time.Time // end of the last request, for the gap

	// Of a serial line; see guard.go.
	quiet      time.Duration
	quietUntil time.Time
	last       *line // the one before: it may still hold the port
	latest     time.Duration
	units      map[uint8]*standing
	claimed    map[uint8]map[Guard]bool
}

// NewClient returns a client of the bus at url that is not yet open. A nil log
// discards the log.
func NewClient(url string, timeout time.Duration, log *slog.Logger) (*Client, error) {
	return Bus{URL: url, Timeout: timeout}.Client(log)
}

// Client returns a client of the bus that is not yet open. A nil log discards
// the log.
func (b Bus) Client(log *slog.Logger) (*Client, error) {
	if err := b.complete(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Client{bus: b, log: log}
	c.conf = lib.ClientConfiguration{
		URL:     b.URL,
		Timeout: b.patience(),
		// Without a logger the library prints to standard output.
		Logger: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	c.limit = b.Timeout
	if b.serial() {
		c.conf.Speed, c.conf.StopBits, c.conf.Parity = uint(b.Baud), uint(b.Stop), parities[b.Parity]
		c.units, c.claimed = map[uint8]*standing{}, map[uint8]map[Guard]bool{}
		c.latest = latest
		c.quiet = max(b.Timeout, leastQuiet)
		// After a broken frame the library listens for another while, and says
		// what was wrong with it only then.
		c.limit = c.conf.Timeout + b.chars(longestFrame) + b.Timeout/10
	}
	c.timer = time.NewTimer(c.limit)
	c.timer.Stop()
	return c, nil
}

// URL returns the address of the far end.
func (c *Client) URL() string { return c.bus.URL }

// Open connects. On an open client it does nothing. When the dial takes longer
// than the timeout, it goes on, and the next Open waits for the same dial. On a
// serial line it first waits until the line is quiet.
func (c *Client) Open() error {
	if c.open {
		return nil
	}
	if c.line == nil {
		if err := c.settle(); err != nil {
			return fmt.Errorf("open %s: %w", c.bus.URL, err)
		}
		// A library client is used for one connection only: opening it twice
		// would leak the first socket.
		if err := c.bus.loadKeys(&c.conf); err != nil {
			return fmt.Errorf("open %s: %w", c.bus.URL, err)
		}
		mc, err := lib.NewClient(&c.conf)
		if err != nil {
			return fmt.Errorf("open %s: %w", c.bus.URL, err)
		}
		c.line = newLine(mc)
	}
	a, err := c.wait()
	if err != nil {
		return fmt.Errorf("open %s: no connection within %v: %w", c.bus.URL, c.limit, err)
	}
	if a.err != nil {
		c.line = nil
		return fmt.Errorf("open %s: %w", c.bus.URL, a.err)
	}
	c.open = true
	c.doubt()
	c.opened++
	return nil
}

// Close ends the connection. On a closed client it does nothing.
func (c *Client) Close() error {
	l := c.line
	c.line, c.open = nil, false
	if l == nil {
		return nil
	}
	close(l.quit)
	c.timer.Reset(c.bus.Timeout / 10)
	defer c.timer.Stop()
	select {
	case <-l.gone:
		return l.closed
	case <-c.timer.C:
		// Still inside the library, at most for its own timeout or dial.
		c.last = l
		return nil
	}
}

// ReadHolding reads n holding registers of unit from addr (function 3).
func (c *Client) ReadHolding(unit uint8, addr, n uint16) ([]uint16, error) {
	a, err := c.call(request{op: readHolding, unit: unit, addr: addr, n: n})
	return a.words, err
}

// ReadInput reads n input registers of unit from addr (function 4).
func (c *Client) ReadInput(unit uint8, addr, n uint16) ([]uint16, error) {
	a, err := c.call(request{op: readInput, unit: unit, addr: addr, n: n})
	return a.words, err
}

// ReadCoil reads one coil of unit (function 1).
func (c *Client) ReadCoil(unit uint8, addr uint16) (bool, error) {
	a, err := c.call(request{op: readCoil, unit: unit, addr: addr, n: 1})
	return a.on, err
}

// WriteHolding writes one holding register of unit (function 6). The reply has
// repeated address and value when it returns nil.
func (c *Client) WriteHolding(unit uint8, addr, value uint16) error {
	_, err := c.call(request{op: writeHolding, unit: unit, addr: addr, n: 1, value: value})
	return err
}

// WriteRegisters writes holding registers of unit from addr on (function 16). The
// reply repeats where they are and how many, and not what was written: read it
// back.
func (c *Client) WriteRegisters(unit uint8, addr uint16, words []uint16) error {
	_, err := c.call(request{op: writeRegisters, unit: unit, addr: addr, n: uint16(min(len(words), 1<<15)), words: words})
	return err
}

// WriteCoil writes one coil of unit (function 5).
func (c *Client) WriteCoil(unit uint8, addr uint16, on bool) error {
	_, err := c.call(request{op: writeCoil, unit: unit, addr: addr, n: 1, on: on})
	return err
}

// call carries out one request within the timeout. A connection that can no
// longer be trusted is closed.
func (c *Client) call(q request) (answer, error) {
	if !c.open {
		return answer{}, q.wrap(ErrClosed)
	}
	if q.n == 0 || q.n > 125 || q.op == writeRegisters && q.n > 123 || uint32(q.addr)+uint32(q.n) > 1<<16 {
		return answer{}, q.wrap(ErrRequest)
	}
	if err := c.prove(&q); err != nil {
		return answer{}, q.wrap(err)
	}
	a, err := c.exchange(q)
	if err == nil {
		c.settled(&q)
		return a, nil
	}
	if !keepsConnection(err) {
		c.owes(&q)
		err = c.drop(err)
	}
	return answer{}, q.wrap(err)
}

// exchange sends one request and takes what answers it.
func (c *Client) exchange(q request) (answer, error) {
	if rest := c.bus.Gap - time.Since(c.lastAt); rest > 0 {
		time.Sleep(rest)
	}
	c.line.ask <- q
	a, err := c.wait()
	c.lastAt = time.Now()
	if err == nil {
		err = translate(a.err)
	}
	if err == nil && q.op <= readInput && len(a.words) != int(q.n) {
		err = fmt.Errorf("%w: got %d registers, want %d", ErrBadFrame, len(a.words), q.n)
	}
	return a, err
}

// drop closes a connection on which it is not known what the next octets are.
func (c *Client) drop(err error) error {
	if closeErr := c.Close(); closeErr != nil {
		err = errors.Join(err, closeErr)
	}
	c.quietUntil = time.Now().Add(c.quiet)
	return err
}

// wait returns what the line answers, or ErrTimeout. It is the deadline of our
// own round every call into the library, which knows no context and dials for
// up to five seconds.
func (c *Client) wait() (answer, error) {
	c.timer.Reset(c.limit)
	defer c.timer.Stop()
	select {
	case a := <-c.line.reply:
		return a, nil
	case <-c.timer.C:
		return answer{}, ErrTimeout
	}
}

// line is one connection of the library with the goroutine that alone calls it.
type line struct {
	mc     *lib.ModbusClient
	ask    chan request
	reply  chan answer // never blocks: one request is under way at most
	quit   chan struct{}
	gone   chan struct{} // closed when the goroutine has ended
	closed error         // of the library's Close; read after gone
}

// newLine starts to dial; the first reply is the dial's result.
func newLine(mc *lib.ModbusClient) *line {
	l := &line{
		mc:    mc,
		ask:   make(chan request, 1),
		reply: make(chan answer, 1),
		quit:  make(chan struct{}),
		gone:  make(chan struct{}),
	}
	go l.serve()
	return l
}

// serve dials, answers until quit and hangs up.
func (l *line) serve() {
	defer close(l.gone)
	err := l.mc.Open()
	l.reply <- answer{err: err}
	if err != nil {
		return // there is nothing to close
	}
	for {
		select {
		case <-l.quit:
			l.closed = l.mc.Close()
			return
		case q := <-l.ask:
			l.reply <- l.do(q)
		}
	}
}

func (l *line) do(q request) (a answer) {
	// Unit id and request are two calls of the library; this goroutine is its
	// only caller, so nothing comes between them.
	if a.err = l.mc.SetUnitId(q.unit); a.err != nil {
		return a
	}
	switch q.op {
	case readHolding:
		a.words, a.err = l.mc.ReadRegisters(q.addr, q.n, lib.HOLDING_REGISTER)
	case readInput:
		a.words, a.err = l.mc.ReadRegisters(q.addr, q.n, lib.INPUT_REGISTER)
	case readCoil:
		a.on, a.err = l.mc.ReadCoil(q.addr)
	case writeHolding:
		a.err = l.mc.WriteRegister(q.addr, q.value)
	case writeCoil:
		a.err = l.mc.WriteCoil(q.addr, q.on)
	case writeRegisters:
		a.err = l.mc.WriteRegisters(q.addr, q.words)
	}
	return a
}

type operation uint8

const (
	readHolding operation = iota
	readInput
	readCoil
	writeHolding
	writeCoil
	writeRegisters
)

var operationNames = [...]string{
	"read holding register", "read input register", "read coil", "write holding register", "write coil", "write holding registers",
}

// request is one Modbus request; n is 1 for all that is of one register or coil.
type request struct {
	op      operation
	unit    uint8
	addr, n uint16
	value   uint16
	words   []uint16
	on      bool
}

// function is the function code of a register read.
func (q *request) function() uint8 {
	if q.op == readHolding {
		return 3
	}
	return 4
}

// wrap names the request in err.
func (q request) wrap(err error) error {
	return fmt.Errorf("%s 0x%04x+%d of unit %d: %w", operationNames[q.op], q.addr, q.n, q.unit, err)
}

type answer struct {
	words []uint16
	on    bool
	err   error
}
