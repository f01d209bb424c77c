package message

import "strings"

// Schema describes one kind of message, so that somebody who writes a consumer or
// a bench need not read ours. It is the one source of what lvagent schema prints;
// tests hold every message to it that a real agent publishes.
type Schema struct {
	Name     string   // as the schema's file is called
	Topics   []string // that the messages go on, from up/ or cmd/ on; + stands for a way
	Retained bool
	Doc      string
	body     node
}

// SchemaOf returns the schema of what is on a topic; the levels before up/ or cmd/
// don't matter.
func SchemaOf(topic string) (*Schema, bool) {
	for _, root := range [...]string{"up/", "cmd/"} {
		rest := topic
		if !strings.HasPrefix(rest, root) {
			_, after, found := strings.Cut(topic, "/"+root)
			if !found {
				continue
			}
			rest = root + after
		}
		for i := range schemas {
			for _, pattern := range schemas[i].Topics {
				if matches(pattern, rest) {
					return &schemas[i], true
				}
			}
		}
	}
	return nil, false
}

// matches compares a topic with a pattern in which + stands for one level.
func matches(pattern, topic string) bool {
	for {
		p, morePattern, deeper := strings.Cut(pattern, "/")
		t, moreTopic, longer := strings.Cut(topic, "/")
		switch {
		case deeper != longer, p != "+" && p != t, p == "+" && t == "":
			return false
		case !deeper:
			return true
		}
		pattern, topic = morePattern, moreTopic
	}
}

// Schemas returns all of them, what the agent says before what it hears.
func Schemas() []Schema { return schemas }

// Append appends the schema as JSON Schema 2020-12. Consumers must bear fields and
// remarks that are added in later versions, so an open schema allows them; a strict
// one does not, for tests that look for what is not described.
func (s *Schema) Append(dst []byte, strict bool) []byte {
	w := writer{b: append(dst, '{')}
	w.text("$schema", "https://json-schema.org/draft/2020-12/schema")
	w.text("$id", "urn:lvagent:v1:"+strings.ReplaceAll(s.Name, "/", ":"))
	w.text("title", s.Name)
	doc := s.Doc + " Topic: " + strings.Join(s.Topics, ", ")
	if s.Retained {
		doc += "; retained"
	}
	body := s.body
	body.doc = doc + "."
	w.keywords(&body, strict)
	w.shut()
	return w.b
}

// node is the schema of one value.
type node struct {
	kind                  string // JSON type; empty: any
	null                  bool   // null, too: it is not known
	doc                   string
	format                string
	shape                 string   // a regular expression
	only                  []string // the values that there are
	known                 []string // the values that this version has; more may come
	longest, fewest, most int
	limits                *limits
	items                 *node
	fields                []field
	each                  *node      // of every field without a name of its own
	either                [][]string // of each of these, exactly one field is there
	or                    []node     // any of these instead of all the above
}

type limits struct{ least, most int64 }

type field struct {
	name string
	must bool
	node
}

// corrupt is there where g, s and n are all that is left of a record that was
// damaged in the store.
const corrupt = "corrupt"

func (w *writer) keywords(n *node, strict bool) {
	if n.doc != "" {
		w.text("description", n.doc)
	}
	if len(n.or) > 0 {
		w.openArray("anyOf")
		for i := range n.or {
			w.schema("", &n.or[i], strict)
		}
		w.shutArray()
		return
	}
	switch {
	case n.kind == "":
	case n.null:
		w.openArray("type")
		w.text("", n.kind)
		w.text("", "null")
		w.shutArray()
	default:
		w.text("type", n.kind)
	}
	if n.format != "" {
		w.text("format", n.format)
	}
	if n.shape != "" {
		w.text("pattern", n.shape)
	}
	if n.longest > 0 {
		w.integer("maxLength", int64(n.longest))
	}
	if n.fewest > 0 {
		w.integer("minItems", int64(n.fewest))
	}
	if n.most > 0 {
		w.integer("maxItems", int64(n.most))
	}
	if n.limits != nil {
		w.integer("minimum", n.limits.least)
		w.integer("maximum", n.limits.most)
	}
	names := n.only
	if strict {
		names = append(names, n.known...)
	} else if len(n.known) > 0 {
		w.openArray("examples")
		for _, name := range n.known {
			w.text("", name)
		}
		w.shutArray()
	}
	if len(names) > 0 {
		w.openArray("enum")
		for _, name := range names {
			w.text("", name)
		}
		if n.null {
			w.null("")
		}
		w.shutArray()
	}
	if n.items != nil {
		w.schema("items", n.items, strict)
	}
	if n.kind == "object" {
		w.properties(n, strict)
	}
}

func (w *writer) schema(name string, n *node, strict bool) {
	w.open(name)
	w.keywords(n, strict)
	w.shut()
}

func (w *writer) properties(n *node, strict bool) {
	var must []string
	damaged := false
	if len(n.fields) > 0 {
		w.open("properties")
		for i := range n.fields {
			f := &n.fields[i]
			w.schema(f.name, &f.node, strict)
			if f.must {
				must = append(must, f.name)
			}
			damaged = damaged || f.name == corrupt
		}
		w.shut()
	}
	switch {
	case n.each != nil:
		w.schema("additionalProperties", n.each, strict)
	case strict && n.fields != nil:
		w.flag("additionalProperties", false)
	}
	if damaged {
		w.required([]string{"g", "s", "n"})
		w.open("if")
		w.required([]string{corrupt})
		w.shut()
		w.open("else")
		w.required(must)
		w.shut()
	} else if len(must) > 0 {
		w.required(must)
	}
	switch len(n.either) {
	case 0:
	case 1:
		w.oneOf(n.either[0])
	default:
		w.openArray("allOf")
		for _, fields := range n.either {
			w.open("")
			w.oneOf(fields)
			w.shut()
		}
		w.shutArray()
	}
}

// oneOf demands that exactly one of the fields is there and not null.
func (w *writer) oneOf(fields []string) {
	w.openArray("oneOf")
	for _, name := range fields {
		w.open("")
		w.required([]string{name})
		w.open("properties")
		w.open(name)
		w.open("not")
		w.text("type", "null")
		w.shut()
		w.shut()
		w.shut()
		w.shut()
	}
	w.shutArray()
}

func (w *writer) required(names []string) {
	w.openArray("required")
	for _, name := range names {
		w.text("", name)
	}
	w.shutArray()
}

// A field that is always there, and one that may be absent.
func has(name string, n node, doc string) field {
	n.doc = doc
	return field{name, true, n}
}

func may(name string, n node, doc string) field {
	n.doc = doc
	return field{name, false, n}
}

func orNull(n node) node {
	n.null = true
	return n
}

func object(fields ...field) node { return node{kind: "object", fields: fields} }

// named is an object with a field for each way, group or the like.
func named(each node) node { return node{kind: "object", each: &each} }

func list(items node) node { return node{kind: "array", items: &items} }

// one is one of the names, for as long as the contract's version stands.
func one(names ...string) node { return node{kind: "string", only: names} }

// known is one of the names that this version has.
func known(names ...string) node { return node{kind: "string", known: names} }

func text() node { return node{kind: "string"} }

func number() node { return node{kind: "number"} }

func truth() node { return node{kind: "boolean"} }

func count() node { return node{kind: "integer", limits: &limits{0, maxCount}} }

func integer() node { return node{kind: "integer"} }

// when is a time of an event, or a bound of a period.
func when() node { return node{kind: "string", format: "date-time"} }

func join(parts ...[]field) []field {
	var all []field
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
