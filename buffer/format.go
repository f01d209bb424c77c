package buffer

import (
	"encoding/binary"
	"hash/crc32"
)

// The file: five buckets at the root. All numbers are big endian.
//
//	meta     "format" u32, "generation" u32, "commits" u64
//	streams  name -> crc u32, id u32, class u8, flags u8, next u64, first u64,
//	         acked u64, moved u64, At of first i64 (ms), bytes i64, hot i64
//	records  stream id u32, n u64 -> crc u32, generation u32, At i64 (ms), body
//	frames   stream id u32, first n u64 -> crc u32, segment u32, offset u32,
//	         length u32, count u32, bytes i64, At of the first i64 (ms)
//	state    key -> crc u32, value
//
// Records from moved on are in the file, those before are in segments; hot is
// how many of bytes are in the file. Each checksum covers the key too, so that a
// value which ended up under another key is found. Since records leave at the
// front of a stream only, the numbers are all there is to know of it, and
// opening need not look at the records.
const formatVersion = 2

var (
	bucketMeta    = []byte("meta")
	bucketStreams = []byte("streams")
	bucketRecords = []byte("records")
	bucketFrames  = []byte("frames")
	bucketState   = []byte("state")

	keyFormat     = []byte("format")
	keyGeneration = []byte("generation")
	keyCommits    = []byte("commits")
)

const (
	crcSize      = 4
	recordHeader = crcSize + 4 + 8
	streamSize   = crcSize + 4 + 1 + 1 + 8 + 8 + 8 + 8 + 8 + 8 + 8
	frameSize    = crcSize + 4 + 4 + 4 + 4 + 8 + 8
	flagTell     = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal writes the checksum of key and value into the value's first octets.
func seal(key, value []byte) {
	binary.BigEndian.PutUint32(value, sum(key, value))
}

func sum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value[crcSize:])
}

// intact compares the checksum in value with that of its content.
func intact(key, value []byte) (got, want uint32, ok bool) {
	want = binary.BigEndian.Uint32(value)
	got = sum(key, value)
	return got, want, got == want
}

var buckets = [][]byte{bucketMeta, bucketStreams, bucketRecords, bucketFrames, bucketState}

// stream is what is known of one stream. Stored are first to next-1, of which
// those up to acked were acknowledged, and those before moved are in segments.
type stream struct {
	name    string
	id      uint32
	class   Class
	tell    bool // holds records which tell of drops
	first   uint64
	acked   uint64 // at least first-1
	moved   uint64 // at least first
	next    uint64
	firstAt int64 // At of the first stored, ms
	bytes   int64
	hot     int64 // of bytes, those in the file
}

func (st *stream) count() int { return int(st.next - st.first) }

// kept is how many acknowledged records are stored.
func (st *stream) kept() int { return int(st.acked + 1 - st.first) }

func (st *stream) encode() []byte {
	v := make([]byte, crcSize, streamSize)
	v = binary.BigEndian.AppendUint32(v, st.id)
	var flags byte
	if st.tell {
		flags |= flagTell
	}
	v = append(v, byte(st.class), flags)
	for _, n := range []uint64{st.next, st.first, st.acked, st.moved, uint64(st.firstAt), uint64(st.bytes), uint64(st.hot)} {
		v = binary.BigEndian.AppendUint64(v, n)
	}
	seal([]byte(st.name), v)
	return v
}

func (st *stream) decode(name string, v []byte) error {
	if len(v) != streamSize {
		return damage("stream %s: %d octets, want %d", name, len(v), streamSize)
	}
	if got, want, ok := intact([]byte(name), v); !ok {
		return damage("stream %s: checksum 0x%08x, want 0x%08x", name, got, want)
	}
	v = v[crcSize:]
	number := func(i int) uint64 { return binary.BigEndian.Uint64(v[6+8*i:]) }
	*st = stream{
		name:    name,
		id:      binary.BigEndian.Uint32(v),
		class:   Class(v[4]),
		tell:    v[5]&flagTell != 0,
		next:    number(0),
		first:   number(1),
		acked:   number(2),
		moved:   number(3),
		firstAt: int64(number(4)),
		bytes:   int64(number(5)),
		hot:     int64(number(6)),
	}
	if st.first < 1 || st.first > st.next || st.acked+1 < st.first || st.acked >= st.next ||
		st.moved < st.first || st.moved > st.next || st.hot < 0 || st.hot > st.bytes {
		return damage("stream %s: first %d, acknowledged %d, moved %d, next %d, %d octets of which %d in the file",
			name, st.first, st.acked, st.moved, st.next, st.bytes, st.hot)
	}
	return nil
}

// frame says where a run of records of one stream stands in a segment.
type frame struct {
	first   uint64
	segment uint32
	offset  uint32
	length  uint32
	count   uint32
	bytes   int64
	firstAt int64
}

func (f *frame) last() uint64 { return f.first + uint64(f.count) - 1 }

func (f *frame) encode(key []byte) []byte {
	v := make([]byte, crcSize, frameSize)
	for _, n := range []uint32{f.segment, f.offset, f.length, f.count} {
		v = binary.BigEndian.AppendUint32(v, n)
	}
	v = binary.BigEndian.AppendUint64(v, uint64(f.bytes))
	v = binary.BigEndian.AppendUint64(v, uint64(f.firstAt))
	seal(key, v)
	return v
}

func (f *frame) decode(key, v []byte) error {
	if len(key) != recordKeySize || len(v) != frameSize {
		return damage("frame %x: %d octets, want %d", key, len(v), frameSize)
	}
	if got, want, ok := intact(key, v); !ok {
		return damage("frame %x: checksum 0x%08x, want 0x%08x", key, got, want)
	}
	number := func(i int) uint32 { return binary.BigEndian.Uint32(v[crcSize+4*i:]) }
	*f = frame{
		first: binary.BigEndian.Uint64(key[4:]), segment: number(0), offset: number(1), length: number(2), count: number(3),
		bytes:   int64(binary.BigEndian.Uint64(v[crcSize+16:])),
		firstAt: int64(binary.BigEndian.Uint64(v[crcSize+24:])),
	}
	if f.count == 0 || f.bytes < 0 {
		return damage("frame %x: %d records of %d octets", key, f.count, f.bytes)
	}
	return nil
}

const recordKeySize = 12

func recordKey(id uint32, n uint64) (k [recordKeySize]byte) {
	binary.BigEndian.PutUint32(k[:], id)
	binary.BigEndian.PutUint64(k[4:], n)
	return k
}

func encodeRecord(key []byte, g uint32, e *Entry) []byte {
	v := make([]byte, crcSize, recordHeader+len(e.Body))
	v = binary.BigEndian.AppendUint32(v, g)
	v = binary.BigEndian.AppendUint64(v, uint64(e.At.UnixMilli()))
	v = append(v, e.Body...)
	seal(key, v)
	return v
}

// decode reads what encodeRecord made; N and Stream are set already.
func (r *Record) decode(key, v []byte) *TornError {
	if len(v) < recordHeader {
		return &TornError{Stream: r.Stream, N: r.N, To: r.N}
	}
	if got, want, ok := intact(key, v); !ok {
		return &TornError{Stream: r.Stream, N: r.N, To: r.N, Got: got, Want: want}
	}
	r.G = binary.BigEndian.Uint32(v[crcSize:])
	r.At = utc(recordAt(v))
	r.Body = append([]byte{}, v[recordHeader:]...)
	return nil
}

// recordAt is the time of a stored record, of a torn one too: that is then the
// first to go.
func recordAt(v []byte) int64 {
	if len(v) < recordHeader {
		return 0
	}
	return int64(binary.BigEndian.Uint64(v[crcSize+4:]))
}

func recordBytes(v []byte) int64 { return int64(max(0, len(v)-recordHeader)) }

func encodeState(key string, value []byte) []byte {
	v := append(make([]byte, crcSize, crcSize+len(value)), value...)
	seal([]byte(key), v)
	return v
}

func decodeState(key string, v []byte) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	if len(v) < crcSize {
		return nil, &TornError{Key: key}
	}
	if got, want, ok := intact([]byte(key), v); !ok {
		return nil, &TornError{Key: key, Got: got, Want: want}
	}
	return append([]byte{}, v[crcSize:]...), nil
}
