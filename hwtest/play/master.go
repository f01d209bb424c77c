package play

import (
	"fmt"
	"strconv"
	"time"

	"lvagent/dnp3/dnp3test"
	"lvagent/hwtest/scenario"
)

// master polls the agent's outstation and operates its points. One goroutine
// owns the connection.
type master struct {
	p       *player
	address string
	orders  chan order
	quit    chan struct{}
	seen    map[string]float64
}

type order struct {
	object []byte
	answer chan uint8 // the status
}

const (
	dnp3Every    = 250 * time.Millisecond
	outstation   = 1024
	notConnected = 255 // a status that DNP3 does not have
)

func newMaster(p *player, address string) *master {
	m := &master{p: p, address: address, orders: make(chan order), quit: make(chan struct{}), seen: map[string]float64{}}
	p.background(m.run)
	return m
}

func (m *master) close() { close(m.quit) }

// run connects again and again: the agent may be down by the scenario's will.
func (m *master) run() {
	for {
		conn, err := dnp3test.Dial(m.address, dnp3test.Config{Address: 1, Outstation: outstation, Timeout: 2 * time.Second})
		if err == nil {
			m.poll(conn)
			conn.Close()
		}
		select {
		case <-m.quit:
			return
		case o := <-m.orders:
			o.answer <- notConnected
		case <-time.After(dnp3Every):
		}
	}
}

// poll polls until the connection fails.
func (m *master) poll(conn *dnp3test.Master) {
	tick := time.NewTicker(dnp3Every)
	defer tick.Stop()
	for {
		r, err := conn.IntegrityPoll()
		if err != nil {
			return
		}
		for _, o := range r.Objects {
			m.note(o)
		}
		select {
		case <-m.quit:
			return
		case o := <-m.orders:
			statuses, err := conn.SelectOperate(o.object)
			if err != nil || len(statuses) == 0 {
				o.answer <- notConnected
				return
			}
			o.answer <- statuses[0]
		case <-tick.C:
		}
	}
}

// note writes a static value down when it has changed. A value that is not
// online is none.
func (m *master) note(o dnp3test.Object) {
	kind := scenario.BinaryIn
	switch {
	case o.IsEvent():
		return
	case o.Group == 1:
	case o.Group == 30:
		kind = scenario.AnalogIn
	default:
		return
	}
	if o.HasFlags && o.Flags&1 == 0 {
		return
	}
	key := strconv.Itoa(int(o.Index))
	id := string(kind) + key
	if was, known := m.seen[id]; known && was == o.Value {
		return
	}
	m.seen[id] = o.Value
	m.p.add(scenario.Observation{Kind: kind, Key: key, Number: o.Value, Slack: max(o.Value, -o.Value) / 200})
}

// operate selects and operates a point. Another status than the one that the
// scenario wants is a failure of the agent, written down as such.
func (m *master) operate(d *scenario.Operate) error {
	var object []byte
	what := ""
	if d.Analog != nil {
		object, what = dnp3test.Setpoint(uint16(*d.Analog), float32(d.Value)), fmt.Sprintf("analog output %d to %v", *d.Analog, d.Value)
	} else {
		code := uint8(dnp3test.LatchOn)
		if d.On != nil && !*d.On {
			code = dnp3test.LatchOff
		}
		object, what = dnp3test.Relay(uint16(*d.Binary), code), fmt.Sprintf("binary output %d with code %d", *d.Binary, code)
	}
	o := order{object, make(chan uint8, 1)}
	select {
	case m.orders <- o:
	case <-time.After(10 * time.Second):
		return fmt.Errorf("operate %s: no connection to the outstation", what)
	}
	got, want := <-o.answer, uint8(0)
	if d.Status != nil {
		want = uint8(*d.Status)
	}
	m.p.act("DNP3 master sets %s: status %d", what, got)
	if got != want {
		return failed(fmt.Sprintf("operate %s: status %d, not %d", what, got, want))
	}
	return nil
}
