package points

import (
	"testing"
	"time"

	"lvagent/failsafe"
)

func TestWhoHasControl(t *testing.T) {
	c := Control{Timeout: 120 * time.Second}
	s := &failsafe.State{Tokens: []failsafe.Token{{Issuer: "scada-1", Epoch: 1, Seq: 7}}, Sequences: []failsafe.Sequence{{Issuer: "dnp3:5", Epoch: 1, High: 3}}}
	beat := func(issuer string) func() {
		return func() {
			for i := range s.Tokens {
				if s.Tokens[i].Issuer == issuer {
					s.Tokens[i].Seq++
					return
				}
			}
			s.Tokens = append(s.Tokens, failsafe.Token{Issuer: issuer, Epoch: 1, Seq: 1})
		}
	}
	order := func(issuer string) func() {
		return func() {
			for i := range s.Sequences {
				if s.Sequences[i].Issuer == issuer {
					s.Sequences[i].High++
					return
				}
			}
			s.Sequences = append(s.Sequences, failsafe.Sequence{Issuer: issuer, Epoch: 1, High: 1})
		}
	}
	local := func(p failsafe.Switch) func() { return func() { s.Switch = p } }
	for _, step := range []struct {
		at     time.Duration
		what   string
		do     func()
		owner  Owner
		master uint16
	}{
		{0, "what was accepted before the start gives no control", func() {}, NobodyHasControl, 0},
		{10, "the centre is heard", beat("scada-1"), CentreHasControl, 0},
		{20, "a master is heard too", beat("dnp3:1"), CentreHasControl, 0},
		{30, "the master orders", order("dnp3:1"), MasterHasControl, 1},
		{40, "the centre is heard and orders nothing", beat("scada-1"), MasterHasControl, 1},
		{50, "another master orders", order("dnp3:5"), MasterHasControl, 5},
		{60, "somebody works on site", local(failsafe.Local), SiteHasControl, 0},
		{70, "and leaves", local(failsafe.Remote), MasterHasControl, 5},
		{100, "the centre is heard", beat("scada-1"), MasterHasControl, 5},
		{169, "almost too long", func() {}, MasterHasControl, 5},
		{170, "the master is silent, the centre is not", func() {}, CentreHasControl, 0},
		{220, "all are silent", func() {}, NobodyHasControl, 0},
		{230, "the centre orders", order("scada-1"), CentreHasControl, 0},
	} {
		step.do()
		s.Mono = step.at * time.Second
		c.Take(s)
		if owner, master := c.Owner(); owner != step.owner || master != step.master {
			t.Errorf("%d s, %s: %d of master %d, want %d of master %d", step.at, step.what, owner, master, step.owner, step.master)
		}
	}
}
