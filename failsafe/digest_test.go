package failsafe

import (
	"encoding/binary"
	"hash/crc64"
	"reflect"
	"testing"
	"time"
)

var table = crc64.MakeTable(crc64.ECMA)

// digest is a number of everything in a state, with what hangs on its lists:
// two are the same where nothing was changed. It is much quicker than the state's
// text, so that each step of each test can be watched.
func digest(s *State) uint64 {
	return crc64.Checksum(appendValue(make([]byte, 0, 4096), reflect.ValueOf(s).Elem()), table)
}

func appendValue(b []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			b = appendValue(b, v.Field(i))
		}
	case reflect.Slice:
		b = binary.AppendVarint(b, int64(v.Len()))
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			b = appendValue(b, v.Index(i))
		}
	case reflect.String:
		b = append(binary.AppendVarint(b, int64(v.Len())), v.String()...)
	case reflect.Bool:
		if v.Bool() {
			return append(b, 1)
		}
		b = append(b, 0)
	case reflect.Pointer: // of a time's place: nobody changes that
		b = binary.AppendUvarint(b, uint64(v.Pointer()))
	default:
		if v.CanInt() {
			return binary.AppendVarint(b, v.Int())
		}
		b = binary.AppendUvarint(b, v.Uint()) // what is none of all that panics
	}
	return b
}

// Whatever is changed in a state, also deep in it, changes its digest.
func TestDigest(t *testing.T) {
	s := State{Groups: make([]GroupState, 2), Commands: []Command{{Groups: []string{"G1"}, Effects: make([]Effect, 1)}},
		Constraints: make([]Constraint, 3), Beats: []time.Duration{1}, Overrides: []Override{{Groups: []string{"G1"}}}}
	seen := map[uint64]string{digest(&s): "as it was"}
	for name, change := range map[string]func(){
		"a time":                 func() { s.Wall = s.Wall.Add(1) },
		"a beat":                 func() { s.Beats[0]++ },
		"a group's limit":        func() { s.Groups[1].Limit++ },
		"a group's account":      func() { s.Groups[1].Total.By[ByTurn].Limited++ },
		"a command's group":      func() { s.Commands[0].Groups[0] = "G2" },
		"a command's effect":     func() { s.Commands[0].Effects[0].Phase++ },
		"a group of an override": func() { s.Overrides[0].Groups[0] = "G2" },
		"a flag":                 func() { s.Constraints[2].Bound = true },
		"a list's length":        func() { s.Beats = append(s.Beats, 0) },
	} {
		change()
		d := digest(&s)
		if other, is := seen[d]; is {
			t.Errorf("%s makes no difference to %s", name, other)
		}
		seen[d] = name
	}
}
