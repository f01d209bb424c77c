package points

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"lvagent/failsafe"
)

// issuerPrefix begins the name of an issuer that is a master; its address follows.
const issuerPrefix = "dnp3:"

// Control works out who has control, from what the engine has accepted. An issuer
// takes it with an order and keeps it while it is heard; when it has fallen silent
// for Timeout, whoever is heard has it. On site goes before all.
type Control struct {
	Timeout time.Duration

	local  bool
	now    time.Duration
	owner  string
	heard  map[string]time.Duration // the last token or order
	tokens []failsafe.Token
	orders []failsafe.Sequence
}

// Take takes the engine's state. What was accepted before the first is history.
func (c *Control) Take(s *failsafe.State) {
	first := c.heard == nil
	if first {
		c.heard = map[string]time.Duration{}
	}
	c.local, c.now = s.Switch == failsafe.Local, s.Mono
	if !first {
		for _, t := range s.Tokens {
			if !slices.Contains(c.tokens, t) {
				c.heard[t.Issuer] = s.Mono
			}
		}
		for _, o := range s.Sequences {
			if !slices.Contains(c.orders, o) {
				c.heard[o.Issuer], c.owner = s.Mono, o.Issuer
			}
		}
	}
	c.tokens, c.orders = append(c.tokens[:0], s.Tokens...), append(c.orders[:0], s.Sequences...)
	if c.silent(c.owner) {
		c.owner = ""
	}
	for _, t := range s.Tokens {
		if c.owner == "" && !c.silent(t.Issuer) {
			c.owner = t.Issuer
		}
	}
}

func (c *Control) silent(issuer string) bool {
	at, ok := c.heard[issuer]
	return !ok || c.now-at >= c.Timeout
}

// Owner says who has control, and a master's address.
func (c *Control) Owner() (owner Owner, master uint16) {
	address, isMaster := strings.CutPrefix(c.owner, issuerPrefix)
	switch {
	case c.local:
		return SiteHasControl, 0
	case c.owner == "":
		return NobodyHasControl, 0
	case !isMaster:
		return CentreHasControl, 0
	}
	n, err := strconv.ParseUint(address, 10, 16)
	if err != nil {
		return CentreHasControl, 0 // a centre with a strange name
	}
	return MasterHasControl, uint16(n)
}
