package points

import (
	"lvagent/dnp3"
	"lvagent/failsafe"
	"lvagent/meter"
)

// OrderKind is what a master's command asks for.
type OrderKind uint8

// Kinds of orders.
const (
	OrderLimit OrderKind = iota
	OrderHoldOff
	OrderRelease
	OrderEnd  // of the override that the centre set
	OrderBeat // a token of life
)

// Order is a master's command in the agent's words.
type Order struct {
	Kind  OrderKind
	Group string
	Amps  meter.Milliamps // of OrderLimit
	None  bool            // OrderLimit at the rating or above: the statement that there is no limit
	Value float64         // of OrderBeat
}

// Orders knows what a command means at a site.
type Orders struct {
	groups  [GroupSlots]string
	ratings [GroupSlots]meter.Milliamps
}

// NewOrders returns the orders that a site can take.
func NewOrders(s *Site, groups []failsafe.Group) *Orders {
	o := &Orders{groups: s.Groups}
	for slot, id := range s.Groups {
		for i := range groups {
			if id != "" && groups[i].ID == id {
				o.ratings[slot] = groups[i].Rating
			}
		}
	}
	return o
}

// mostLimit is above every limit; what is beyond is a slip of scale.
const mostLimit = 10_000 // A

// Decode says what a command means, or why it can't be done.
func (o *Orders) Decode(c dnp3.Command) (Order, dnp3.Status) {
	if c.Analog {
		return o.analog(&c)
	}
	slot := int(c.Index) / outputStride
	if slot < 1 || slot >= GroupSlots || o.groups[slot] == "" {
		return Order{}, dnp3.NotSupported
	}
	var on bool
	switch {
	case c.Op == dnp3.LatchOn && c.Relay == dnp3.Unpaired, c.Relay == dnp3.Close:
		on = true
	case c.Op == dnp3.LatchOff && c.Relay == dnp3.Unpaired, c.Relay == dnp3.Trip:
	default:
		return Order{}, dnp3.NotSupported // a pulse has no state
	}
	order := Order{Kind: OrderEnd, Group: o.groups[slot]}
	switch int(c.Index) % outputStride {
	case 0:
		if on {
			order.Kind = OrderHoldOff
		}
	case 1:
		if on {
			order.Kind = OrderRelease
		}
	default:
		return Order{}, dnp3.NotSupported
	}
	return order, dnp3.Success
}

func (o *Orders) analog(c *dnp3.Command) (Order, dnp3.Status) {
	if c.Index == setpointSite {
		return Order{Kind: OrderBeat, Value: c.Value}, dnp3.Success
	}
	slot := int(c.Index) / setpointStride
	if slot < 1 || slot >= GroupSlots || int(c.Index)%setpointStride != 0 || o.groups[slot] == "" {
		return Order{}, dnp3.NotSupported
	}
	if !(c.Value >= 0 && c.Value <= mostLimit) {
		return Order{}, dnp3.OutOfRange
	}
	amps := meter.Milliamps(c.Value * 1000)
	return Order{Kind: OrderLimit, Group: o.groups[slot], Amps: amps, None: amps >= o.ratings[slot]}, dnp3.Success
}
