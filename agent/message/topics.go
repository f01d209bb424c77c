package message

import (
	"strings"
	"time"
)

// DefaultPrefix is the template of the topics' first levels.
const DefaultPrefix = "lv/v1/{agent}"

// everyAgent stands in the agent's place of a topic that all agents hear.
const everyAgent = "_all"

const agentMark = "{agent}"

// Topics names the topics of one agent.
type Topics struct {
	up, cmd   string // with the final slash
	broadcast string
}

// NewTopics returns the topics of agent. {agent} in the template stands for the
// agent's id; a template without it has no broadcast topic, since nothing in it
// tells one agent from all.
func NewTopics(prefixTemplate, agent string) Topics {
	prefix := strings.TrimSuffix(strings.ReplaceAll(prefixTemplate, agentMark, agent), "/")
	t := Topics{up: prefix + "/up/", cmd: prefix + "/cmd/"}
	if strings.Contains(prefixTemplate, agentMark) {
		all := strings.TrimSuffix(strings.ReplaceAll(prefixTemplate, agentMark, everyAgent), "/")
		t.broadcast = all + "/cmd/" + HeartbeatCommand
	}
	return t
}

// WithBroadcast returns t with another topic for heartbeats to many agents, as
// a region of the network has it. Empty means none.
func (t Topics) WithBroadcast(topic string) Topics {
	t.broadcast = topic
	return t
}

// Status is the retained topic of the agent's state, and of its will.
func (t Topics) Status() string { return t.up + "status" }

// Meta is the retained topic that describes ways, units and thresholds.
func (t Topics) Meta() string { return t.up + "meta" }

// Selftest is the topic that the agent both sends to and listens to, to see that
// the broker passes on what it acknowledges.
func (t Topics) Selftest() string { return t.up + "selftest" }

// Barrier is the topic of a small message that follows others, so that its
// acknowledgement says that the broker has read them.
func (t Topics) Barrier() string { return t.up + "barrier" }

// Failsafe is the retained topic of the failsafe state of each way.
func (t Topics) Failsafe() string { return t.up + "failsafe" }

// Groups is the retained topic of the limit in force per charging group.
func (t Topics) Groups() string { return t.up + "groups" }

// Health is the retained topic of how each part of the agent does.
func (t Topics) Health() string { return t.up + "health" }

// Capacity is the retained topic of how loaded each way is.
func (t Topics) Capacity() string { return t.up + "capacity" }

// Charging is the retained topic of what is known of electric vehicles on each
// way.
func (t Topics) Charging() string { return t.up + "ev" }

// AlarmState is the retained topic of the alarms of a way that are active now.
func (t Topics) AlarmState(way string) string { return t.up + "alarmstate/" + way }

// Setpoint is the retained topic of a group's limit for a charge-point operator
// that hears it from the broker.
func (t Topics) Setpoint(group string) string { return t.up + "setpoint/" + group }

// Commands is the filter for every command to this agent.
func (t Topics) Commands() string { return t.cmd + "#" }

// Broadcast is the topic of heartbeats to all agents, or empty.
func (t Topics) Broadcast() string { return t.broadcast }

// Route returns the topic for a record of stream that was due at the time at
// and is sent now.
func (t Topics) Route(stream string, at, now time.Time) string {
	if Late(stream, at, now) {
		return t.up + "hist/" + stream
	}
	return t.up + stream
}

// History returns the topic for a record of stream that is sent once more.
func (t Topics) History(stream string) string { return t.up + "hist/" + stream }

// CommandName returns the name of the command in a topic: what follows cmd/.
func CommandName(topic string) string {
	if i := strings.LastIndex(topic, "/cmd/"); i >= 0 {
		return topic[i+len("/cmd/"):]
	}
	return strings.TrimPrefix(topic, "cmd/")
}
