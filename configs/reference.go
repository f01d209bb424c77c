package configs

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// field is one key of the site file, read off the struct.
type field struct {
	path, doc, def string
	kind           string // what an editor may write there
	list           bool
	typ            reflect.Type
}

// walk visits each key of struct type t in the order of the file. Value is the
// default, where there is one.
func walk(t reflect.Type, v reflect.Value, path string, visit func(field)) {
	for i := range t.NumField() {
		f := t.Field(i)
		at := f.Tag.Get("mapstructure")
		if path != "" {
			at = path + "." + at
		}
		inner := f.Type
		list := inner.Kind() == reflect.Slice
		if list {
			inner = inner.Elem()
			if inner.Kind() == reflect.Struct {
				at += "[]"
			}
		}
		out := field{path: at, doc: f.Tag.Get("doc"), typ: inner, list: list, kind: kindOf(inner)}
		var deeper reflect.Value
		if v.IsValid() && !list {
			deeper = v.Field(i)
			if s := fmt.Sprint(deeper.Interface()); !deeper.IsZero() && out.kind != "keys" {
				out.def = s
			}
		}
		visit(out)
		if inner.Kind() == reflect.Struct {
			walk(inner, deeper, at, visit)
		}
	}
}

func kindOf(t reflect.Type) string {
	switch {
	case t == durationType:
		return "duration"
	case t == phaseAmpsType:
		return "number, or one per phase"
	}
	switch t.Kind() {
	case reflect.Struct:
		return "keys"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "whole number"
	case reflect.Float64:
		return "number"
	default:
		return "text"
	}
}

// Reference returns the reference of the site file as Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Site file

Generated from the configuration's own struct by ` + "`lvagent schema --markdown`" + `; do not edit. ` + "`lvagent schema`" + ` prints the
same as JSON Schema, for editors. Keys that are not here are faults. A duration has a unit: 30s, 10m. Keys under a name
with [] are repeated for each element of that list.

| key | takes | default | |
|---|---|---|---|
`)
	walk(reflect.TypeFor[Config](), reflect.ValueOf(Default()), "", func(f field) {
		kind := f.kind
		if f.list {
			kind = "list of " + kind
		}
		def := f.def
		if def != "" {
			def = "`" + def + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.path, kind, def, strings.ReplaceAll(f.doc, "|", "\\|"))
	})
	return b.String()
}

// schema is the part of JSON Schema that a site file needs.
type schema struct {
	Schema      string             `json:"$schema,omitempty"`
	Title       string             `json:"title,omitempty"`
	Type        any                `json:"type,omitempty"`
	Description string             `json:"description,omitempty"`
	Default     any                `json:"default,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	OneOf       []*schema          `json:"oneOf,omitempty"`
	// Additional is false for every group of keys: an unknown key is a fault.
	Additional *bool `json:"additionalProperties,omitempty"`
}

// Schema returns the JSON Schema of the site file.
func Schema() ([]byte, error) {
	s := schemaOf(reflect.TypeFor[Config](), reflect.ValueOf(Default()))
	s.Schema, s.Title = "https://json-schema.org/draft/2020-12/schema", "lvagent site file"
	return json.MarshalIndent(s, "", "  ")
}

func schemaOf(t reflect.Type, v reflect.Value) *schema {
	no := false
	switch {
	case t == durationType:
		s := &schema{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$`}
		if v.IsValid() && !v.IsZero() {
			s.Default = time.Duration(v.Int()).String()
		}
		return s
	case t == phaseAmpsType:
		number := &schema{Type: "number"}
		return &schema{OneOf: []*schema{number, {Type: "object", Additional: &no,
			Properties: map[string]*schema{"L1": number, "L2": number, "L3": number}}}}
	}
	switch t.Kind() {
	case reflect.Struct:
		s := &schema{Type: "object", Properties: map[string]*schema{}, Additional: &no}
		for i := range t.NumField() {
			f := t.Field(i)
			var deeper reflect.Value
			if v.IsValid() {
				deeper = v.Field(i)
			}
			p := schemaOf(f.Type, deeper)
			p.Description = f.Tag.Get("doc")
			s.Properties[f.Tag.Get("mapstructure")] = p
		}
		return s
	case reflect.Slice:
		return &schema{Type: "array", Items: schemaOf(t.Elem(), reflect.Value{})}
	}
	s := &schema{Type: map[reflect.Kind]string{
		reflect.Bool: "boolean", reflect.Int: "integer", reflect.Float64: "number", reflect.String: "string"}[t.Kind()]}
	if v.IsValid() && !v.IsZero() {
		s.Default = v.Interface()
	}
	return s
}
