package configs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// Load reads the site file and returns it with all its faults. With a fault the
// Config is what could be understood, good for nothing but looking for more
// faults.
func Load(file string) (*Config, *Source, []Fault) {
	src := &Source{file: file, lines: map[string]int{}}
	f, err := os.Open(file)
	if err != nil {
		return nil, src, []Fault{{File: file, Message: err.Error()}}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostOctets+1))
	if err != nil {
		return nil, src, []Fault{{File: file, Message: err.Error()}}
	}
	return Parse(file, text)
}

// mostOctets is the largest site file: twelve ways take a few kilobytes.
const mostOctets = 1 << 20

// Parse is Load for a text that was already read.
func Parse(file string, text []byte) (*Config, *Source, []Fault) {
	src := &Source{file: file, lines: map[string]int{}}
	cfg := Default()
	if len(text) > mostOctets {
		src.fault(0, "", "the file is larger than %d octets", mostOctets)
		return nil, src, src.faults
	}
	root := src.document(text)
	if root == nil {
		return nil, src, src.faults
	}
	tree, _ := src.value(root, "", reflect.TypeOf(cfg)).(map[string]any)
	v := viper.New()
	if err := v.MergeConfigMap(tree); err != nil {
		src.fault(0, "", "%v", err)
		return nil, src, src.faults
	}
	if err := v.UnmarshalExact(&cfg, viper.DecodeHook(mapstructure.StringToTimeDurationHookFunc())); err != nil {
		src.fault(0, "", "%v", err)
		return nil, src, src.faults
	}
	cfg.complete(src)
	cfg.validate(src)
	slices.SortStableFunc(src.faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	return &cfg, src, src.faults
}

// Source remembers where in a file each key stands, so that a fault found later
// still has its line.
type Source struct {
	file   string
	lines  map[string]int
	faults []Fault
}

// Fault returns a fault at the key path.
func (s *Source) Fault(path, format string, args ...any) Fault {
	line := 0
	for at := path; ; {
		if l, ok := s.lines[at]; ok {
			line = l
			break
		}
		cut := strings.LastIndexAny(at, ".[")
		if cut < 0 {
			break
		}
		at = at[:cut]
	}
	return Fault{File: s.file, Line: line, Path: path, Message: fmt.Sprintf(format, args...)}
}

func (s *Source) fault(line int, path, format string, args ...any) {
	s.faults = append(s.faults, Fault{File: s.file, Line: line, Path: path, Message: fmt.Sprintf(format, args...)})
}

func (s *Source) add(path, format string, args ...any) {
	s.faults = append(s.faults, s.Fault(path, format, args...))
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// document returns the root of the file, or nil with a fault.
func (s *Source) document(text []byte) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		line := 0
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			line, _ = strconv.Atoi(m[1])
		}
		s.fault(line, "", "%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return nil
	}
	if len(doc.Content) == 0 {
		s.fault(1, "", "the file is empty")
		return nil
	}
	return doc.Content[0]
}

var (
	durationType  = reflect.TypeFor[time.Duration]()
	phaseAmpsType = reflect.TypeFor[PhaseAmps]()
)

// value turns a node into what viper takes for type t. What is faulty is noted
// and left out, so that the rest can still be looked at.
func (s *Source) value(n *yaml.Node, path string, t reflect.Type) any {
	s.lines[path] = n.Line
	if n.Kind == yaml.AliasNode {
		// A few hundred lines of them can stand for gigabytes.
		s.fault(n.Line, path, "aliases (*%s) are not taken; write it out", n.Value)
		return nil
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	switch {
	case t == durationType:
		return s.duration(n, path)
	case t == phaseAmpsType:
		return s.phaseAmps(n, path)
	}
	switch t.Kind() {
	case reflect.Struct:
		return s.mapping(n, path, t)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			s.fault(n.Line, path, "must be a list, not %s", describe(n))
			return nil
		}
		list := make([]any, 0, len(n.Content))
		for i, e := range n.Content {
			if v := s.value(e, fmt.Sprintf("%s[%d]", path, i), t.Elem()); v != nil {
				list = append(list, v)
			} else if t.Elem().Kind() == reflect.Struct {
				list = append(list, map[string]any{}) // keeps the numbers of the others
			}
		}
		return list
	}
	if n.Kind != yaml.ScalarNode {
		s.fault(n.Line, path, "must be one value, not %s", describe(n))
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		return n.Value
	case reflect.Bool:
		if n.Tag != "!!bool" {
			s.fault(n.Line, path, "must be true or false, not %q", n.Value)
			return nil
		}
		return n.Value == "true"
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		if err != nil {
			s.fault(n.Line, path, "must be a whole number, not %q", n.Value)
			return nil
		}
		return i
	default:
		return s.number(n, path)
	}
}

func (s *Source) number(n *yaml.Node, path string) any {
	f, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		s.fault(n.Line, path, "must be a number, not %s", describe(n))
		return nil
	}
	return f
}

func (s *Source) duration(n *yaml.Node, path string) any {
	if n.Kind != yaml.ScalarNode {
		s.fault(n.Line, path, "must be a duration like 30s, not %s", describe(n))
		return nil
	}
	if _, err := strconv.ParseFloat(n.Value, 64); err == nil && n.Value != "0" {
		s.fault(n.Line, path, "a duration needs a unit: is %s meant as %ss or %sm?", n.Value, n.Value, n.Value)
		return nil
	}
	d, err := time.ParseDuration(n.Value)
	switch {
	case err != nil:
		s.fault(n.Line, path, "must be a duration like 30s or 10m, not %q", n.Value)
		return nil
	case d < 0:
		s.fault(n.Line, path, "must not be negative: %s", n.Value)
		return nil
	}
	return d.String()
}

func (s *Source) phaseAmps(n *yaml.Node, path string) any {
	if n.Kind != yaml.MappingNode {
		f, ok := s.number(n, path).(float64)
		if !ok {
			return nil
		}
		return []any{f, f, f}
	}
	type perPhase struct {
		L1 float64 `mapstructure:"L1"`
		L2 float64 `mapstructure:"L2"`
		L3 float64 `mapstructure:"L3"`
	}
	m, _ := s.mapping(n, path, reflect.TypeFor[perPhase]()).(map[string]any)
	list := []any{0.0, 0.0, 0.0}
	for i, name := range []string{"L1", "L2", "L3"} {
		if f, ok := m[name].(float64); ok {
			list[i] = f
		}
	}
	return list
}

// mapping reads a node as struct t: every key known, none twice.
func (s *Source) mapping(n *yaml.Node, path string, t reflect.Type) any {
	if n.Kind != yaml.MappingNode {
		s.fault(n.Line, path, "must have keys, not %s", describe(n))
		return nil
	}
	fields := map[string]reflect.Type{}
	var names []string
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("mapstructure")
		fields[name] = t.Field(i).Type
		names = append(names, name)
	}
	m := map[string]any{}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		at := key.Value
		if path != "" {
			at = path + "." + key.Value
		}
		lower := strings.ToLower(key.Value)
		if line, twice := first[lower]; twice {
			s.fault(key.Line, at, "is there twice; the first is in line %d", line)
			continue
		}
		first[lower] = key.Line
		ft, known := fields[key.Value]
		if !known {
			s.fault(key.Line, at, "unknown key; known here are %s", strings.Join(names, ", "))
			continue
		}
		if v := s.value(val, at, ft); v != nil {
			m[key.Value] = v
		}
		s.lines[at] = key.Line
	}
	return m
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a group of keys"
	case yaml.SequenceNode:
		return "a list"
	default:
		return strconv.Quote(n.Value)
	}
}

// ErrFaults says that a site file cannot be used; the faults say why.
var ErrFaults = errors.New("the site file has faults")
