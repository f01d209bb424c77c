package spi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fault is one thing wrong with a calibration file. Line is 0 where the fault
// belongs to no line.
type Fault struct {
	Line    int
	Path    string // channels[1].gain_v
	Message string
}

// String returns the fault as it follows a file name: "12: board: is missing".
func (f Fault) String() string {
	if f.Path == "" {
		return fmt.Sprintf("%d: %s", f.Line, f.Message)
	}
	return fmt.Sprintf("%d: %s: %s", f.Line, f.Path, f.Message)
}

// form reads a YAML file node by node and collects its faults. A node that is
// nil is a key that is not there; whether it has to be is asked by needs.
type form struct {
	faults []Fault
}

func (f *form) add(line int, path, format string, args ...any) {
	f.faults = append(f.faults, Fault{Line: line, Path: path, Message: fmt.Sprintf(format, args...)})
}

func (f *form) fault(n *yaml.Node, path, format string, args ...any) {
	f.add(n.Line, path, format, args...)
}

var syntaxLine = regexp.MustCompile(`line (\d+)`)

// document returns the root of the only document of text, or nil.
func (f *form) document(text []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		f.add(1, "", "the file is empty")
		return nil
	case err == nil:
		if next := dec.Decode(&more); next == nil {
			f.add(more.Line, "", "a second document; a calibration is one")
			return nil
		} else if !errors.Is(next, io.EOF) {
			err = next
		}
	}
	if err != nil {
		line := 0
		if m := syntaxLine.FindStringSubmatch(err.Error()); m != nil {
			line, _ = strconv.Atoi(m[1]) // digits by the pattern; 0 when too many
		}
		f.add(line, "", "%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return nil
	}
	return doc.Content[0]
}

// mapping returns the values of a mapping by key, or nil. Keys that are not
// allowed, or there twice, are faults.
func (f *form) mapping(n *yaml.Node, path string, allowed ...string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		f.fault(n, path, "must have keys, not be %s", describe(n))
		return nil
	}
	m := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		switch {
		case !slices.Contains(allowed, key.Value):
			f.fault(key, at, "unknown key; known here are %s", strings.Join(allowed, ", "))
		case m[key.Value] != nil:
			f.fault(key, at, "is there twice")
		default:
			m[key.Value] = value
		}
	}
	return m
}

// needs faults keys that are not there.
func (f *form) needs(n *yaml.Node, path string, m map[string]*yaml.Node, keys ...string) {
	for _, k := range keys {
		if m[k] == nil {
			f.fault(n, strings.TrimPrefix(path+"."+k, "."), "is missing")
		}
	}
}

func (f *form) list(n *yaml.Node, path string) []*yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		f.fault(n, path, "must be a list, not %s", describe(n))
		return nil
	}
	return n.Content
}

func (f *form) text(n *yaml.Node, path string) string {
	if n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || strings.TrimSpace(n.Value) == "" {
		f.fault(n, path, "must be text, not %s", describe(n))
		return ""
	}
	return n.Value
}

func (f *form) truth(n *yaml.Node, path string) bool {
	if n == nil {
		return false
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		f.fault(n, path, "must be true or false, not %s", describe(n))
		return false
	}
	return n.Value == "true"
}

// set overwrites to with the number in n, when there is one.
func (f *form) set(to *float64, n *yaml.Node, path string, low, high float64) {
	if v, ok := f.number(n, path, low, high); ok {
		*to = v
	}
}

// number returns a decimal number within low and high.
func (f *form) number(n *yaml.Node, path string, low, high float64) (float64, bool) {
	if n == nil {
		return 0, false
	}
	v, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		f.fault(n, path, "must be a number, not %s", describe(n))
		return 0, false
	}
	if v < low || v > high {
		f.fault(n, path, "must be %v to %v, not %v", low, high, v)
		return 0, false
	}
	return v, true
}

// whole returns a whole number, decimal or 0x hexadecimal.
func (f *form) whole(n *yaml.Node, path string, low, high uint64) (uint64, bool) {
	if n == nil {
		return 0, false
	}
	v, err := strconv.ParseUint(n.Value, 0, 64)
	octal := len(n.Value) > 1 && n.Value[0] == '0' && n.Value[1] != 'x' // a reviewer reads 010 as ten
	if n.Kind != yaml.ScalarNode || err != nil || octal {
		f.fault(n, path, "must be a whole number, not %s", describe(n))
		return 0, false
	}
	if v < low || v > high {
		f.fault(n, path, "must be %d to %d, not %d", low, high, v)
		return 0, false
	}
	return v, true
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a group of keys"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias (write it out)"
	default:
		return strconv.Quote(n.Value)
	}
}
