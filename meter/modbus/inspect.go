package modbus

import (
	"fmt"

	"lvagent/meter"
)

// Inspection is all that a meter shows under a profile, for people who want to
// know whether the profile is the right one.
type Inspection struct {
	Serial string
	Wrong  string // why it is not the profile's meter; empty: it is, or cannot be told
	Looks  []Look
}

// Look is one value with the registers that it was made of.
type Look struct {
	Quantity string `json:"quantity"` // as profiles name it: v, i, p, q, n, f, …
	Phase    string `json:"phase,omitempty"`
	Unit     string `json:"unit"`

	Value float64 `json:"value"`
	Known bool    `json:"known"`
	Why   string  `json:"why,omitempty"` // not known because of that

	Function uint8    `json:"function"`
	Addr     uint16   `json:"address"` // on the wire, of the first register that it is made of
	Type     string   `json:"type"`
	Order    string   `json:"order"`
	Words    []uint16 `json:"words"`
	Others   []Other  `json:"others,omitempty"` // how else the same registers and their neighbours could be read
}

// Other is another way to read a value: from Offset registers further on, in
// another order of octets. The profile's own is among them.
type Other struct {
	Offset int     `json:"offset"`
	Order  string  `json:"order"`
	Value  float64 `json:"value"`
	Known  bool    `json:"known"`
}

// reasonTexts say for people why there is no value.
var reasonTexts = []struct {
	why  meter.Reason
	text string
}{
	{meter.Mismatch, "not the meter or the ratio"},
	{meter.Exception, "the meter refuses the register"},
	{meter.BadFrame, "broken answer"},
	{meter.Sentinel, "marked as not available"},
	{meter.NotANumber, "not a number"},
	{meter.OutOfRange, "out of range"},
	{meter.NotSupported, "the meter has none"},
	{meter.NoAnswer, "no answer"},
}

// Inspect reads everything that the profile knows of the meter, whoever it says
// it is. Neighbours says whether to read beside the registers of V, I, P and Q
// too. An error means that the connection is gone.
func (m *Meter) Inspect(neighbours bool) (in Inspection, err error) {
	in.Wrong, err = m.getToKnow()
	if err != nil && !keepsConnection(err) {
		return in, m.lost(err)
	}
	if err != nil {
		in.Wrong = err.Error()
	}
	in.Serial = m.known.serial
	for _, l := range []*lane{&m.fast, &m.slow} {
		fast := l == &m.fast
		if _, err := m.gather(l); err != nil {
			return in, m.lost(err)
		}
		l.dec.off = m.fast.dec.off
		l.dec.decode(fast)
		for i := range m.profile.values {
			if v := &m.profile.values[i]; v.quantity < slowest == fast {
				in.Looks = append(in.Looks, m.look(v, l.dec))
			}
		}
	}
	if !neighbours {
		return in, nil
	}
	at := 0
	for _, fast := range []bool{true, false} {
		for i := range m.profile.values {
			v := &m.profile.values[i]
			if v.quantity < slowest != fast {
				continue
			}
			if fast {
				if in.Looks[at].Others, err = m.others(v); err != nil {
					return in, m.lost(err)
				}
			}
			at++
		}
	}
	return in, nil
}

// place is where the first register of a value is.
func (m *Meter) place(v *value) (r *reg, addr uint16) {
	return &m.profile.regs[v.a], m.profile.channel(m.setup.Channel).addrs[v.a] + m.shift
}

func (m *Meter) look(v *value, d *decoder) Look {
	r, addr := m.place(v)
	unit := table[v.quantity].units[0]
	c := d.out[v.quantity][v.phase]
	l := Look{
		Quantity: v.quantity.String(), Unit: unit.name, Function: r.fc, Addr: addr,
		Type: kindNames[r.kind], Order: r.order.name(),
		Known: c.quality != meter.Missing, Value: float64(c.value) / unit.factor,
	}
	if table[v.quantity].values == meter.Phases {
		l.Phase = v.phase.String()
	}
	if d.why[v.a] == 0 {
		l.Words = r.words(d.raw[v.a])
	}
	for _, t := range reasonTexts {
		if !l.Known && c.why&t.why != 0 {
			l.Value, l.Why = 0, t.text
			break
		}
	}
	return l
}

// name is the order's short name.
func (o order) name() string {
	for _, x := range orders {
		if x.order == o {
			return x.name
		}
	}
	return ""
}

// words takes a number apart as it lay on the wire.
func (l layout) words(raw uint64) []uint16 {
	words := make([]uint16, l.size)
	for i := range words {
		w := uint16(raw >> (16 * (len(words) - 1 - i)))
		if l.order.octets {
			w = w<<8 | w>>8
		}
		at := i
		if l.order.words {
			at = len(words) - 1 - i
		}
		words[at] = w
	}
	return words
}

// others reads a value's register with one more on either side, as far as the
// meter lets us, and makes of them what they could mean.
func (m *Meter) others(v *value) (all []Other, err error) {
	r, addr := m.place(v)
	words := make(map[int]uint16) // by distance from addr
	for _, from := range []int{-1, 0, 1} {
		at := int(addr) + from
		if at < 0 || at+int(r.size) > 1<<16 {
			continue
		}
		got, err := m.ask(r.fc, uint16(at), r.size)
		switch {
		case err == nil:
			for i, w := range got {
				words[from+i] = w
			}
		case !keepsConnection(err):
			return all, err
		}
	}
	for _, from := range []int{-1, 0, 1} {
		run := make([]uint16, 0, r.size)
		for i := range int(r.size) {
			if w, ok := words[from+i]; ok {
				run = append(run, w)
			}
		}
		if len(run) < int(r.size) {
			continue
		}
		for _, o := range orders[:4] {
			if r.size == 1 && o.order.words {
				continue // one word has no order of words
			}
			l := layout{kind: r.kind, size: r.size, order: o.order}
			other := Other{Offset: from, Order: o.name}
			other.Value, other.Known = v.alternative(m, l, run)
			all = append(all, other)
		}
	}
	return all, nil
}

// alternative is what words mean in a layout, with the profile's scale.
func (v *value) alternative(m *Meter, l layout, words []uint16) (float64, bool) {
	x, why := l.number(l.raw(words))
	d := m.fast.dec
	if v.sf != nowhere && d.why[v.sf] == 0 {
		if n, bad := m.profile.regs[v.sf].number(d.raw[v.sf]); bad == 0 && n >= -mostScale && n <= mostScale {
			x = shift(x, int(n))
		}
	}
	x = x*v.factor*d.ratio[v.quantity] + v.offset
	if why != 0 || !(x >= v.low && x <= v.high) {
		return 0, false
	}
	return x / table[v.quantity].units[0].factor, true
}

// Identifies reports whether the profile knows its meter by more than its
// values.
func (p *Profile) Identifies() bool { return p.sunspec != nil || len(p.identity.matches) > 0 }

// Answers asks a unit for anything, and reports whether it says anything, were
// it a refusal. An error other than [ErrTimeout] is about the connection.
//
// It is for looking and not for measuring: on a serial line the answer counts as
// the unit's guard, since a refusal is often all that a meter of unknown kind
// gives. A request that somebody else left behind on the line would be missed.
func (c *Client) Answers(unit uint8) (bool, error) {
	if !c.open {
		return false, ErrClosed
	}
	q := request{op: readHolding, unit: unit, n: 1}
	_, err := c.exchange(q)
	if err == nil || keepsConnection(err) {
		there := err == nil || reason(err) == meter.Exception
		if there {
			c.settled(&q)
		}
		return there, nil
	}
	c.owes(&q)
	return false, fmt.Errorf("ask unit %d: %w", unit, c.drop(err))
}
