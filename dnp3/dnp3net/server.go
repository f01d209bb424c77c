// Package dnp3net serves a DNP3 outstation over TCP and TLS: the only I/O of
// the DNP3 tree.
//
// One goroutine owns the outstation. Each connection has a reader, which hands
// octets over and reads on only when they were dealt with and the answers to
// them taken by the peer, and a writer. No master therefore waits for another,
// and a peer costs bounded memory whatever it sends or does not take.
//
// Requirement: SmartCAR R4, R16.
package dnp3net

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"lvagent/dnp3"
)

// ErrBehind says that the server has not taken in what it was told before.
var ErrBehind = errors.New("the outstation is behind")

// mostNotes is how many updates may wait to be taken in.
const mostNotes = 1 << 16

// Server serves one outstation. Its methods may be called from any goroutine
// except from within the functions of its configuration.
type Server struct {
	config   Config
	listener net.Listener
	station  *dnp3.Outstation
	started  time.Time
	inbox    chan message
	wake     chan struct{}
	done     chan struct{} // closed when the loop has ended
	wg       sync.WaitGroup

	mu    sync.Mutex
	notes []note
	short bool // updates were dropped: events may be missing

	// Owned by the loop.
	conns       []*conn
	taken       []note
	settings    bool   // a master changed one since the last Keep
	kept        uint64 // revision
	urgent      uint64 // the same, of events of class 1
	keptAt      time.Duration
	refused     uint64
	lastRefused string
}

// note is an update, or something else to be done in the loop.
type note struct {
	change dnp3.Change
	do     func(o *dnp3.Outstation, now time.Duration)
}

// Listen checks the configuration, takes in what was saved, and opens the
// port. Serving begins with [Server.Run]. A damaged Saved is an error that
// wraps [dnp3.ErrSaved]; listen again without it then.
func Listen(config Config) (*Server, error) {
	config, err := config.withDefaults()
	s := &Server{inbox: make(chan message), wake: make(chan struct{}, 1), done: make(chan struct{}), started: time.Now()}
	told := config.Station.Settings
	config.Station.Settings = func() {
		s.settings = true
		if told != nil {
			told()
		}
	}
	station, errStation := dnp3.New(config.Station)
	if err := errors.Join(err, errStation); err != nil {
		return nil, err
	}
	if len(config.Saved) > 0 {
		if err := station.Restore(config.Saved); err != nil {
			return nil, fmt.Errorf("restore outstation: %w", err)
		}
	}
	if config.Lost {
		station.Lost()
	}
	config.Saved = nil
	if s.listener, err = net.Listen("tcp", config.Listen); err != nil {
		return nil, fmt.Errorf("serve dnp3: %w", err)
	}
	s.config, s.station, s.kept = config, station, station.Revision()
	return s, nil
}

// Addr is the address that is listened on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Update takes new values in, in order. It never waits. When more than some
// 65,000 have not been taken in yet, the rest is dropped with [ErrBehind].
func (s *Server) Update(changes ...dnp3.Change) error {
	s.mu.Lock()
	room := min(len(changes), mostNotes-len(s.notes))
	for _, c := range changes[:room] {
		s.notes = append(s.notes, note{change: c})
	}
	s.mu.Unlock()
	s.ring()
	if room < len(changes) {
		s.mu.Lock()
		s.short = true
		s.mu.Unlock()
		return fmt.Errorf("%w: %d updates dropped", ErrBehind, len(changes)-room)
	}
	return nil
}

// Post has something done with the outstation, after the updates before it. It
// never waits; do must not either.
func (s *Server) Post(do func(o *dnp3.Outstation, now time.Duration)) error {
	s.mu.Lock()
	full := len(s.notes) >= mostNotes
	if !full {
		s.notes = append(s.notes, note{do: do})
	}
	s.mu.Unlock()
	s.ring()
	if full {
		return ErrBehind
	}
	return nil
}

// Ask is Post, and waits until it is done.
func (s *Server) Ask(ctx context.Context, do func(o *dnp3.Outstation, now time.Duration)) error {
	done := make(chan struct{})
	err := s.Post(func(o *dnp3.Outstation, now time.Duration) {
		defer close(done)
		do(o, now)
	})
	if err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-s.done:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Server) ring() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run serves until ctx is done, and returns when every goroutine has ended.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	if s.config.Keep != nil {
		// At once: what was saved at the end of the run before is no longer all.
		s.noteKept(s.now())
		s.config.Keep(s.station.Save(nil))
	}
	s.wg.Go(func() { s.accept(ctx) })
	err := s.loop(ctx)
	cancel()
	for _, c := range s.conns {
		c.shut()
	}
	errClose := s.listener.Close()
	close(s.done)
	s.wg.Wait()
	s.takeNotes()
	if s.config.Keep != nil {
		s.config.Keep(s.station.SaveLast(nil))
	}
	if errClose != nil && err == nil {
		err = fmt.Errorf("serve dnp3: %w", errClose)
	}
	return err
}

func (s *Server) now() time.Duration { return time.Since(s.started) }

func (s *Server) wall() int64 { return s.config.Wall().UnixMilli() }

func (s *Server) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
			s.takeNotes()
		case m := <-s.inbox:
			// First what was told before: a poll sees it.
			s.takeNotes()
			s.handle(m)
		case <-timer.C:
		}
		now := s.now()
		s.station.Tick(now, s.wall())
		for i := len(s.conns) - 1; i >= 0; i-- { // one that is dropped goes from the list
			s.flush(s.conns[i])
		}
		s.keep()
		at, ok := s.station.Deadline()
		if due, is := s.keepDue(); is && (!ok || due < at) {
			at, ok = due, true
		}
		if ok {
			timer.Reset(max(0, at-s.now()))
		} else {
			timer.Stop()
		}
	}
}

// takeNotes takes in what was told.
func (s *Server) takeNotes() {
	s.mu.Lock()
	s.taken, s.notes = s.notes, s.taken[:0]
	short := s.short
	s.short = false
	s.mu.Unlock()
	now := s.now()
	for i := range s.taken {
		n := &s.taken[i]
		if n.do != nil {
			n.do(s.station, now)
		} else if err := s.station.Update(n.change, now); err != nil {
			s.config.Log.Error("update of a point that is not there", "err", err)
		}
		*n = note{}
	}
	if short {
		s.station.Lost()
	}
	if cap(s.taken) > 4096 {
		s.taken = nil // a burst is over: its space is not kept
	}
}

// keep hands over what should outlive a restart, when it is due.
func (s *Server) keep() {
	now := s.now()
	if at, ok := s.keepDue(); !ok || now < at && !s.settings {
		return
	}
	s.noteKept(now)
	s.config.Keep(s.station.Save(nil))
}

func (s *Server) noteKept(now time.Duration) {
	s.kept, s.urgent, s.keptAt, s.settings = s.station.Revision(), s.station.Urgent(), now, false
}

// keepDue says when something is to be kept; false: there is nothing new.
func (s *Server) keepDue() (at time.Duration, ok bool) {
	switch {
	case s.config.Keep == nil || s.kept == s.station.Revision():
		return 0, false
	case s.urgent != s.station.Urgent():
		return s.keptAt + min(s.config.KeepSoon, s.config.KeepEvery), true
	}
	return s.keptAt + s.config.KeepEvery, true
}
