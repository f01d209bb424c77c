package uplink

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"lvagent/agent/message"
)

// A broker of MQTT 3.1.1 acknowledges what its access list made it throw away,
// so an acknowledgement proves nothing about the list. The self-test does: the
// agent sends a message to a topic of its own that it listens to, and waits for
// it to come back.
//
// A self-test that fails does not stop the agent from sending. It can mean that
// the list lacks one line for one topic, and an RTU that falls silent for that is
// worse than the fault. It is an alarm; what was swallowed meanwhile can be asked
// for again, since the store keeps what was acknowledged.
const (
	selftestAgain  = time.Hour
	selftestFailed = time.Minute
)

var errSelftestDenied = errors.New("the broker denies the subscription")

// selftest is one connection's.
type selftest struct {
	wait   time.Duration // 0: none is made
	denied bool
	nonce  string
	sent   time.Time // of the one that runs; zero: none runs
	due    time.Time
	echoes chan string
}

// echo takes what came in on the topic of self-tests. It does not wait: one that
// finds no room was not asked for.
func (s *selftest) echo(payload []byte) {
	var said struct {
		Nonce string `json:"nonce"`
	}
	if len(payload) > 1024 || json.Unmarshal(payload, &said) != nil {
		return
	}
	select {
	case s.echoes <- said.Nonce:
	default:
	}
}

// beginSelftest sends a test when one is due and there is room for it.
func (s *session) beginSelftest(now time.Time) {
	t := &s.test
	if t.wait == 0 || t.denied || !t.sent.IsZero() || now.Before(t.due) || s.flying == len(s.flights) {
		return
	}
	t.nonce, t.sent = rand.Text(), now
	f := s.free()
	f.lane, f.n, f.backlog = nil, 0, false
	f.payload = message.AppendSelftest(f.payload[:0], s.u.cfg.ClientID, t.nonce, s.u.cfg.Now())
	s.publish(f, s.u.cfg.Topics.Selftest(), false)
}

// hearEcho ends the test that runs, if the echo is its own.
func (s *session) hearEcho(nonce string) {
	if t := &s.test; !t.sent.IsZero() && nonce == t.nonce {
		t.sent, t.due = time.Time{}, time.Now().Add(selftestAgain)
		s.u.setSelftest(nil)
	}
}

// watchSelftest gives up a test without echo.
func (s *session) watchSelftest(now time.Time) {
	if t := &s.test; !t.sent.IsZero() && now.Sub(t.sent) > t.wait {
		t.sent, t.due = time.Time{}, now.Add(selftestFailed)
		s.u.setSelftest(fmt.Errorf("nothing came back on %s in %s: the broker's access list may swallow what is sent",
			s.u.cfg.Topics.Selftest(), t.wait))
	}
}

// setSelftest notes how the last self-test went, and logs a change.
func (u *Uplink) setSelftest(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	u.mu.Lock()
	was := u.state.Selftest
	u.state.Selftest = text
	u.mu.Unlock()
	switch {
	case text != "" && was == "":
		u.cfg.Log.Error("self-test of the broker failed", "err", err)
	case text == "" && was != "":
		u.cfg.Log.Info("self-test of the broker passed again")
	}
}
