package sparkplug

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/uplink/sparkplugpb"
)

// Command is a command of the contract with the centre, made of a metric: the
// engine can't tell which way it came.
type Command struct {
	Name string // the last level of its topic
	Body []byte // JSON
}

// validFor is how long after it was sent a command is accepted. The engine
// decides by it, and by how far it trusts the clock.
const validFor = time.Minute

// mostAmps is beyond any group; a number above is a mistake in units.
const mostAmps = 10_000

var (
	errRetained  = errors.New("a retained command is never carried out")
	errNoIssuer  = errors.New("no uplink.sparkplug.issuer is configured")
	errNoTime    = errors.New("no timestamp of these centuries: nobody can tell how old it is")
	errNotHere   = errors.New("no such command here")
	errNoAmps    = errors.New("not a number of amperes from 0 to 10000")
	errNotTrue   = errors.New("not true")
	errNoCounter = errors.New("not a whole number from 0 to 2^53")
	errOutside   = errors.New("not a topic of this node")
)

// Command reads a message to the node or one of its devices. It returns the
// commands in it, whether a rebirth is asked for, and what was refused; one metric
// that is refused takes nothing from the others.
func (n *Node) Command(topic string, payload []byte, retained bool, wall time.Time) (cmds []Command, rebirth bool, err error) {
	defer func() {
		if err != nil {
			n.refusals++
			n.node().set(refusedName, number(wall, n.refusals))
			err = fmt.Errorf("command on %.200q: %w", topic, err)
		}
	}()
	if retained {
		return nil, false, errRetained
	}
	d := n.node()
	if name, ok := strings.CutPrefix(topic, n.topic("DCMD", "")+"/"); ok {
		if d = n.device(name); d == nil {
			return nil, false, errNotHere
		}
	} else if topic != n.topic("NCMD", "") {
		return nil, false, errOutside
	}
	p, err := sparkplugpb.Parse(payload, sparkplugpb.Command)
	if err != nil {
		return nil, false, err
	}
	var faults []error
	for _, m := range p.Metrics {
		if d == n.node() && m.GetName() == rebirthName {
			rebirth = rebirth || m.GetBooleanValue()
			continue
		}
		c, err := n.command(d, m, p, wall)
		if err != nil {
			faults = append(faults, fmt.Errorf("metric %.80q: %w", m.GetName(), err))
			continue
		}
		cmds = append(cmds, c...)
	}
	return cmds, rebirth, errors.Join(faults...)
}

// command reads one metric.
func (n *Node) command(d *device, m *sparkplugpb.Metric, p *sparkplugpb.Payload, wall time.Time) ([]Command, error) {
	name := m.GetName()
	rest, group := strings.CutPrefix(name, groupPrefix)
	id, what, _ := strings.Cut(rest, "/")
	switch {
	case d == n.node() && name == heartbeatName:
	case group && d.find(name) != nil && (what == "Limit" || what == "Release"):
	default:
		return nil, errNotHere
	}
	if n.cfg.Issuer == "" {
		return nil, errNoIssuer
	}
	if !group {
		return n.heartbeat(m, wall)
	}
	sent, ok := sentAt(p, wall)
	if !ok {
		return nil, errNoTime
	}
	// The value in force is the answer, whatever becomes of the command.
	d.force(name)
	d.force(groupPrefix + id + "/Limit")
	d.force(groupPrefix + id + "/State")
	var limit any = "none"
	if what == "Limit" {
		amps, ok := amperes(m)
		if !ok {
			return nil, errNoAmps
		}
		limit = map[string]any{"amps": json.Number(amps)}
	} else if !m.GetBooleanValue() {
		return nil, errNotTrue
	}
	n.commands++
	own := "sp-" + strconv.FormatUint(n.State.Epoch, 10) + "-" + strconv.FormatUint(n.commands, 10)
	body := map[string]any{
		"id": own, "issuer": n.cfg.Issuer, "epoch": n.State.Epoch, "seq": n.commands,
		"issued": stamp(sent), "expires": stamp(sent.Add(validFor)),
		"class": message.Network.String(), "target": map[string]any{"groups": []string{id}}, "start_in": "0s", "limit": limit,
	}
	if last := n.State.Last[id]; last != "" {
		body["supersedes"] = last
	}
	n.before[id] = n.State.Last[id]
	n.State.Last[id], n.unsent = own, true
	return n.encode(message.LimitCommand, body)
}

// sentAt returns when a payload was sent: not later than now, unless our own
// clock was never set.
func sentAt(p *sparkplugpb.Payload, wall time.Time) (time.Time, bool) {
	if p.Timestamp == nil || *p.Timestamp > math.MaxInt64 {
		return time.Time{}, false
	}
	sent := time.UnixMilli(int64(*p.Timestamp)).UTC()
	if sent.After(wall) && wall.Year() >= 2000 {
		sent = wall.UTC()
	}
	return sent, sent.Year() >= 2000 && sent.Year() < 2199
}

// heartbeat takes the host's counter: one that repeats itself is a host that
// hangs, and one that went back is a host that started anew.
func (n *Node) heartbeat(m *sparkplugpb.Metric, wall time.Time) ([]Command, error) {
	counter, ok := whole(m)
	if !ok {
		return nil, errNoCounter
	}
	if n.counted && counter < n.counter {
		n.State.Epoch++
		n.commands, n.unsent = 0, true
	}
	n.counter, n.counted = counter, true
	n.node().set(heartbeatName, number(wall, int64(counter)))
	return n.encode(message.HeartbeatCommand, map[string]any{
		"issuer": n.cfg.Issuer, "epoch": n.State.Epoch, "seq": counter})
}

func (n *Node) encode(name string, body map[string]any) ([]Command, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("write command %s: %w", name, err)
	}
	return []Command{{Name: name, Body: b}}, nil
}

func stamp(t time.Time) string { return t.Format("2006-01-02T15:04:05.000Z") }

// amperes reads a number of any type that a host may send.
func amperes(m *sparkplugpb.Metric) (string, bool) {
	var x float64
	switch v := m.GetValue().(type) {
	case *sparkplugpb.Metric_FloatValue:
		// As it was meant: 16.3 is not 16.299999.
		x, _ = strconv.ParseFloat(strconv.FormatFloat(float64(v.FloatValue), 'g', -1, 32), 64)
	case *sparkplugpb.Metric_DoubleValue:
		x = v.DoubleValue
	default:
		n, ok := whole(m)
		if !ok {
			return "", false
		}
		x = float64(n)
	}
	if m.GetIsNull() || !(x >= 0 && x <= mostAmps) { // NaN neither
		return "", false
	}
	return strconv.FormatFloat(math.Round(x*1000)/1000, 'f', -1, 64), true
}

// whole reads a whole number that is not negative.
func whole(m *sparkplugpb.Metric) (uint64, bool) {
	var x uint64
	switch v := m.GetValue().(type) {
	case *sparkplugpb.Metric_IntValue:
		if x = uint64(v.IntValue); m.GetDatatype() < 5 && x > math.MaxInt32 {
			return 0, false // a negative one of a signed type, or of none
		}
	case *sparkplugpb.Metric_LongValue:
		x = v.LongValue // a negative one is beyond the bound
	default:
		return 0, false
	}
	return x, !m.GetIsNull() && x <= 1<<53
}

// answered takes a rung of a command's ladder: a setpoint that was rejected is
// not the one that the next supersedes.
func (n *Node) answered(body []byte) {
	var a struct{ ID, Stage string }
	if json.Unmarshal(body, &a) != nil || a.Stage != string(message.Rejected) {
		return
	}
	for group, id := range n.State.Last {
		if id == a.ID {
			n.State.Last[group], n.unsent = n.before[group], true
		}
	}
}
