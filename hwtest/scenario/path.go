package scenario

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A path leads to a value of a JSON message: keys with dots between them, each
// with [*] or [n] behind it for the elements of a list.
var segment = regexp.MustCompile(`^([^.\[\]]+)((?:\[(?:\*|[0-9]{1,4})\])*)$`)

func checkPath(path string) error {
	for _, s := range strings.Split(path, ".") {
		if !segment.MatchString(s) {
			return fmt.Errorf("%q is no part of a path; one is like ways.W1.state or alarms[*].id", s)
		}
	}
	return nil
}

// Lookup returns every value that a path leads to. A message that is a list
// stands for each of its elements.
func Lookup(body any, path string) []any {
	at := []any{body}
	if list, ok := body.([]any); ok {
		at = list
	}
	for _, part := range strings.Split(path, ".") {
		m := segment.FindStringSubmatch(part)
		if m == nil {
			return nil
		}
		var next []any
		for _, v := range at {
			if object, ok := v.(map[string]any); ok {
				if e, ok := object[m[1]]; ok {
					next = append(next, e)
				}
			}
		}
		for _, index := range strings.FieldsFunc(m[2], func(r rune) bool { return r == '[' || r == ']' }) {
			next = elements(next, index)
		}
		at = next
	}
	return at
}

func elements(of []any, index string) (out []any) {
	for _, v := range of {
		list, ok := v.([]any)
		if !ok {
			continue
		}
		if index == "*" {
			out = append(out, list...)
			continue
		}
		if i, err := strconv.Atoi(index); err == nil && i < len(list) {
			out = append(out, list[i])
		}
	}
	return out
}

// holds reports whether a message has all that is asked for. ids are those of
// the commands by name.
func (w Where) holds(body any, ids map[string][]string) bool {
	for _, t := range w {
		if !t.Match.holds(Lookup(body, t.Path), ids) {
			return false
		}
	}
	return true
}

// holds reports whether one of the values found is as asked. What is not there
// is nothing, unless it is asked for that.
func (m *Match) holds(found []any, ids map[string][]string) bool {
	if m.Exists != nil {
		is := slices.ContainsFunc(found, func(v any) bool { return v != nil })
		return is == *m.Exists
	}
	if m.Not != nil {
		return len(found) > 0 && !slices.ContainsFunc(found, func(v any) bool { return same(v, *m.Not, ids) })
	}
	return slices.ContainsFunc(found, func(v any) bool { return m.one(v, ids) })
}

func (m *Match) one(v any, ids map[string][]string) bool {
	if m.Equal {
		return same(v, m.Value, ids)
	}
	if m.Contains != nil {
		text, ok := v.(string)
		list, isList := v.([]any)
		in := ok && strings.Contains(text, *m.Contains) ||
			isList && slices.ContainsFunc(list, func(e any) bool { return e == any(*m.Contains) })
		if !in {
			return false
		}
	}
	if m.OneOf != nil && !slices.ContainsFunc(m.OneOf, func(w any) bool { return same(v, w, ids) }) {
		return false
	}
	if m.Above == nil && m.Below == nil && m.AtLeast == nil && m.AtMost == nil {
		return m.Contains != nil || m.OneOf != nil
	}
	f, ok := v.(float64)
	return ok && (m.Above == nil || f > *m.Above) && (m.Below == nil || f < *m.Below) &&
		(m.AtLeast == nil || f >= *m.AtLeast) && (m.AtMost == nil || f <= *m.AtMost)
}

// same compares a value of a message with one of a scenario, where $x is the id
// of a command.
func same(v, want any, ids map[string][]string) bool {
	switch w := want.(type) {
	case string:
		if name, ok := strings.CutPrefix(w, "$"); ok {
			text, isText := v.(string)
			return isText && slices.Contains(ids[name], text)
		}
		return v == want
	case float64:
		f, ok := v.(float64)
		return ok && math.Abs(f-w) <= 1e-9*max(1, math.Abs(w))
	case bool, nil:
		return v == want
	}
	return false
}

// String is the condition as a person reads it.
func (w Where) String() string {
	var parts []string
	for _, t := range w {
		parts = append(parts, t.Path+" "+t.Match.String())
	}
	return strings.Join(parts, ", ")
}

func (m Match) String() string {
	if m.Equal {
		return "= " + show(m.Value)
	}
	var parts []string
	add := func(word string, v *float64) {
		if v != nil {
			parts = append(parts, word+" "+show(*v))
		}
	}
	add(">", m.Above)
	add("<", m.Below)
	add("≥", m.AtLeast)
	add("≤", m.AtMost)
	if m.Not != nil {
		parts = append(parts, "≠ "+show(*m.Not))
	}
	if m.Contains != nil {
		parts = append(parts, "contains "+show(*m.Contains))
	}
	if m.OneOf != nil {
		var all []string
		for _, v := range m.OneOf {
			all = append(all, show(v))
		}
		parts = append(parts, "is one of "+strings.Join(all, ", "))
	}
	if m.Exists != nil && *m.Exists {
		parts = append(parts, "is there")
	} else if m.Exists != nil {
		parts = append(parts, "is not there")
	}
	return strings.Join(parts, " and ")
}

func show(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	case string:
		return x
	}
	return fmt.Sprint(v)
}
