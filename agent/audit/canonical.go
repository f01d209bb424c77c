package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// mostDepth is how deep a record may be nested; ours are four deep.
const mostDepth = 16

// ErrNotCanonical is of JSON that has no canonical form here: a number with a
// fraction or an exponent, a name twice, nesting without end.
var ErrNotCanonical = errors.New("no canonical form")

// Canonical returns a JSON value as it is hashed: by RFC 8785, restricted to
// whole numbers, so that no two languages can differ on it. No white space,
// members sorted by name, strings with the fewest escapes.
func Canonical(value []byte) ([]byte, error) {
	if !utf8.Valid(value) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrNotCanonical)
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	out, err := canonical(nil, d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: more behind the value at octet %d", ErrNotCanonical, d.InputOffset())
	}
	return out, nil
}

func canonical(dst []byte, d *json.Decoder, depth int) ([]byte, error) {
	token, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("canonical form: octet %d: %w", d.InputOffset(), err)
	}
	switch v := token.(type) {
	case json.Delim:
		if depth == mostDepth {
			return nil, fmt.Errorf("%w: nested deeper than %d", ErrNotCanonical, mostDepth)
		}
		if v == '[' {
			return canonicalArray(dst, d, depth)
		}
		return canonicalObject(dst, d, depth)
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") || v == "-0" {
			return nil, fmt.Errorf("%w: %s is no whole number", ErrNotCanonical, v)
		}
		return append(dst, v...), nil
	case string:
		return appendText(dst, v), nil
	case bool:
		if v {
			return append(dst, "true"...), nil
		}
		return append(dst, "false"...), nil
	default:
		return append(dst, "null"...), nil
	}
}

func canonicalArray(dst []byte, d *json.Decoder, depth int) (_ []byte, err error) {
	dst = append(dst, '[')
	for n := 0; d.More(); n++ {
		if n > 0 {
			dst = append(dst, ',')
		}
		if dst, err = canonical(dst, d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err = d.Token()
	return append(dst, ']'), err
}

func canonicalObject(dst []byte, d *json.Decoder, depth int) ([]byte, error) {
	type member struct {
		name string
		text []byte
	}
	var all []member
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string)
		text, err := canonical(nil, d, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, member{name, text})
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	// Our names are ASCII, for which the order of octets is that of UTF-16.
	slices.SortStableFunc(all, func(a, b member) int { return strings.Compare(a.name, b.name) })
	dst = append(dst, '{')
	for i, m := range all {
		if i > 0 {
			if all[i-1].name == m.name {
				return nil, fmt.Errorf("%w: %q twice", ErrNotCanonical, m.name)
			}
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, m.name), ':')
		dst = append(dst, m.text...)
	}
	return append(dst, '}'), nil
}

const hexDigits = "0123456789abcdef"

func appendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch r {
		case '"', '\\':
			dst = append(dst, '\\', byte(r))
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			if r < 0x20 {
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
			} else {
				dst = utf8.AppendRune(dst, r)
			}
		}
	}
	return append(dst, '"')
}
