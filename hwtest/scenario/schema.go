package scenario

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

func itoa(i int) string { return strconv.Itoa(i) }

// schema is the part of JSON Schema that these files need.
type schema struct {
	Schema      string             `json:"$schema,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        any                `json:"type,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	Enum        []string           `json:"enum,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Additional  any                `json:"additionalProperties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	AnyOf       []*schema          `json:"anyOf,omitempty"`
}

// Schema is the JSON Schema of a scenario file. What is across keys, such as a
// window that can never be true, [Parse] finds.
func Schema() []byte { return SchemaOf("lvbench scenario", Scenario{}) }

// SchemaOf is the JSON Schema of a file that [ParseInto] reads.
func SchemaOf(title string, of any) []byte {
	s := schemaOf(reflect.TypeOf(of), "")
	s.Schema, s.Title = "https://json-schema.org/draft/2020-12/schema", title
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // a struct of texts
	}
	return append(text, '\n')
}

const timePattern = `^[+-]?([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`

func schemaOf(t reflect.Type, one string) *schema {
	switch t {
	case durationType:
		return &schema{Type: "string", Pattern: timePattern}
	case spanType:
		return &schema{AnyOf: []*schema{{Type: "string", Pattern: timePattern}, {Type: "string", Enum: []string{"end"}}}}
	case treeType:
		return &schema{Type: "object"}
	case whereType:
		scalar := &schema{Type: []string{"string", "number", "boolean", "null"}}
		number := &schema{Type: "number"}
		return &schema{Type: "object", Additional: &schema{AnyOf: []*schema{scalar, {Type: "object", Additional: false, Properties: map[string]*schema{
			"above": number, "below": number, "at_least": number, "at_most": number, "not": scalar, "contains": {Type: "string"},
			"one_of": {Type: "array", Items: scalar}, "exists": {Type: "boolean"},
		}}}}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), one)
	case reflect.Struct:
		s := &schema{Type: "object", Properties: map[string]*schema{}, Additional: false}
		for _, f := range fieldsOf(t) {
			p := schemaOf(f.of, f.one)
			p.Description = f.doc
			s.Properties[f.name] = p
			if f.need {
				s.Required = append(s.Required, f.name)
			}
		}
		if t == loadType {
			return &schema{AnyOf: []*schema{{Type: "number"}, s}}
		}
		return s
	case reflect.Map:
		return &schema{Type: "object", Additional: schemaOf(t.Elem(), "")}
	case reflect.Slice:
		e := schemaOf(t.Elem(), one)
		list := &schema{Type: "array", Items: e}
		if t.Elem().Kind() == reflect.String {
			return &schema{AnyOf: []*schema{e, list}}
		}
		return list
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.Int:
		return &schema{Type: "integer"}
	case reflect.Float64:
		return &schema{Type: "number"}
	}
	s := &schema{Type: "string"}
	if one != "" {
		s.Enum = strings.Split(one, ",")
	}
	return s
}
