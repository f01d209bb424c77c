// Package flight is the form in which the flight recorder keeps readings: blocks
// that each stand for themselves, so that a torn or damaged one costs no other.
//
// It turns readings into octets and octets into readings. It opens no file and
// decides neither what is kept nor for how long; see agent/recorder.
//
// A block of version 1 is
//
//	4 octets  "LVR1"
//	4 octets  length of the rest, little endian
//	4 octets  CRC-32C of the rest
//	          uvarint length of the way's name, the name
//	          varint  time of the first reading, ms since 1970
//	          uvarint number of readings, then each of them:
//	          varint  ms since the reading before
//	          uvarint 0, or 1 and for each of the 13 values a uvarint: reason x 4 + quality
//	          varint  for each value that is not missing: its difference to its last one
//
// The values are V, I, P and Q of L1, of L2, of L3, and the neutral current. V
// and I are kept in hundredths, P and Q in whole watts and vars.
//
// Requirements: R3 (what happened around an alarm), R16 (a fault of the disk
// yields no false number).
package flight

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"time"

	"lvagent/meter"
)

const (
	magic  = "LVR1"
	header = 12

	mostName = 64
	// MostBlock is the most octets of a block's rest. A longer one is none: no
	// damaged length makes a reader wait for more.
	MostBlock = 1 << 20

	values = 4*meter.Phases + 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// step is what one unit of a value's column stands for, in thousandths.
func step(i int) int64 {
	if i < values-1 && i%4 >= 2 {
		return 1000
	}
	return 10
}

// row is a reading as its columns.
type row struct {
	mark  [values]uint32 // reason x 4 + quality
	value [values]int64
}

func (w *row) of(r *meter.Reading) {
	for p := range r.Phase {
		ph := &r.Phase[p]
		put(w, 4*p, ph.V)
		put(w, 4*p+1, ph.I)
		put(w, 4*p+2, ph.P)
		put(w, 4*p+3, ph.Q)
	}
	put(w, values-1, r.Neutral)
}

func put[T meter.Quantity](w *row, i int, s meter.Sample[T]) {
	w.mark[i] = uint32(s.Reason)<<2 | uint32(s.Quality)
	w.value[i] = 0
	if s.Quality == meter.Missing {
		return
	}
	v, by := int64(s.Value), step(i)
	rounded := v / by
	if rest := v % by; rest*2 >= by {
		rounded++
	} else if rest*2 <= -by {
		rounded--
	}
	w.value[i] = rounded
}

func (w *row) reading(r *meter.Reading) {
	for p := range r.Phase {
		ph := &r.Phase[p]
		get(w, 4*p, &ph.V)
		get(w, 4*p+1, &ph.I)
		get(w, 4*p+2, &ph.P)
		get(w, 4*p+3, &ph.Q)
	}
	get(w, values-1, &r.Neutral)
}

func get[T meter.Quantity](w *row, i int, s *meter.Sample[T]) {
	*s = meter.Sample[T]{Quality: meter.Quality(w.mark[i] & 3), Reason: meter.Reason(w.mark[i] >> 2)}
	if s.Quality != meter.Missing {
		s.Value = T(w.value[i] * step(i))
	}
}

// Builder makes a block of one way's readings. It has one owner.
type Builder struct {
	way  string
	body []byte
	n    uint64
	at   int64 // ms of the last reading
	from int64 // of the first
	last row
}

// NewBuilder returns an empty block of a way.
func NewBuilder(way string) *Builder { return &Builder{way: way[:min(len(way), mostName)]} }

// Add appends a reading that was taken at wall.
func (b *Builder) Add(r *meter.Reading, wall time.Time) {
	at := wall.UnixMilli()
	if b.n == 0 {
		b.from, b.at, b.last = at, at, row{}
	}
	var now row
	now.of(r)
	b.body = binary.AppendVarint(b.body, at-b.at)
	if now.mark == b.last.mark && b.n > 0 {
		b.body = append(b.body, 0)
	} else {
		b.body = append(b.body, 1)
		for _, m := range now.mark {
			b.body = binary.AppendUvarint(b.body, uint64(m))
		}
	}
	for i := range now.value {
		if meter.Quality(now.mark[i]&3) == meter.Missing {
			now.value[i] = b.last.value[i] // the next one is told against the last that was there
			continue
		}
		b.body = binary.AppendVarint(b.body, now.value[i]-b.last.value[i])
	}
	b.last, b.at = now, at
	b.n++
}

// Len returns how many octets the block has so far, without its head.
func (b *Builder) Len() int { return len(b.body) }

// AppendTo appends the block to dst and begins the next one.
func (b *Builder) AppendTo(dst []byte) []byte {
	if b.n == 0 {
		return dst
	}
	start := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = binary.AppendUvarint(dst, uint64(len(b.way)))
	dst = append(dst, b.way...)
	dst = binary.AppendVarint(dst, b.from)
	dst = binary.AppendUvarint(dst, b.n)
	dst = append(dst, b.body...)
	rest := dst[start+header:]
	binary.LittleEndian.PutUint32(dst[start+4:], uint32(len(rest)))
	binary.LittleEndian.PutUint32(dst[start+8:], crc32.Checksum(rest, castagnoli))
	b.body, b.n = b.body[:0], 0
	return dst
}

// Scan reads the blocks in data and gives each reading of them to yield, until it
// returns false; the reading is valid until yield returns. Octets that are no
// block are passed over and counted.
func Scan(data []byte, yield func(r *meter.Reading, wall time.Time) bool) (skipped int) {
	for len(data) > 0 {
		body, size := block(data)
		if size == 0 {
			next := bytes.Index(data[1:], []byte(magic))
			if next < 0 {
				return skipped + len(data)
			}
			skipped += next + 1
			data = data[next+1:]
			continue
		}
		data = data[size:]
		goOn, whole := readings(body, yield)
		if !whole {
			skipped += size
		}
		if !goOn {
			return skipped
		}
	}
	return skipped
}

// block returns the rest of the block at the start of data and the whole block's
// size, or 0 where there is none.
func block(data []byte) (rest []byte, size int) {
	if len(data) < header || string(data[:4]) != magic {
		return nil, 0
	}
	n := binary.LittleEndian.Uint32(data[4:])
	if n > MostBlock || int(n) > len(data)-header {
		return nil, 0
	}
	rest = data[header : header+int(n)]
	if crc32.Checksum(rest, castagnoli) != binary.LittleEndian.Uint32(data[8:]) {
		return nil, 0
	}
	return rest, header + int(n)
}

// readings reads a block whose sum is right. One that is wrong all the same, by a
// fault in whoever wrote it, is left where it stops making sense.
func readings(b []byte, yield func(*meter.Reading, time.Time) bool) (goOn, whole bool) {
	size, k := binary.Uvarint(b)
	if k <= 0 || size > mostName || uint64(len(b)-k) < size {
		return true, false
	}
	out := meter.Reading{Way: string(b[k : k+int(size)])}
	b = b[k+int(size):]
	at, k := binary.Varint(b)
	if k <= 0 {
		return true, false
	}
	b = b[k:]
	n, k := binary.Uvarint(b)
	if k <= 0 {
		return true, false
	}
	b = b[k:]
	var last row
	for ; n > 0; n-- {
		ms, k := binary.Varint(b)
		if k <= 0 || len(b) <= k || b[k] > 1 {
			return true, false
		}
		marked := b[k] == 1
		at, b = at+ms, b[k+1:]
		for i := range last.mark {
			if !marked {
				break
			}
			m, k := binary.Uvarint(b)
			if k <= 0 || m > 0xffff<<2|3 || m&3 > uint64(meter.Good) {
				return true, false
			}
			last.mark[i], b = uint32(m), b[k:]
		}
		for i := range last.value {
			if meter.Quality(last.mark[i]&3) == meter.Missing {
				continue
			}
			d, k := binary.Varint(b)
			if k <= 0 {
				return true, false
			}
			last.value[i], b = last.value[i]+d, b[k:]
		}
		last.reading(&out)
		if !yield(&out, time.UnixMilli(at).UTC()) {
			return false, true
		}
	}
	return true, len(b) == 0
}
