package configs

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Change is one key that differs between two site files. Empty is not there.
type Change struct{ Path, Old, New string }

// String returns the change for a person.
func (c Change) String() string {
	switch {
	case c.Old == "":
		return "+ " + c.Path + ": " + c.New
	case c.New == "":
		return "- " + c.Path + ": " + c.Old
	default:
		return "~ " + c.Path + ": " + c.Old + " -> " + c.New
	}
}

// Diff returns what differs between two site files, defaults included, in the
// order of their keys. Elements of lists are known by their id; where they have
// none, by their place.
func Diff(old, new *Config) (all []Change) {
	var order []string
	before, after := map[string]string{}, map[string]string{}
	flatten(reflect.ValueOf(*old), "", func(path, value string) { before[path] = value; order = append(order, path) })
	flatten(reflect.ValueOf(*new), "", func(path, value string) {
		after[path] = value
		if _, known := before[path]; !known {
			order = append(order, path)
		}
	})
	for _, path := range order {
		if a, b := before[path], after[path]; a != b {
			all = append(all, Change{path, a, b})
		}
	}
	slices.SortStableFunc(all, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// flatten calls f with each value below v.
func flatten(v reflect.Value, path string, f func(path, value string)) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			flatten(v.Elem(), path, f)
		}
	case reflect.Struct:
		if t, ok := v.Interface().(time.Time); ok {
			f(path, t.Format(time.RFC3339))
			return
		}
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("mapstructure"), ",")
			if name == "" || name == "-" {
				continue // worked out of others
			}
			flatten(v.Field(i), strings.TrimPrefix(path+"."+name, "."), f)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			e, key := v.Index(i), fmt.Sprint(i)
			if e.Kind() == reflect.Struct {
				if id := e.FieldByName("ID"); id.IsValid() && id.Kind() == reflect.String && id.String() != "" {
					key = id.String()
				}
			}
			flatten(e, path+"["+key+"]", f)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			flatten(v.MapIndex(key), fmt.Sprintf("%s.%v", path, key), f)
		}
	case reflect.String:
		f(path, fmt.Sprintf("%q", v.String()))
	default:
		f(path, fmt.Sprint(v.Interface()))
	}
}
