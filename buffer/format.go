package buffer

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// The file: four buckets at the root. All numbers are big endian.
//
//	meta     "format" u32, "generation" u32, "commits" u64
//	streams  name -> crc u32, id u32, class u8, flags u8, next u64, first u64,
//	         At of first i64 (ms), bytes i64
//	records  stream id u32, n u64 -> crc u32, generation u32, At i64 (ms), body
//	state    key -> crc u32, value
//
// Each checksum covers the key too, so that a value which ended up under
// another key is found. Since records leave at the front of a stream only,
// first, next and bytes are all there is to know of it, and opening need not
// look at the records.
const formatVersion = 1

var (
	bucketMeta    = []byte("meta")
	bucketStreams = []byte("streams")
	bucketRecords = []byte("records")
	bucketState   = []byte("state")

	keyFormat     = []byte("format")
	keyGeneration = []byte("generation")
	keyCommits    = []byte("commits")
)

const (
	crcSize      = 4
	recordHeader = crcSize + 4 + 8
	streamSize   = crcSize + 4 + 1 + 1 + 8 + 8 + 8 + 8
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

// stream is what is known of one stream.
type stream struct {
	name    string
	id      uint32
	class   Class
	tell    bool // holds records which tell of drops
	first   uint64
	next    uint64
	firstAt int64 // At of the first stored, ms
	bytes   int64
}

func (st *stream) count() int { return int(st.next - st.first) }

func (st *stream) encode() []byte {
	v := make([]byte, crcSize, streamSize)
	v = binary.BigEndian.AppendUint32(v, st.id)
	var flags byte
	if st.tell {
		flags |= flagTell
	}
	v = append(v, byte(st.class), flags)
	v = binary.BigEndian.AppendUint64(v, st.next)
	v = binary.BigEndian.AppendUint64(v, st.first)
	v = binary.BigEndian.AppendUint64(v, uint64(st.firstAt))
	v = binary.BigEndian.AppendUint64(v, uint64(st.bytes))
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
	*st = stream{
		name:    name,
		id:      binary.BigEndian.Uint32(v),
		class:   Class(v[4]),
		tell:    v[5]&flagTell != 0,
		next:    binary.BigEndian.Uint64(v[6:]),
		first:   binary.BigEndian.Uint64(v[14:]),
		firstAt: int64(binary.BigEndian.Uint64(v[22:])),
		bytes:   int64(binary.BigEndian.Uint64(v[30:])),
	}
	if st.first < 1 || st.first > st.next || st.bytes < 0 {
		return damage("stream %s: first %d, next %d, %d octets", name, st.first, st.next, st.bytes)
	}
	return nil
}

func recordKey(id uint32, n uint64) (k [12]byte) {
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
		return &TornError{Stream: r.Stream, N: r.N}
	}
	if got, want, ok := intact(key, v); !ok {
		return &TornError{Stream: r.Stream, N: r.N, Got: got, Want: want}
	}
	r.G = binary.BigEndian.Uint32(v[crcSize:])
	r.At = time.UnixMilli(recordAt(v)).UTC()
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
