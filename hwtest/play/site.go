package play

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"lvagent/hwtest/scenario"
)

//go:embed site.yaml
var siteText []byte

// site is the agent's site file as a tree, and what the bench reads from it.
type site struct {
	tree   map[string]any
	ways   []siteWay
	groups []siteGroup
}

type siteWay struct {
	id    string
	meter string
	unit  int
}

type siteGroup struct {
	id, way string
	phases  []string
	rating  float64
	unit    int
	holding int
	encode  string // percent, amps; coil
	coil    int
	curtail int
}

// placeOf is what there is on the site of a scenario, for [scenario.Scenario.Check].
func placeOf(s *scenario.Scenario) (scenario.Place, error) {
	tree, err := merged(s.Given.Site)
	if err != nil {
		return scenario.Place{}, err
	}
	st, err := readSite(tree)
	if err != nil {
		return scenario.Place{}, err
	}
	p := scenario.Place{Groups: map[string]float64{}}
	for _, w := range st.ways {
		p.Ways = append(p.Ways, w.id)
	}
	for _, g := range st.groups {
		p.Groups[g.id] = g.rating
	}
	return p, nil
}

// merged is the bench's site with what a scenario changes.
func merged(changes scenario.Tree) (map[string]any, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(siteText, &doc); err != nil {
		return nil, fmt.Errorf("read the bench's site: %w", err)
	}
	base, ok := plain(doc).(map[string]any)
	if !ok {
		return nil, fmt.Errorf("read the bench's site: no keys")
	}
	return mergeTree(base, copied(map[string]any(changes)).(map[string]any)), nil
}

// plain makes every number a float64, as a scenario has it.
func plain(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			x[k] = plain(e)
		}
	case []any:
		for i, e := range x {
			x[i] = plain(e)
		}
	case int:
		return float64(x)
	}
	return v
}

// copied is a tree of its own: what the bench fills in must not end up in the
// scenario.
func copied(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range x {
			out[k] = copied(e)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = copied(e)
		}
		return out
	}
	return v
}

// mergeTree puts changes over a tree: keys into keys, entries with an id over the
// entry of that id, null away. Everything else is replaced.
func mergeTree(base, changes map[string]any) map[string]any {
	out := map[string]any{}
	maps.Copy(out, base)
	for key, change := range changes {
		switch c := change.(type) {
		case nil:
			delete(out, key)
		case map[string]any:
			under, _ := out[key].(map[string]any)
			out[key] = mergeTree(under, c)
		case []any:
			under, _ := out[key].([]any)
			out[key] = mergeList(under, c)
		default:
			out[key] = change
		}
	}
	return out
}

func mergeList(base, changes []any) []any {
	if !slices.ContainsFunc(changes, func(v any) bool { return idOf(v) != "" }) {
		return changes
	}
	out := slices.Clone(base)
	for _, c := range changes {
		i := slices.IndexFunc(out, func(v any) bool { return idOf(v) == idOf(c) && idOf(c) != "" })
		if i < 0 {
			out = append(out, c)
			continue
		}
		under, _ := out[i].(map[string]any)
		over, _ := c.(map[string]any)
		out[i] = mergeTree(under, over)
	}
	return out
}

func idOf(v any) string {
	m, _ := v.(map[string]any)
	id, _ := m["id"].(string)
	return id
}

func entries(tree map[string]any, key string) (out []map[string]any) {
	list, _ := tree[key].([]any)
	for _, v := range list {
		if m, ok := v.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

func number(m map[string]any, key string, otherwise float64) float64 {
	if f, ok := m[key].(float64); ok {
		return f
	}
	return otherwise
}

// under sets a key that is not there.
func under(m map[string]any, key string, v any) {
	if _, ok := m[key]; !ok {
		m[key] = v
	}
}

const (
	firstActuator = 101 // unit of the first group's controller
	holding       = 30
)

// readSite completes ways, meters and groups where the file leaves their wires to
// the bench, and reads what the bench needs to know of them.
func readSite(tree map[string]any) (*site, error) {
	s := &site{tree: tree}
	units := map[string]int{}
	for i, m := range entries(tree, "meters") {
		under(m, "unit", float64(i+1))
		under(m, "profile", "eastron-sdm630")
		under(m, "turnaround", "1ms")
		under(m, "timeout", "400ms")
		units[text(m, "id")] = int(number(m, "unit", 0))
	}
	for _, w := range entries(tree, "ways") {
		s.ways = append(s.ways, siteWay{text(w, "id"), text(w, "meter"), units[text(w, "meter")]})
	}
	for i, g := range entries(tree, "groups") {
		out, given := g["output"].(map[string]any)
		if !given {
			out = map[string]any{}
			g["output"] = out
		}
		under(out, "kind", "modbus")
		sg := siteGroup{id: text(g, "id"), way: text(g, "way"), rating: number(g, "rating_a", 0), encode: "percent", coil: -1, holding: -1}
		if list, ok := g["phases"].([]any); ok {
			for _, p := range list {
				sg.phases = append(sg.phases, fmt.Sprint(p))
			}
		}
		if text(out, "kind") == "modbus" {
			under(out, "unit", float64(firstActuator+i))
			sg.unit = int(number(out, "unit", 0))
			if _, isCoil := out["coil"]; isCoil {
				sg.coil, sg.curtail, sg.encode = int(number(out, "coil", 0)), int(number(out, "curtail", 0)), "coil"
			} else {
				under(out, "holding", float64(holding))
				under(out, "encode", "percent")
				sg.holding, sg.encode = int(number(out, "holding", holding)), text(out, "encode")
				if sg.encode != "percent" && sg.encode != "amps" {
					return nil, fmt.Errorf("group %s: the bench reads registers in percent and amps, not %q", sg.id, sg.encode)
				}
			}
		}
		s.groups = append(s.groups, sg)
	}
	if len(s.ways) == 0 {
		return nil, fmt.Errorf("the site has no way")
	}
	return s, nil
}

// wires fills in the addresses.
type wires struct {
	agent, store, broker, actuators, dnp3 string
	meters                                map[string]string // url by id
}

func (s *site) connect(w wires) {
	for _, m := range entries(s.tree, "meters") {
		under(m, "url", w.meters[text(m, "id")])
	}
	for _, g := range entries(s.tree, "groups") {
		if out, ok := g["output"].(map[string]any); ok && text(out, "kind") == "modbus" {
			under(out, "url", w.actuators)
		}
	}
	set := func(section, key string, v any) {
		m, ok := s.tree[section].(map[string]any)
		if !ok {
			m = map[string]any{}
			s.tree[section] = m
		}
		m[key] = v
	}
	set("site", "id", w.agent)
	set("buffer", "path", w.store)
	set("uplink", "broker", "tcp://"+w.broker)
	if w.dnp3 != "" {
		set("dnp3", "listen", w.dnp3)
		d, _ := s.tree["dnp3"].(map[string]any)
		under(d, "allow_plain_controls", true)
		under(d, "masters", []any{map[string]any{"address": 1.0, "unsolicited": true, "authority": true}})
	}
}

// file is the site file for the agent.
func (s *site) file() ([]byte, error) {
	text, err := yaml.Marshal(s.tree)
	if err != nil {
		return nil, fmt.Errorf("write site file: %w", err)
	}
	return append([]byte("# Written by lvbench: a simulated substation. Every timer is shortened.\n"), text...), nil
}

// permits is what a register or coil value stands for, in A on each phase, and
// what rounding may do to it.
func (g *siteGroup) permits(value float64) (amps, slack float64) {
	switch g.encode {
	case "coil":
		if int(value) == g.curtail {
			return 0, 0
		}
		return g.rating, 0
	case "amps":
		return value, 0.5
	}
	return g.rating * min(value, 100) / 100, g.rating / 200
}

// phaseIndex is 0 to 2, or -1.
func phaseIndex(phase string) int { return strings.Index("L1L2L3", phase) / 2 }
