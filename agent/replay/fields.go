package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// field is a member that differs between two JSON values.
type field struct{ path, was, would string }

// mostFields is how many differing members of one value are named.
const mostFields = 20

// fields names the members in which two JSON values differ.
func fields(was, would []byte) []field {
	a, b := value(was), value(would)
	return differ(nil, "", a, b)
}

func value(text []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return string(text)
	}
	return v
}

func differ(all []field, path string, was, would any) []field {
	if len(all) >= mostFields {
		return all
	}
	if a, ok := was.(map[string]any); ok {
		if b, ok := would.(map[string]any); ok {
			names := map[string]bool{}
			for n := range a {
				names[n] = true
			}
			for n := range b {
				names[n] = true
			}
			for _, n := range slices.Sorted(maps.Keys(names)) {
				x, inA := a[n]
				y, inB := b[n]
				at := n
				if path != "" {
					at = path + "." + n
				}
				if !inA {
					x = absent
				}
				if !inB {
					y = absent
				}
				all = differ(all, at, x, y)
			}
			return all
		}
	}
	if a, ok := was.([]any); ok {
		if b, ok := would.([]any); ok && len(a) == len(b) {
			for i := range a {
				all = differ(all, fmt.Sprintf("%s[%d]", path, i), a[i], b[i])
			}
			return all
		}
	}
	x, y := said(was), said(would)
	if x != y {
		all = append(all, field{path, x, y})
	}
	return all
}

// absent stands for a member that is not there.
type nothing struct{}

var absent = nothing{}

func said(v any) string {
	if v == absent {
		return "absent"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	if len(text) > 200 {
		return string(text[:200]) + "..."
	}
	return string(text)
}
