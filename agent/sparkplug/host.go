package sparkplug

import (
	"encoding/json"
	"errors"
	"fmt"
)

// host is what is known of the primary host (6.4.13, 5.7).
type host struct {
	id     string
	online bool
	heard  bool
	at     int64 // the newest timestamp that counted
}

func (h *host) topic() string { return Namespace + "STATE/" + h.id }

// mostState is the most octets of a host's state; it has two fields.
const mostState = 1024

var errHostState = errors.New("not {\"online\": …, \"timestamp\": …}")

// Host takes a message on the primary host's topic, and reports whether the node
// has to go: the host it was born for is offline. A message that is older than
// the newest one does not count: it is of an earlier session of the host.
func (n *Node) Host(payload []byte) (gone bool, err error) {
	var said struct {
		Online    *bool  `json:"online"`
		Timestamp *int64 `json:"timestamp"`
	}
	h := &n.host
	switch {
	case len(payload) > mostState:
		return false, fmt.Errorf("read state of host %s: %d octets, at most %d", h.id, len(payload), mostState)
	case json.Unmarshal(payload, &said) != nil || said.Online == nil || said.Timestamp == nil:
		return false, fmt.Errorf("read state of host %s, %.80q: %w", h.id, payload, errHostState)
	case h.heard && *said.Timestamp < h.at:
		return false, nil
	}
	h.heard, h.at, h.online = true, *said.Timestamp, *said.Online
	return !h.online && n.born, nil
}

// HostTopic reports whether topic is the primary host's.
func (n *Node) HostTopic(topic string) bool { return n.cfg.Host != "" && topic == n.host.topic() }

// Lost forgets that the host is online: at a new connection only what the broker
// says then counts. Its newest timestamp still does.
func (n *Node) Lost() { n.host.online, n.born = false, false }
