package sparkplug

import (
	"os"
	"strings"
	"testing"
	"time"

	"lvagent/agent/message"
)

// TestAccessList: the list that we ship lets a node do what it does, and not what
// another does.
func TestAccessList(t *testing.T) {
	text, err := os.ReadFile("../../docs/acl/mosquitto-sparkplug.acl")
	if err != nil {
		t.Fatal(err)
	}
	may := func(node, access, topic string) bool {
		for line := range strings.Lines(string(text)) {
			pattern, ok := strings.CutPrefix(strings.TrimSpace(line), "pattern "+access+" ")
			pattern = strings.ReplaceAll(pattern, "%u", node)
			if head, all := strings.CutSuffix(pattern, "#"); ok && (pattern == topic || all && strings.HasPrefix(topic, head)) {
				return true
			}
		}
		return false
	}
	cfg := config()
	cfg.Host = "scada"
	n := New(cfg, State{}, t0)
	said := []Message{n.Connect()}
	said = append(said, n.Births(t0, 0)...)
	said = append(said, n.Changes(t0, time.Hour)...)
	said = append(said, n.Record(&Record{Stream: message.AckStream, At: t0, Body: []byte("{}")}, t0), n.Death())
	if len(said) < 8 {
		t.Fatalf("only %d messages", len(said))
	}
	for _, m := range said {
		if !may("S1", "write", m.Topic) || may("S2", "write", m.Topic) || may("S1", "read", m.Topic) {
			t.Errorf("%s: writes %v, another writes %v, reads %v", m.Topic, may("S1", "write", m.Topic), may("S2", "write", m.Topic), may("S1", "read", m.Topic))
		}
	}
	for _, topic := range n.Subscriptions() {
		if !may("S1", "read", topic) || may("S1", "write", topic) {
			t.Errorf("%s: reads %v, writes %v", topic, may("S1", "read", topic), may("S1", "write", topic))
		}
	}
}
