package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// idMarks are the characters of an id besides letters and digits.
const idMarks = "._:-"

// maxDepth is how deep a command's JSON may nest.
const maxDepth = 8

// maxCount is the largest whole number that every JSON reader keeps exactly.
const maxCount = 1 << 53

// maxSpan bounds a duration; beyond it is a mistake in units.
const maxSpan = 31 * 24 * time.Hour

var (
	errNotText   = errors.New("not UTF-8")
	errNotJSON   = errors.New("not JSON")
	errNotObject = errors.New("not an object")
	errTooDeep   = fmt.Errorf("nested deeper than %d", maxDepth)
)

// parse reads one JSON object. A key that comes twice is a fault: two readers
// would understand two different commands.
func parse(payload []byte) (map[string]any, error) {
	switch {
	case !utf8.Valid(payload):
		return nil, errNotText
	case !json.Valid(payload):
		return nil, errNotJSON
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	v, err := parseValue(d, 0)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errNotObject
	}
	return object, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	token, err := d.Token()
	if errors.Is(err, io.EOF) {
		return nil, errNotJSON
	}
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		object := make(map[string]any)
		for d.More() {
			token, err := d.Token()
			if err != nil {
				return nil, err
			}
			key, _ := token.(string)
			if _, twice := object[key]; twice {
				return nil, fmt.Errorf("key %.64q comes twice", key)
			}
			if object[key], err = parseValue(d, depth+1); err != nil {
				return nil, err
			}
		}
		_, err := d.Token()
		return object, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	return token, nil
}

// appendCanonical appends a parsed value with sorted keys and no spaces.
// Numbers keep the text they were sent with.
func appendCanonical(dst []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		dst = append(dst, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, key), ':')
			dst = appendCanonical(dst, v[key])
		}
		return append(dst, '}')
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendCanonical(dst, e)
		}
		return append(dst, ']')
	case string:
		return appendString(dst, v)
	case json.Number:
		return append(dst, v...)
	case bool:
		return strconv.AppendBool(dst, v)
	default:
		return append(dst, "null"...)
	}
}

// need says whether a field may be absent. Null is absent.
type need bool

const (
	required need = true
	optional need = false
)

// fields reads the fields of an object and keeps the first fault, with the path
// of its field. Keys are compared exactly, case included; keys that nobody asks
// for are not looked at.
type fields struct {
	object map[string]any
	path   string // of the object, with the final dot, or empty
	fault  string
}

// wrong notes a fault; an empty key means the object itself.
func (f *fields) wrong(key, format string, args ...any) {
	if f.fault != "" {
		return
	}
	where := f.path + key
	if key == "" && f.path != "" {
		where = f.path[:len(f.path)-1]
	}
	f.fault = where + ": " + fmt.Sprintf(format, args...)
}

func (f *fields) has(key string) bool { return f.object[key] != nil }

// get returns a field's value; an absent one is a fault where it is required.
func (f *fields) get(key string, n need) (any, bool) {
	v := f.object[key]
	if v == nil && n == required {
		f.wrong(key, "missing")
	}
	return v, v != nil
}

func (f *fields) nested(key string) (*fields, bool) {
	v, ok := f.get(key, required)
	if !ok {
		return nil, false
	}
	o, ok := v.(map[string]any)
	if !ok {
		f.wrong(key, "not an object")
		return nil, false
	}
	return &fields{object: o, path: f.path + key + "."}, true
}

// adopt takes over the fault of a nested object.
func (f *fields) adopt(o *fields) {
	if f.fault == "" {
		f.fault = o.fault
	}
}

func (f *fields) text(key string, most int, n need) string {
	v, ok := f.get(key, n)
	if !ok {
		return ""
	}
	s, ok := v.(string)
	switch {
	case !ok:
		f.wrong(key, "not a string")
	case s == "" && n == required:
		f.wrong(key, "empty")
	case len(s) > most:
		f.wrong(key, "%d octets, at most %d", len(s), most)
	default:
		return s
	}
	return ""
}

// id reads a name of 1 to 64 letters, digits, dots, underscores, colons and
// hyphens.
func (f *fields) id(key string, n need) string {
	v, ok := f.get(key, n)
	if !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok || !validID(s, idMarks) {
		f.wrong(key, "not 1 to 64 of A-Z a-z 0-9 . _ : -")
		return ""
	}
	return s
}

// ids reads a list of different ids with at least one element.
func (f *fields) ids(key string) []string {
	v, _ := f.get(key, required)
	list, ok := v.([]any)
	if !ok || len(list) == 0 || len(list) > maxTargets {
		f.wrong(key, "not a list of 1 to %d names", maxTargets)
		return nil
	}
	names := make([]string, 0, len(list))
	seen := make(map[string]bool, len(list))
	for i, e := range list {
		s, ok := e.(string)
		switch {
		case !ok || !validID(s, idMarks):
			f.wrong(key, "element %d is not 1 to 64 of A-Z a-z 0-9 . _ : -", i)
			return nil
		case seen[s]:
			f.wrong(key, "element %d comes twice", i)
			return nil
		}
		seen[s] = true
		names = append(names, s)
	}
	return names
}

func (f *fields) count(key string, n need) uint64 {
	v, ok := f.get(key, n)
	if !ok {
		return 0
	}
	number, ok := v.(json.Number)
	if !ok {
		f.wrong(key, "not a number")
		return 0
	}
	c, err := strconv.ParseUint(number.String(), 10, 64)
	if err != nil || c > maxCount {
		f.wrong(key, "%.40s is not a whole number from 0 to 2^53", number)
		return 0
	}
	return c
}

// thousandths reads a number that is not negative.
func (f *fields) thousandths(key string, most int64) int64 { return f.between(key, 0, most) }

// between reads a number of at least and at most so many thousandths.
func (f *fields) between(key string, least, most int64) int64 {
	v, _ := f.get(key, required)
	number, ok := v.(json.Number)
	if !ok {
		f.wrong(key, "not a number")
		return 0
	}
	x, err := strconv.ParseFloat(number.String(), 64)
	if err != nil || !(x*1000 >= float64(least) && x*1000 <= float64(most)) {
		f.wrong(key, "%.40s is not a number from %d to %d", number, least/1000, most/1000)
		return 0
	}
	return int64(math.Round(x * 1000))
}

// instant reads an RFC 3339 time of this century or the next.
func (f *fields) instant(key string, n need) time.Time {
	v, ok := f.get(key, n)
	if !ok {
		return time.Time{}
	}
	s, _ := v.(string)
	var t time.Time
	if err := t.UnmarshalText([]byte(s)); err != nil || t.UTC().Year() < 2000 || t.UTC().Year() > 2199 {
		f.wrong(key, "not an RFC 3339 time")
		return time.Time{}
	}
	return t.UTC()
}

// span reads a duration such as "30m". A bare number has no unit and is a
// fault.
func (f *fields) span(key string, least time.Duration, n need) time.Duration {
	v, ok := f.get(key, n)
	if !ok {
		return 0
	}
	s, ok := v.(string)
	if !ok {
		f.wrong(key, "not a duration such as \"30m\"")
		return 0
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil || s == "0" || s == "-0" || s == "+0":
		f.wrong(key, "%.40q is not a duration such as \"30m\"", s)
	case d < least:
		f.wrong(key, "%s is too short", d)
	case d > maxSpan:
		f.wrong(key, "%s is above %s", d, maxSpan)
	default:
		return d
	}
	return 0
}
