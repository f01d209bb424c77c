package configs

import (
	"fmt"
	"slices"
	"time"
)

// Input is a digital input of the RTU.
type Input struct {
	ID       string        `mapstructure:"id" doc:"Name of the input."`
	Role     string        `mapstructure:"role" doc:"What it means while it is active. local: the Local/Remote switch is at Local. mains_fail: the substation has no supply. battery_low, door (open). inhibit: no charging. customer_override: customers charge by an override of their own."`
	Line     string        `mapstructure:"line" doc:"chip:line, as gpiochip0:5 or by their names."`
	Inverted bool          `mapstructure:"inverted" doc:"Whether LOW is active. Wire it so that a broken wire is the safe meaning."`
	Pull     string        `mapstructure:"pull" doc:"up or down: what the chip pulls the line to. Default as the board has it."`
	Debounce time.Duration `mapstructure:"debounce" doc:"How long the line must be on one side. Default 200ms."`
	Groups   []string      `mapstructure:"groups" doc:"inhibit, customer_override: the groups that it is about. Default of inhibit all."`
}

// Roles of an input.
const (
	InputLocal    = "local"
	InputMains    = "mains_fail"
	InputBattery  = "battery_low"
	InputDoor     = "door"
	InputInhibit  = "inhibit"
	InputCustomer = "customer_override"
)

const defaultDebounce = 200 * time.Millisecond

func (c *Config) completeInputs() {
	for i := range c.Site.Inputs {
		in := &c.Site.Inputs[i]
		if in.Debounce == 0 {
			in.Debounce = defaultDebounce
		}
		if in.Role == InputInhibit && len(in.Groups) == 0 {
			for _, g := range c.Groups {
				in.Groups = append(in.Groups, g.ID)
			}
		}
	}
}

func (c *Config) validateInputs(s *Source) {
	taken := map[string]string{}
	for _, g := range c.Groups {
		if g.Output.Kind == "gpio" {
			taken[g.Output.Line] = "group " + g.ID
		}
	}
	named := map[string]bool{}
	for i, in := range c.Site.Inputs {
		at := fmt.Sprintf("site.inputs[%d]", i)
		if !idPattern.MatchString(in.ID) {
			s.add(at+".id", "must be 1 to 64 letters, digits, _ or -, not %q", in.ID)
		}
		if named[in.ID] {
			s.add(at+".id", "input %s is there twice", in.ID)
		}
		named[in.ID] = true
		s.oneOf(at+".role", in.Role, InputLocal, InputMains, InputBattery, InputDoor, InputInhibit, InputCustomer)
		if in.Pull != "" {
			s.oneOf(at+".pull", in.Pull, "up", "down")
		}
		s.spanOf(at+".debounce", in.Debounce, 0, 10*time.Second)
		switch user := taken[in.Line]; {
		case in.Line == "":
			s.add(at+".line", "input %s: is missing", in.ID)
		case user != "":
			s.add(at+".line", "input %s: %s is that of %s", in.ID, in.Line, user)
		}
		taken[in.Line] = "input " + in.ID
		about := in.Role == InputInhibit || in.Role == InputCustomer
		if !about && len(in.Groups) > 0 {
			s.add(at+".groups", "input %s: %s is about no groups", in.ID, in.Role)
		}
		if in.Role == InputCustomer && len(in.Groups) == 0 {
			s.add(at+".groups", "input %s: name the groups that it is about", in.ID)
		}
		for n, id := range in.Groups {
			if !slices.ContainsFunc(c.Groups, func(g Group) bool { return g.ID == id }) {
				s.add(fmt.Sprintf("%s.groups[%d]", at, n), "input %s: there is no group %q", in.ID, id)
			}
		}
	}
}
