// Package schematest holds messages to their schemas with a validator that is not
// ours, so that what is published and what is described cannot part. It is for
// tests and benches; the agent does not validate itself.
package schematest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"lvagent/agent/message"
)

// strict compiles the schemas once. What they do not describe is a fault.
var strict = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	all := map[string]*jsonschema.Schema{}
	for _, s := range message.Schemas() {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(s.Append(nil, true)))
		if err != nil {
			return nil, fmt.Errorf("read schema %s: %w", s.Name, err)
		}
		url := "urn:lvagent:v1:" + strings.ReplaceAll(s.Name, "/", ":")
		if err := c.AddResource(url, doc); err != nil {
			return nil, fmt.Errorf("add schema %s: %w", s.Name, err)
		}
		if all[s.Name], err = c.Compile(url); err != nil {
			return nil, fmt.Errorf("compile schema %s: %w", s.Name, err)
		}
	}
	return all, nil
})

// Check returns why a message is not what its schema says, or that its topic has
// none. The schema is the strict one: a field that is not described is a fault.
func Check(topic string, payload []byte) error {
	all, err := strict()
	if err != nil {
		return err
	}
	s, ok := message.SchemaOf(topic)
	if !ok {
		return fmt.Errorf("topic %s: no schema", topic)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return fmt.Errorf("topic %s: %w: %.200q", topic, err, payload)
	}
	if err := all[s.Name].Validate(v); err != nil {
		return fmt.Errorf("topic %s: %w: %.2000s", topic, err, payload)
	}
	return nil
}

// CheckRecord is Check of a record that has no number yet.
func CheckRecord(stream string, body []byte) error {
	return Check("up/hist/"+stream, message.Seal(nil, body, stream, 1, 1))
}
