package buffer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// A segment is a file of records that were moved out of bbolt's. It is written
// once, synced, and then only read, until the last of its records has left and
// it is deleted. It is a run of frames, each with records of one stream in order
// of number. All numbers are big endian.
//
//	frame    "LVFR", crc u32 of the rest of the header, generation u32,
//	         stream id u32, class u8, acked u64, first n u64, count u32,
//	         octets of the values u32, length of the name u16, name,
//	         count times: length of the value u32, At i64 (ms);
//	         then the values, as in bucket records
//
// The header has all that is needed to find a record of the frame and to know
// when it goes, and the frame alone is enough to salvage its records.
const (
	frameMagic  = "LVFR"
	frameFixed  = 4 + crcSize + 4 + 4 + 1 + 8 + 8 + 4 + 4 + 2
	frameRecord = 4 + 8

	// A reader reads the frame's header for each page of records, so a frame is
	// not large; a record that is larger has one of its own.
	mostFrameRecords = 64
	mostFrameBytes   = 64 << 10

	segmentsSuffix = ".d"
)

func segmentsOf(path string) string { return path + segmentsSuffix }

func (s *Store) segmentName(id uint32) string {
	return filepath.Join(segmentsOf(s.path), fmt.Sprintf("%08x", id))
}

// header is a frame's header.
type header struct {
	generation uint32
	id         uint32
	class      Class
	acked      uint64 // of the stream, when the frame was written
	first      uint64
	name       string
	sizes      []uint32
	ats        []int64
	size       int // of the header itself
	octets     int // of the values
}

func (h *header) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, frameMagic...)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, h.generation)
	dst = binary.BigEndian.AppendUint32(dst, h.id)
	dst = append(dst, byte(h.class))
	dst = binary.BigEndian.AppendUint64(dst, h.acked)
	dst = binary.BigEndian.AppendUint64(dst, h.first)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(h.sizes)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.octets))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(h.name)))
	dst = append(dst, h.name...)
	for i, size := range h.sizes {
		dst = binary.BigEndian.AppendUint32(dst, size)
		dst = binary.BigEndian.AppendUint64(dst, uint64(h.ats[i]))
	}
	binary.BigEndian.PutUint32(dst[start+4:], crc32.Checksum(dst[start+8:], castagnoli))
	return dst
}

var errNoFrame = errors.New("no whole frame header")

// readHeader reads the header at an offset. What makes no sense is errNoFrame;
// any other error is the file's.
func readHeader(f io.ReaderAt, at int64) (*header, error) {
	var fixed [frameFixed]byte
	if _, err := f.ReadAt(fixed[:], at); err != nil {
		return nil, cutShort(err)
	}
	count := binary.BigEndian.Uint32(fixed[33:])
	octets := binary.BigEndian.Uint32(fixed[37:])
	name := int(binary.BigEndian.Uint16(fixed[41:]))
	if string(fixed[:4]) != frameMagic || count == 0 || count > mostFrameRecords || name < 1 || name > maxName {
		return nil, errNoFrame
	}
	rest := make([]byte, name+int(count)*frameRecord)
	if _, err := f.ReadAt(rest, at+frameFixed); err != nil {
		return nil, cutShort(err)
	}
	sum := crc32.Update(crc32.Checksum(fixed[8:], castagnoli), castagnoli, rest)
	if sum != binary.BigEndian.Uint32(fixed[4:]) {
		return nil, errNoFrame
	}
	h := &header{
		generation: binary.BigEndian.Uint32(fixed[8:]), id: binary.BigEndian.Uint32(fixed[12:]), class: Class(fixed[16]),
		acked: binary.BigEndian.Uint64(fixed[17:]), first: binary.BigEndian.Uint64(fixed[25:]),
		name: string(rest[:name]), size: frameFixed + len(rest), octets: int(octets),
		sizes: make([]uint32, count), ats: make([]int64, count),
	}
	for i := range h.sizes {
		e := rest[name+i*frameRecord:]
		h.sizes[i], h.ats[i] = binary.BigEndian.Uint32(e), int64(binary.BigEndian.Uint64(e[4:]))
		octets -= h.sizes[i]
	}
	if octets != 0 {
		return nil, errNoFrame
	}
	return h, nil
}

// cutShort turns the end of a file into errNoFrame.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errNoFrame
	}
	return err
}

// values reads the values of the frame's records from to to, by index. Fewer
// come where the file is cut short.
func (h *header) values(f io.ReaderAt, at int64, from, to int) ([][]byte, error) {
	skip, size := int64(h.size), 0
	for i, n := range h.sizes[:to] {
		if i < from {
			skip += int64(n)
		} else {
			size += int(n)
		}
	}
	all := make([]byte, size)
	n, err := f.ReadAt(all, at+skip)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	all = all[:n]
	values := make([][]byte, 0, to-from)
	for _, n := range h.sizes[from:to] {
		if int(n) > len(all) {
			break
		}
		values = append(values, all[:n])
		all = all[n:]
	}
	return values, nil
}

// segmentWriter writes one segment.
type segmentWriter struct {
	f       *os.File
	w       *bufio.Writer
	at      uint32
	id      uint32
	h       header // of the frame under way
	values  []byte
	bytes   int64 // of the bodies of the frame under way
	scratch []byte
	frames  []written
}

// written is a frame that was written, for the index.
type written struct {
	stream int
	frame  frame
}

// add adds a stored value to the frame under way.
func (w *segmentWriter) add(value []byte) {
	w.h.sizes = append(w.h.sizes, uint32(len(value)))
	w.h.ats = append(w.h.ats, recordAt(value))
	w.values = append(w.values, value...)
	w.bytes += recordBytes(value)
}

// full says that the frame under way should not take a value of that size.
func (w *segmentWriter) full(size int) bool {
	return len(w.h.sizes) == mostFrameRecords || len(w.h.sizes) > 0 && len(w.values)+size > mostFrameBytes
}

// flush writes the frame under way.
func (w *segmentWriter) flush(stream int) error {
	if len(w.h.sizes) == 0 {
		return nil
	}
	w.h.octets = len(w.values)
	w.scratch = w.h.append(w.scratch[:0])
	if _, err := w.w.Write(w.scratch); err != nil {
		return err
	}
	if _, err := w.w.Write(w.values); err != nil {
		return err
	}
	length := uint32(len(w.scratch) + len(w.values))
	w.frames = append(w.frames, written{stream, frame{
		first: w.h.first, segment: w.id, offset: w.at, length: length,
		count: uint32(len(w.h.sizes)), bytes: w.bytes, firstAt: w.h.ats[0],
	}})
	w.at += length
	w.h.first += uint64(len(w.h.sizes))
	w.h.sizes, w.h.ats, w.values, w.bytes = w.h.sizes[:0], w.h.ats[:0], w.values[:0], 0
	return nil
}

// segment is what is known of a segment file.
type segment struct {
	class  Class
	size   int64
	frames int  // that still have records
	gone   bool // the file is not there
	// Of one that was deleted for a full disk, by this process: what its frames
	// said of their records, by stream and first number.
	shed map[[recordKeySize]byte]*header
}

// openFrame opens the segment of a frame and reads its header. A file that is
// not there, or a header that makes no sense, is no error: h is nil then.
func (s *Store) openFrame(st *stream, fr *frame) (f *os.File, h *header, err error) {
	f, err = os.Open(s.segmentName(fr.segment))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	h, err = readHeader(f, int64(fr.offset))
	if err == nil && (h.first != fr.first || len(h.sizes) != int(fr.count) || h.name != st.name) {
		err = errNoFrame
	}
	if err != nil {
		f.Close()
		if errors.Is(err, errNoFrame) || errors.Is(classify(err), ErrDamaged) {
			return nil, nil, nil
		}
		return nil, nil, err
	}
	return f, h, nil
}

// readFrame appends to dst up to max records of a frame with N >= from. It
// returns the first that is torn, if that ends the read.
func (s *Store) readFrame(st *stream, fr *frame, from uint64, dst *[]Record, max int) (*TornError, error) {
	f, h, err := s.openFrame(st, fr)
	if err != nil {
		return nil, err
	}
	if h == nil {
		return &TornError{Stream: st.name, N: from, To: fr.last()}, nil
	}
	defer f.Close()
	i := int(from - fr.first)
	to := min(len(h.sizes), i+max)
	values, err := h.values(f, int64(fr.offset), i, to)
	if err != nil && !errors.Is(classify(err), ErrDamaged) {
		return nil, err
	}
	for k, v := range values {
		r := Record{N: from + uint64(k), Entry: Entry{Stream: st.name, Class: st.class}}
		key := recordKey(h.id, r.N)
		if torn := r.decode(key[:], v); torn != nil {
			return torn, nil
		}
		*dst = append(*dst, r)
	}
	if len(values) < to-i {
		return &TornError{Stream: st.name, N: from + uint64(len(values)), To: from + uint64(len(values))}, nil
	}
	return nil, nil
}

// segmentIDs lists the segment files in a folder; a folder that is not there has
// none.
func segmentIDs(folder string) (ids []uint32, err error) {
	files, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if id, err := strconv.ParseUint(f.Name(), 16, 32); err == nil && len(f.Name()) == 8 {
			ids = append(ids, uint32(id))
		}
	}
	return ids, nil
}

func utc(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
