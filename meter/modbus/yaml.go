package modbus

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
	"time"

	"go.yaml.in/yaml/v3"
)

// form reads a YAML file node by node, so that every fault has its line, and
// collects the faults instead of stopping at the first.
type form struct {
	faults []Fault
}

// fault notes that something is wrong at n.
func (f *form) fault(n *yaml.Node, path, format string, args ...any) {
	line := 0
	if n != nil {
		line = n.Line
	}
	f.faults = append(f.faults, Fault{Line: line, Path: path, Message: fmt.Sprintf(format, args...)})
}

var syntaxLine = regexp.MustCompile(`line (\d+)`)

// document returns the root of the only document of source, or nil.
func (f *form) document(source []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(source))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		f.faults = append(f.faults, Fault{Line: 1, Message: "the file is empty"})
		return nil
	}
	if err == nil {
		if next := dec.Decode(&more); next == nil {
			f.fault(&more, "", "a second document; a profile is one")
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
		f.faults = append(f.faults, Fault{Line: line, Message: err.Error()})
		return nil
	}
	return doc.Content[0]
}

// list returns the elements of a sequence.
func (f *form) list(n *yaml.Node, path string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		f.fault(n, path, "want a list, got %s", kindOf(n))
		return nil
	}
	return n.Content
}

// text returns a scalar that is not empty.
func (f *form) text(n *yaml.Node, path string) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || strings.TrimSpace(n.Value) == "" {
		f.fault(n, path, "want text, got %s", kindOf(n))
		return ""
	}
	return n.Value
}

// choice returns a scalar that is one of the names allowed.
func (f *form) choice(n *yaml.Node, path string, allowed ...string) (string, bool) {
	s := f.text(n, path)
	if s == "" {
		return "", false
	}
	if !slices.Contains(allowed, s) {
		f.fault(n, path, "unknown %q, want one of %s", s, strings.Join(allowed, ", "))
		return "", false
	}
	return s, true
}

// whole returns a whole number in [low, high], decimal or 0x hexadecimal.
func (f *form) whole(n *yaml.Node, path string, low, high uint64) (uint64, bool) {
	s := n.Value
	v, err := strconv.ParseUint(s, 0, 64)
	// YAML 1.1 reads 010 as eight; a reviewer reads ten.
	octal := len(s) > 1 && s[0] == '0' && s[1] != 'x' && s[1] != 'X'
	if n.Kind != yaml.ScalarNode || err != nil || octal {
		f.fault(n, path, "want a whole number such as 12 or 0x0c, got %s", kindOf(n))
		return 0, false
	}
	if v < low || v > high {
		f.fault(n, path, "%d is outside %d to %d", v, low, high)
		return 0, false
	}
	return v, true
}

// number returns a finite decimal number.
func (f *form) number(n *yaml.Node, path string) (float64, bool) {
	v, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		f.fault(n, path, "want a number, got %s", kindOf(n))
		return 0, false
	}
	return v, true
}

// flag checks that a scalar is true or false.
func (f *form) flag(n *yaml.Node, path string) {
	if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" {
		f.fault(n, path, "want true or false, got %s", kindOf(n))
	}
}

// duration returns a positive duration with its unit.
func (f *form) duration(n *yaml.Node, path string) (time.Duration, bool) {
	if n.Kind == yaml.ScalarNode {
		if _, err := strconv.ParseFloat(n.Value, 64); err == nil {
			f.fault(n, path, "%s has no unit, write for example %ss", n.Value, n.Value)
			return 0, false
		}
	}
	d, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		f.fault(n, path, "want a duration such as 500ms, got %s", kindOf(n))
		return 0, false
	}
	if d <= 0 {
		f.fault(n, path, "%v is not more than 0", d)
		return 0, false
	}
	return d, true
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// kindOf describes a node in a fault.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias (aliases are not read)"
	case yaml.ScalarNode:
		if n.Value == "" {
			return "nothing"
		}
		return strconv.Quote(n.Value)
	default:
		return "nothing"
	}
}
