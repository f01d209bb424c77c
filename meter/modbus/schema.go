package modbus

import (
	"encoding/json"
	"fmt"
	"strings"
)

// jsonSchema is the part of JSON Schema that a profile needs.
type jsonSchema struct {
	Schema      string                 `json:"$schema,omitempty"`
	Title       string                 `json:"title,omitempty"`
	Type        any                    `json:"type,omitempty"`
	Description string                 `json:"description,omitempty"`
	Enum        []string               `json:"enum,omitempty"`
	Pattern     string                 `json:"pattern,omitempty"`
	Minimum     *uint64                `json:"minimum,omitempty"`
	Maximum     *uint64                `json:"maximum,omitempty"`
	MinItems    int                    `json:"minItems,omitempty"`
	MaxItems    int                    `json:"maxItems,omitempty"`
	Items       *jsonSchema            `json:"items,omitempty"`
	Properties  map[string]*jsonSchema `json:"properties,omitempty"`
	Required    []string               `json:"required,omitempty"`
	// Additional is false for every group of keys: an unknown key is a fault.
	Additional *bool `json:"additionalProperties,omitempty"`
}

// Schema returns the JSON Schema of a profile file.
func Schema() ([]byte, error) {
	s := profileShape.schema()
	s.Schema, s.Title = "https://json-schema.org/draft/2020-12/schema", "lvagent meter profile"
	return json.MarshalIndent(s, "", "  ")
}

func (s *shape) schema() *jsonSchema {
	switch s.is {
	case aWhole:
		return &jsonSchema{Type: "integer", Minimum: &s.low, Maximum: &s.high}
	case aNumber:
		return &jsonSchema{Type: "number"}
	case aText:
		return &jsonSchema{Type: []string{"string", "number"}}
	case aChoice:
		return &jsonSchema{Type: "string", Enum: s.names}
	case aDuration:
		return &jsonSchema{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`}
	case aFlag:
		return &jsonSchema{Type: "boolean"}
	case aValue:
		return &jsonSchema{Type: []string{"integer", "string"}}
	case aList:
		return &jsonSchema{Type: "array", Items: s.of.schema(), MinItems: s.count, MaxItems: s.count}
	}
	no := false
	out := &jsonSchema{Type: "object", Properties: map[string]*jsonSchema{}, Additional: &no}
	for _, k := range s.keys {
		p := k.shape.schema()
		p.Description = k.doc
		out.Properties[k.name] = p
		if k.required {
			out.Required = append(out.Required, k.name)
		}
	}
	return out
}

// Reference returns the keys of a profile file as a Markdown table.
func Reference() string {
	var b strings.Builder
	b.WriteString("| key | takes | |\n|---|---|---|\n")
	profileShape.reference(&b, "")
	return b.String()
}

func (s *shape) reference(b *strings.Builder, path string) {
	for _, k := range s.keys {
		at, inner := join(path, k.name), k.shape
		takes := inner.takes()
		if inner.is == aList && inner.of.is == aGroup {
			at, inner = at+"[]", inner.of
		}
		if k.required {
			takes += ", required"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", at, takes, strings.ReplaceAll(k.doc, "|", "\\|"))
		if inner.is == aGroup {
			inner.reference(b, at)
		}
	}
}

func (s *shape) takes() string {
	switch s.is {
	case aWhole:
		return "whole number"
	case aNumber:
		return "number"
	case aText:
		return "text"
	case aChoice:
		return "`" + strings.Join(s.names, "`, `") + "`"
	case aDuration:
		return "duration"
	case aFlag:
		return "true or false"
	case aValue:
		return "whole number or reason"
	case aList:
		if s.count > 0 {
			return fmt.Sprintf("list of %d: %s", s.count, s.of.takes())
		}
		return "list of " + s.of.takes()
	default:
		return "keys"
	}
}
