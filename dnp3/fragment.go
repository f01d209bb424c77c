package dnp3

import (
	"encoding/binary"

	"lvagent/dnp3/app"
)

// fragment is a response being written. Objects that follow each other share a
// header where they can.
type fragment struct {
	octets []byte
	most   int

	// The header that is open, if group is not 0.
	group, variation uint8
	event            bool
	countAt          int    // where an event header's count is
	count            int    // objects under the header
	stopAt           int    // where a range's stop is
	next             uint32 // the index that would continue a range
	base             int64  // the common time
	baseSynced       bool
}

func (f *fragment) begin(octets []byte, most int) {
	*f = fragment{octets: append(octets[:0], 0, 0, 0, 0), most: most}
}

func (f *fragment) room(n int) bool { return len(f.octets)+n <= f.most }

func (f *fragment) close() { f.group = 0 }

// addEvent writes an event; false when the fragment is full.
func (f *fragment) addEvent(e *event, variation uint8) bool {
	group := eventGroups[e.kind].group
	if e.kind == kind(OctetString) {
		return f.addPrefixed(group, uint8(len(e.Octets)), e.index, len(e.Octets), func(out []byte) []byte { return append(out, e.Octets...) })
	}
	if variation == 0 {
		variation = e.variation
	}
	if variation == 0 {
		variation = eventGroups[e.kind].variation
	}
	l, ok := app.LayoutOf(group, variation)
	if !ok {
		variation = eventGroups[e.kind].variation
		l, _ = app.LayoutOf(group, variation)
	}
	if l.Relative() {
		after := e.Time - f.base
		if f.group != group || f.variation != variation || f.baseSynced != e.synced || after < 0 || after > 0xffff {
			if !f.room(10 + 5 + 2 + l.Size()) {
				return false
			}
			f.close()
			f.octets = append(f.octets, 51, 2, byte(app.Count8), 1)
			if e.synced {
				f.octets[len(f.octets)-3] = 1
			}
			f.octets = app.AppendTime(f.octets, e.Time)
			f.base, f.baseSynced = min(max(e.Time, 0), app.MostTime), e.synced
		}
	}
	return f.addPrefixed(group, variation, e.index, l.Size(), func(out []byte) []byte { return l.Append(out, e.Measurement, f.base) })
}

// addPrefixed writes an object behind its index.
func (f *fragment) addPrefixed(group, variation uint8, index uint16, size int, write func([]byte) []byte) bool {
	fresh := f.group != group || f.variation != variation || !f.event
	need := 2 + size
	if fresh {
		need += 5
	}
	if !f.room(need) {
		return false
	}
	if fresh {
		f.octets = append(f.octets, group, variation, byte(app.Prefix16), 0, 0)
		f.group, f.variation, f.event, f.countAt, f.count = group, variation, true, len(f.octets)-2, 0
	}
	f.count++
	binary.LittleEndian.PutUint16(f.octets[f.countAt:], uint16(f.count))
	f.octets = binary.LittleEndian.AppendUint16(f.octets, index)
	f.octets = write(f.octets)
	return true
}

// withFlags is what is sent instead of a variation without flags
// when a point is not simply ONLINE: a value without its quality would be false.
func withFlags(group, variation uint8) uint8 {
	switch group {
	case 1, 3, 10:
		return 2
	case 20:
		return variation - 4 // 5, 6 to 1, 2
	case 21:
		return variation - 8 // 9, 10 to 1, 2
	case 30:
		return variation - 2 // 3, 4 to 1, 2
	}
	return variation
}

// addStatic writes a static value; false when the fragment is full.
func (f *fragment) addStatic(group, variation uint8, index uint16, m app.Measurement) bool {
	if group == 110 {
		return f.addRanged(group, uint8(len(m.Octets)), index, len(m.Octets), func(out []byte) []byte { return append(out, m.Octets...) })
	}
	l, _ := app.LayoutOf(group, variation)
	if !l.HasFlags() && group != 34 && m.Flags != Online {
		variation = withFlags(group, variation)
		l, _ = app.LayoutOf(group, variation)
	}
	bits := l.PackedBits()
	if bits == 0 {
		return f.addRanged(group, variation, index, l.Size(), func(out []byte) []byte { return l.Append(out, m, 0) })
	}
	perOctet := 8 / bits
	size := 0
	same := f.continues(group, variation, index)
	if !same || f.count%perOctet == 0 {
		size = 1
	}
	at := 0
	if same {
		at = f.count % perOctet
	}
	if !f.addRanged(group, variation, index, size, func(out []byte) []byte { return append(out, make([]byte, size)...) }) {
		return false
	}
	f.octets[len(f.octets)-1] |= uint8(m.Number) << (at * bits)
	return true
}

func (f *fragment) continues(group, variation uint8, index uint16) bool {
	return f.group == group && f.variation == variation && !f.event && f.next == uint32(index)
}

// addRanged writes an object under a header with start and stop.
func (f *fragment) addRanged(group, variation uint8, index uint16, size int, write func([]byte) []byte) bool {
	fresh := !f.continues(group, variation, index)
	need := size
	if fresh {
		need += 7
	}
	if !f.room(need) {
		return false
	}
	if fresh {
		f.octets = append(f.octets, group, variation, byte(app.Range16))
		f.octets = binary.LittleEndian.AppendUint16(f.octets, index)
		f.octets = binary.LittleEndian.AppendUint16(f.octets, index)
		f.group, f.variation, f.event, f.stopAt, f.count = group, variation, false, len(f.octets)-2, 0
	}
	f.count++
	binary.LittleEndian.PutUint16(f.octets[f.stopAt:], index)
	f.next = uint32(index) + 1
	f.octets = write(f.octets)
	return true
}

// finish writes the response's header.
func (f *fragment) finish(control uint8, function app.Function, iin app.IIN) {
	f.octets[0], f.octets[1] = control, byte(function)
	binary.LittleEndian.PutUint16(f.octets[2:], uint16(iin))
}
