package scenario

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Fault is one fault of a file.
type Fault struct {
	File    string
	Line    int
	Path    string
	Message string
}

// Error is file:line: key.path: message.
func (f Fault) Error() string {
	text := f.File
	if f.Line > 0 {
		text += ":" + strconv.Itoa(f.Line)
	}
	if f.Path != "" {
		text += ": " + f.Path
	}
	return text + ": " + f.Message
}

// mostOctets is the largest file: a scenario takes a page.
const mostOctets = 256 << 10

// Parse reads a scenario and returns it with all its faults.
func Parse(file string, text []byte) (*Scenario, []Fault) {
	s := &Scenario{File: file}
	r := &reader{file: file}
	if r.file0(text, reflect.ValueOf(s).Elem()) {
		s.within(r)
	}
	return s, r.sorted()
}

// ParseInto reads any struct with yaml and doc tags in the same strict way: the
// bench's rig file is one.
func ParseInto(file string, text []byte, into any) []Fault {
	r := &reader{file: file}
	r.file0(text, reflect.ValueOf(into).Elem())
	return r.sorted()
}

type reader struct {
	file   string
	faults []Fault
}

func (r *reader) sorted() []Fault {
	slices.SortStableFunc(r.faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	return r.faults
}

func (r *reader) fault(line int, path, format string, args ...any) {
	r.faults = append(r.faults, Fault{r.file, line, path, fmt.Sprintf(format, args...)})
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// file0 reads the document and reports whether there was something to look at.
func (r *reader) file0(text []byte, into reflect.Value) bool {
	if len(text) > mostOctets {
		r.fault(0, "", "the file is larger than %d octets", mostOctets)
		return false
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		line := 0
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			line, _ = strconv.Atoi(m[1]) // digits by the expression; too many give 0
		}
		r.fault(line, "", "%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return false
	}
	if len(doc.Content) == 0 {
		r.fault(1, "", "the file is empty")
		return false
	}
	r.value(doc.Content[0], "", into, "")
	return true
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	spanType     = reflect.TypeFor[Span]()
	whereType    = reflect.TypeFor[Where]()
	treeType     = reflect.TypeFor[Tree]()
	loadType     = reflect.TypeFor[Load]()
)

// value reads a node into v.
func (r *reader) value(n *yaml.Node, path string, v reflect.Value, one string) {
	if n.Kind == yaml.AliasNode {
		// A few hundred lines of them can stand for gigabytes.
		r.fault(n.Line, path, "aliases (*%s) are not taken; write it out", n.Value)
		return
	}
	if v.Kind() == reflect.Pointer {
		e := reflect.New(v.Type().Elem())
		r.value(n, path, e.Elem(), one)
		v.Set(e)
		return
	}
	switch v.Type() {
	case durationType:
		if d, ok := r.duration(n, path); ok {
			v.SetInt(int64(d))
		}
		return
	case spanType:
		if n.Kind == yaml.ScalarNode && n.Value == "end" {
			v.Set(reflect.ValueOf(Span{End: true}))
		} else if d, ok := r.duration(n, path); ok {
			v.Set(reflect.ValueOf(Span{For: d}))
		}
		return
	case whereType:
		v.Set(reflect.ValueOf(r.where(n, path)))
		return
	case treeType:
		tree, ok := r.tree(n, path, 0).(map[string]any)
		if !ok {
			r.fault(n.Line, path, "must have keys, not %s", describe(n))
			return
		}
		v.Set(reflect.ValueOf(Tree(tree)))
		return
	case loadType:
		if n.Kind == yaml.ScalarNode {
			if f, ok := r.number(n, path); ok {
				a := Amps(f)
				v.Set(reflect.ValueOf(Load{L1: &a, L2: &a, L3: &a}))
			}
			return
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		r.mapping(n, path, v)
	case reflect.Map:
		r.table(n, path, v)
	case reflect.Slice:
		r.list(n, path, v, one)
	case reflect.String:
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			r.fault(n.Line, path, "must be a text, not %s", describe(n))
			return
		}
		if known := strings.Split(one, ","); one != "" && !slices.Contains(known, n.Value) {
			r.fault(n.Line, path, "there is no %q%s; known are %s", n.Value, meant(n.Value, known), strings.Join(known, ", "))
			return
		}
		v.SetString(n.Value)
	case reflect.Bool:
		b, ok := map[string]bool{"true": true, "false": false}[n.Value]
		if n.Kind != yaml.ScalarNode || !ok {
			r.fault(n.Line, path, "must be true or false, not %s", describe(n))
			return
		}
		v.SetBool(b)
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			r.fault(n.Line, path, "must be a whole number, not %s", describe(n))
			return
		}
		v.SetInt(int64(i))
	case reflect.Float64:
		if f, ok := r.number(n, path); ok {
			v.SetFloat(f)
		}
	}
}

func (r *reader) number(n *yaml.Node, path string) (float64, bool) {
	f, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		r.fault(n.Line, path, "must be a number, not %s", describe(n))
		return 0, false
	}
	return f, true
}

func (r *reader) duration(n *yaml.Node, path string) (time.Duration, bool) {
	d, err := time.ParseDuration(strings.TrimPrefix(n.Value, "+"))
	if n.Kind != yaml.ScalarNode || err != nil {
		r.fault(n.Line, path, "must be a time with its unit, like 30s, not %s", describe(n))
		return 0, false
	}
	if d > Longest || d < -Longest {
		r.fault(n.Line, path, "%v is longer than %v", d, Longest)
		return 0, false
	}
	return d, true
}

// list reads a list; one value stands for a list of one.
func (r *reader) list(n *yaml.Node, path string, v reflect.Value, one string) {
	nodes := n.Content
	if n.Kind == yaml.ScalarNode && v.Type().Elem().Kind() == reflect.String && n.Tag != "!!null" {
		nodes = []*yaml.Node{n}
	} else if n.Kind != yaml.SequenceNode {
		r.fault(n.Line, path, "must be a list, not %s", describe(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(nodes), len(nodes))
	for i, e := range nodes {
		r.value(e, fmt.Sprintf("%s[%d]", path, i), out.Index(i), one)
	}
	v.Set(out)
}

// table reads a map by names that are not known here.
func (r *reader) table(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		r.fault(n.Line, path, "must have keys, not %s", describe(n))
		return
	}
	out := reflect.MakeMap(v.Type())
	for key, val := range r.pairs(n, path) {
		e := reflect.New(v.Type().Elem()).Elem()
		r.value(val, join(path, key.Value), e, "")
		out.SetMapIndex(reflect.ValueOf(key.Value), e)
	}
	v.Set(out)
}

// pairs yields the keys of a mapping once each; the second of one name is a
// fault.
func (r *reader) pairs(n *yaml.Node, path string) func(func(*yaml.Node, *yaml.Node) bool) {
	return func(yield func(*yaml.Node, *yaml.Node) bool) {
		first := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if line, twice := first[key.Value]; twice {
				r.fault(key.Line, join(path, key.Value), "is there twice; the first is in line %d", line)
				continue
			}
			first[key.Value] = key.Line
			if !yield(key, n.Content[i+1]) {
				return
			}
		}
	}
}

func (r *reader) mapping(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		r.fault(n.Line, path, "must have keys, not %s", describe(n))
		return
	}
	fields := map[string]field{}
	var names []string
	for _, f := range fieldsOf(v.Type()) {
		fields[f.name] = f
		names = append(names, f.name)
	}
	if l := v.FieldByName("Line"); l.IsValid() {
		l.SetInt(int64(n.Line))
	}
	seen := map[string]bool{}
	for key, val := range r.pairs(n, path) {
		f, known := fields[key.Value]
		if !known {
			r.fault(key.Line, join(path, key.Value), "unknown key%s; known here are %s", meant(key.Value, names), strings.Join(names, ", "))
			continue
		}
		seen[f.name] = true
		r.value(val, join(path, f.name), v.FieldByIndex(f.index), f.one)
	}
	for _, name := range names {
		if fields[name].need && !seen[name] {
			r.fault(n.Line, join(path, name), "is missing: %s", fields[name].doc)
		}
	}
}

// field is one key of a struct.
type field struct {
	name, doc, one string
	need           bool
	index          []int
	of             reflect.Type
}

// fieldsOf returns the keys of a struct, those of embedded ones too.
func fieldsOf(t reflect.Type) (out []field) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			for _, e := range fieldsOf(f.Type) {
				e.index = append([]int{i}, e.index...)
				out = append(out, e)
			}
			continue
		}
		name := f.Tag.Get("yaml")
		if name == "" || name == "-" {
			continue
		}
		out = append(out, field{name, f.Tag.Get("doc"), f.Tag.Get("one"), f.Tag.Get("need") != "", []int{i}, f.Type})
	}
	return out
}

// deepest is how deep a tree may go: a site file has five levels.
const deepest = 20

// tree reads what is passed on as it is.
func (r *reader) tree(n *yaml.Node, path string, depth int) any {
	switch {
	case depth > deepest:
		r.fault(n.Line, path, "is more than %d levels deep", deepest)
		return nil
	case n.Kind == yaml.MappingNode:
		m := map[string]any{}
		for key, val := range r.pairs(n, path) {
			m[key.Value] = r.tree(val, join(path, key.Value), depth+1)
		}
		return m
	case n.Kind == yaml.SequenceNode:
		l := make([]any, len(n.Content))
		for i, e := range n.Content {
			l[i] = r.tree(e, fmt.Sprintf("%s[%d]", path, i), depth+1)
		}
		return l
	case n.Kind == yaml.AliasNode:
		r.fault(n.Line, path, "aliases (*%s) are not taken; write it out", n.Value)
		return nil
	}
	return scalar(n)
}

// scalar is a value as JSON has it: a text, a number, true, false or null.
func scalar(n *yaml.Node) any {
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return n.Value == "true"
	case "!!int", "!!float":
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
	}
	return n.Value
}

func (r *reader) where(n *yaml.Node, path string) (out Where) {
	if n.Kind != yaml.MappingNode {
		r.fault(n.Line, path, "must be values by path, not %s", describe(n))
		return nil
	}
	for key, val := range r.pairs(n, path) {
		at := join(path, key.Value)
		if err := checkPath(key.Value); err != nil {
			r.fault(key.Line, at, "%v", err)
		}
		out = append(out, Term{key.Value, r.match(val, at)})
	}
	return out
}

var matchWords = []string{"above", "below", "at_least", "at_most", "not", "contains", "one_of", "exists"}

func (r *reader) match(n *yaml.Node, path string) (m Match) {
	if n.Kind == yaml.ScalarNode {
		return Match{Equal: true, Value: scalar(n)}
	}
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		r.fault(n.Line, path, "must be a value or one of %s", strings.Join(matchWords, ", "))
		return m
	}
	number := func(val *yaml.Node, at string) *float64 {
		f, _ := r.number(val, at)
		return &f
	}
	for key, val := range r.pairs(n, path) {
		at := join(path, key.Value)
		switch key.Value {
		case "above":
			m.Above = number(val, at)
		case "below":
			m.Below = number(val, at)
		case "at_least":
			m.AtLeast = number(val, at)
		case "at_most":
			m.AtMost = number(val, at)
		case "not":
			if val.Kind != yaml.ScalarNode {
				r.fault(val.Line, at, "must be one value, not %s", describe(val))
			}
			v := scalar(val)
			m.Not = &v
		case "contains":
			text := val.Value
			m.Contains = &text
			if val.Kind != yaml.ScalarNode || text == "" {
				r.fault(val.Line, at, "must be a text, not %s", describe(val))
			}
		case "one_of":
			if val.Kind != yaml.SequenceNode || len(val.Content) == 0 {
				r.fault(val.Line, at, "must be a list, not %s", describe(val))
			}
			for _, e := range val.Content {
				m.OneOf = append(m.OneOf, scalar(e))
			}
		case "exists":
			b := val.Value == "true"
			m.Exists = &b
			if val.Tag != "!!bool" {
				r.fault(val.Line, at, "must be true or false, not %s", describe(val))
			}
		default:
			r.fault(key.Line, at, "unknown word%s; known are %s", meant(key.Value, matchWords), strings.Join(matchWords, ", "))
		}
	}
	if low, high := bound(m.AtLeast, m.Above), bound(m.AtMost, m.Below); low != nil && high != nil && *low > *high {
		r.fault(n.Line, path, "can never be true: at least %v and at most %v", *low, *high)
	}
	return m
}

func bound(a, b *float64) *float64 {
	if a != nil {
		return a
	}
	return b
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a group of keys"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return strconv.Quote(n.Value)
}

// meant is a suggestion for a misspelt word, or nothing.
func meant(word string, known []string) string {
	best, far := "", len(word)/3+2
	for _, k := range known {
		if d := distance(word, k); d < far {
			best, far = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// distance is how many letters must change to make b of a (Levenshtein). Long
// words are not misspelt ones.
func distance(a, b string) int {
	if len(a) > 40 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := last
			if a[i] != b[j] {
				change++
			}
			last = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
