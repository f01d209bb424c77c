package message

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// Layouts of times: a period's bounds have no parts of a second.
const (
	secondLayout = "2006-01-02T15:04:05Z"
	milliLayout  = "2006-01-02T15:04:05.000Z"
)

// places is how many decimals a number in thousandths keeps.
type places int

const (
	whole  places = 0 // W, var
	tenths places = 1 // V, A, s
	full   places = 3
)

// writer appends one JSON object to b. It exists so that a message is written
// without reflection and without garbage.
type writer struct{ b []byte }

// open starts an object; an empty name stands for the outermost one or for an
// element of an array.
func (w *writer) open(name string) {
	w.name(name)
	w.b = append(w.b, '{')
}

func (w *writer) shut() { w.b = append(w.b, '}') }

func (w *writer) openArray(name string) {
	w.name(name)
	w.b = append(w.b, '[')
}

func (w *writer) shutArray() { w.b = append(w.b, ']') }

// name writes the comma that the place needs, and the field's name.
func (w *writer) name(name string) {
	if n := len(w.b); n > 0 {
		switch w.b[n-1] {
		case '{', '[', ':':
		default:
			w.b = append(w.b, ',')
		}
	}
	if name != "" {
		w.b = appendString(w.b, name)
		w.b = append(w.b, ':')
	}
}

func (w *writer) null(name string) {
	w.name(name)
	w.b = append(w.b, "null"...)
}

// text writes a string that is always there.
func (w *writer) text(name, s string) {
	w.name(name)
	w.b = appendString(w.b, s)
}

// known writes s, or null where it is empty.
func (w *writer) known(name, s string) {
	if s == "" {
		w.null(name)
		return
	}
	w.text(name, s)
}

func (w *writer) count(name string, n uint64) {
	w.name(name)
	w.b = strconv.AppendUint(w.b, n, 10)
}

func (w *writer) integer(name string, n int64) {
	w.name(name)
	w.b = strconv.AppendInt(w.b, n, 10)
}

func (w *writer) flag(name string, is bool) {
	w.name(name)
	w.b = strconv.AppendBool(w.b, is)
}

// decimal writes thousandths as a number of units.
func (w *writer) decimal(name string, thousandths int64, keep places) {
	w.name(name)
	w.b = appendDecimal(w.b, thousandths, keep)
}

// instant writes a time with milliseconds, or null where there is none.
func (w *writer) instant(name string, t time.Time) { w.time(name, t, milliLayout) }

// second writes a time with whole seconds, or null where there is none.
func (w *writer) second(name string, t time.Time) { w.time(name, t, secondLayout) }

func (w *writer) time(name string, t time.Time, layout string) {
	if t.IsZero() {
		w.null(name)
		return
	}
	w.name(name)
	w.b = append(w.b, '"')
	w.b = t.UTC().AppendFormat(w.b, layout)
	w.b = append(w.b, '"')
}

// raw writes JSON that was made elsewhere. What is not JSON is written as a
// string: it must not break the message around it.
func (w *writer) raw(name string, value []byte) {
	if !json.Valid(value) {
		w.text(name, string(value))
		return
	}
	w.name(name)
	w.b = append(w.b, value...)
}

// appendDecimal appends thousandths, rounded half away from zero to the
// decimals it keeps, without zeros at the end.
func appendDecimal(dst []byte, thousandths int64, keep places) []byte {
	size := uint64(thousandths)
	if thousandths < 0 {
		size = -size
	}
	scale := uint64(1) // of the decimals kept
	for range keep {
		scale *= 10
	}
	step := 1000 / scale
	size = size/step + (size%step+step/2)/step
	if thousandths < 0 && size > 0 {
		dst = append(dst, '-')
	}
	dst = strconv.AppendUint(dst, size/scale, 10)
	rest := size % scale
	if rest == 0 {
		return dst
	}
	dst = append(dst, '.')
	for rest > 0 {
		scale /= 10
		dst = append(dst, '0'+byte(rest/scale))
		rest %= scale
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Octets that are not UTF-8 become the
// replacement character.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
