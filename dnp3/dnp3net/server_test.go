package dnp3net

import (
	"context"
	"testing"
	"time"

	"lvagent/dnp3"
	"lvagent/dnp3/dnp3test"
)

// controls counts what was operated, and answers with status.
type controls struct {
	status   dnp3.Status
	operated []dnp3.Command
}

func (c *controls) Select(uint16, dnp3.Command) dnp3.Status { return c.status }
func (c *controls) Operate(_ uint16, cmd dnp3.Command) dnp3.Status {
	c.operated = append(c.operated, cmd)
	return c.status
}

func serve(t *testing.T, c Config) *Server {
	t.Helper()
	c.Listen = "127.0.0.1:0"
	s, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return s
}

func dial(t *testing.T, s *Server, address uint16) *dnp3test.Master {
	t.Helper()
	m, err := dnp3test.Dial(s.Addr().String(), dnp3test.Config{Address: address, Outstation: 1024})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func station(h dnp3.Controls, masters ...dnp3.Master) dnp3.Config {
	c := dnp3.Config{Address: 1024, Masters: masters, Controls: h, SetTime: func(uint16, int64) bool { return true }}
	for i := range uint16(300) {
		c.Points = append(c.Points,
			dnp3.Point{Type: dnp3.AnalogInput, Index: i, Class: dnp3.Class2, Deadband: 1},
			dnp3.Point{Type: dnp3.BinaryInput, Index: i, Class: dnp3.Class1},
			dnp3.Point{Type: dnp3.Counter, Index: i, Class: dnp3.Class3})
	}
	c.Points = append(c.Points, dnp3.Point{Type: dnp3.BinaryOutput, Index: 0}, dnp3.Point{Type: dnp3.AnalogOutput, Index: 0, Class: dnp3.Class1})
	return c
}

func TestConversation(t *testing.T) {
	h := &controls{}
	s := serve(t, Config{Station: station(h, dnp3.Master{Address: 1, Unsolicited: true}), PlainControls: true})
	if err := s.Update(dnp3.Change{Type: dnp3.AnalogInput, Index: 299, Number: 241.5, Flags: dnp3.Online, Time: 1_700_000_000_000}); err != nil {
		t.Fatal(err)
	}
	m := dial(t, s, 1)
	null, err := m.WaitUnsolicited(5 * time.Second)
	if err != nil || len(null.Objects) != 0 {
		t.Fatalf("first unsolicited response: %v, %v", null, err)
	}
	r, err := m.IntegrityPoll()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Objects); n != 1+4*300+2 {
		t.Errorf("%d objects, want an event and 1202 values", n)
	}
	if e := r.Objects[0]; e.String() != "g32v7[299] 241.5 flags 01 at 1700000000000" {
		t.Errorf("event %v", e)
	}
	if r, err := m.SyncTime(time.Now); err != nil || r.IIN&(dnp3test.IINErrors|dnp3test.IINNeedTime) != 0 {
		t.Errorf("time: indications %04x, %v", r.IIN, err)
	}
	if st, err := m.SelectOperate(dnp3test.Relay(0, dnp3test.LatchOn)); err != nil || len(st) != 1 || st[0] != 0 {
		t.Errorf("select and operate: %v, %v", st, err)
	}
	if st, err := m.DirectOperate(dnp3test.Setpoint(0, 16.5)); err != nil || len(st) != 1 || st[0] != 0 {
		t.Errorf("direct operate: %v, %v", st, err)
	}
	if r, err := m.Do(dnp3test.FuncEnable, dnp3test.Classes(1, 2, 3)); err != nil || r.IIN&dnp3test.IINErrors != 0 {
		t.Errorf("enable: %04x, %v", r.IIN, err)
	}
	if err := s.Update(dnp3.Change{Type: dnp3.BinaryInput, Index: 299, Number: 1, Flags: dnp3.Online, Time: 1_700_000_000_123}); err != nil {
		t.Fatal(err)
	}
	u, err := m.WaitUnsolicited(5 * time.Second)
	if err != nil || len(u.Objects) != 1 || u.Objects[0].String() != "g2v2[299] 1 flags 01 at 1700000000123" {
		t.Errorf("unsolicited response %v, %v", u.Objects, err)
	}
	if len(h.operated) != 2 {
		t.Errorf("%d commands operated, want 2", len(h.operated))
	}
}
