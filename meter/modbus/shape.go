package modbus

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// shape is what may stand at a key: the parser checks it, and the JSON Schema
// is made of it, so that the two cannot part.
type shape struct {
	is        sort
	low, high uint64   // of a whole number
	names     []string // of a choice
	of        *shape   // the elements of a list
	count     int      // elements of a list; 0: any number
	keys      []key    // of a group of keys
}

type sort uint8

const (
	aWhole sort = iota + 1
	aNumber
	aText // not empty
	aChoice
	aDuration
	aFlag
	aValue // whole number or reason, checked by its reader
	aList
	aGroup
)

// key is one key of a group.
type key struct {
	name     string
	shape    *shape
	required bool
	doc      string
}

func wholeOf(low, high uint64) *shape { return &shape{is: aWhole, low: low, high: high} }
func oneOf(names ...string) *shape    { return &shape{is: aChoice, names: names} }
func listOf(of *shape) *shape         { return &shape{is: aList, of: of} }
func pairOf(of *shape) *shape         { return &shape{is: aList, of: of, count: 2} }
func groupOf(keys ...key) *shape      { return &shape{is: aGroup, keys: keys} }

// object is a group of keys that was looked at: each key known, none twice, each
// plain value of its sort. What was faulty is left out.
type object struct {
	f      *form
	node   *yaml.Node
	path   string
	values map[string]*yaml.Node
	bad    map[string]bool // there, and faulty
}

// object looks at a group of keys. It is without any when n is no group.
func (f *form) object(n *yaml.Node, path string, s *shape) (object, bool) {
	o := object{f: f, node: n, path: path, values: map[string]*yaml.Node{}, bad: map[string]bool{}}
	if n.Kind != yaml.MappingNode {
		f.fault(n, path, "want a mapping, got %s", kindOf(n))
		return o, false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		at := join(path, k.Value)
		which := slices.IndexFunc(s.keys, func(known key) bool { return known.name == k.Value })
		switch {
		case which < 0:
			f.fault(k, at, "unknown key, want one of %s", strings.Join(namesOf(s.keys), ", "))
		case o.values[k.Value] != nil || o.bad[k.Value]:
			f.fault(k, at, "is there twice")
		case f.plain(v, at, s.keys[which].shape):
			o.values[k.Value] = v
		default:
			o.bad[k.Value] = true
		}
	}
	for _, k := range s.keys {
		if k.required && !o.there(k.name) {
			f.fault(n, join(path, k.name), "is missing")
		}
	}
	return o, true
}

func namesOf(keys []key) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}

// plain checks a value of its own sort; the keys of a group and the groups of a
// list are left to their reader.
func (f *form) plain(n *yaml.Node, path string, s *shape) bool {
	before := len(f.faults)
	switch s.is {
	case aWhole:
		f.whole(n, path, s.low, s.high)
	case aNumber:
		f.number(n, path)
	case aText:
		f.text(n, path)
	case aChoice:
		f.choice(n, path, s.names...)
	case aDuration:
		f.duration(n, path)
	case aFlag:
		f.flag(n, path)
	case aList:
		elements := f.list(n, path)
		if n.Kind != yaml.SequenceNode {
			return false
		}
		if s.count > 0 && len(elements) != s.count {
			f.fault(n, path, "want %d elements, got %d", s.count, len(elements))
			return false
		}
		for i, e := range elements {
			f.plain(e, index(path, i), s.of)
		}
	}
	return len(f.faults) == before
}

// there reports whether the key is in the file, faulty or not.
func (o object) there(name string) bool { return o.values[name] != nil || o.bad[name] }

// has reports whether the key is in the file without fault.
func (o object) has(name string) bool { return o.values[name] != nil }

// at is the path of a key, or of the group itself.
func (o object) at(name string) string {
	if name == "" {
		return o.path
	}
	return join(o.path, name)
}

// fault notes that something is wrong at a key, or at the group without it.
func (o object) fault(name, format string, args ...any) {
	n := o.values[name]
	if n == nil {
		n = o.node
	}
	o.f.fault(n, o.at(name), format, args...)
}

// text returns the words of a key, or nothing.
func (o object) text(name string) string {
	if n := o.values[name]; n != nil {
		return n.Value
	}
	return ""
}

// whole returns the number of a key, or what holds without it.
func (o object) whole(name string, without uint64) uint64 {
	if n := o.values[name]; n != nil {
		v, err := strconv.ParseUint(n.Value, 0, 64)
		if err == nil {
			return v
		}
	}
	return without
}

func (o object) number(name string, without float64) float64 {
	if n := o.values[name]; n != nil {
		v, err := strconv.ParseFloat(n.Value, 64)
		if err == nil {
			return v
		}
	}
	return without
}

func (o object) duration(name string, without time.Duration) time.Duration {
	if n := o.values[name]; n != nil {
		d, err := time.ParseDuration(n.Value)
		if err == nil {
			return d
		}
	}
	return without
}

func (o object) flag(name string) bool { return o.text(name) == "true" }

// list returns the elements of a key.
func (o object) list(name string) []*yaml.Node {
	if n := o.values[name]; n != nil {
		return n.Content
	}
	return nil
}

// objects returns the groups of a list.
func (o object) objects(name string, s *shape) (all []object) {
	for i, n := range o.list(name) {
		if inner, ok := o.f.object(n, index(o.at(name), i), s); ok {
			all = append(all, inner)
		}
	}
	return all
}

// object returns the group at a key, and whether there is one.
func (o object) object(name string, s *shape) (object, bool) {
	n := o.values[name]
	if n == nil {
		return object{f: o.f, node: o.node, path: o.at(name)}, false
	}
	return o.f.object(n, o.at(name), s)
}
