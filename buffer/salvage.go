package buffer

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Salvaged is what Salvage found of one stream. Records First to Next-1 were
// stored and not acknowledged when the store was last written; Found of them
// are whole.
type Salvaged struct {
	Stream      string
	First, Next uint64
	Found       int
}

// Lost returns how many records of the stream could not be read.
func (s Salvaged) Lost() int { return int(s.Next-s.First) - s.Found }

// Report is what Salvage found. Only where it is Complete do the streams' numbers
// tell of everything: the page that had the newest of them may be among the lost,
// and an older one in its place.
type Report struct {
	Streams  []Salvaged
	Complete bool
}

// Salvage reads what can still be read of a store that was set aside: every
// record that no acknowledgement had taken and that is whole by its checksum, in
// order of stream and number. It looks at the pages themselves, not at the trees
// they hang on, so that it finds what bbolt can't reach any more. Small state is
// not salvaged: which of two versions is the newer can't be told. Where the page
// is lost that says what was acknowledged, some of that may come again.
//
// Each is called with a record at a time; its Class is that of its stream. The
// report is complete when the error is nil or comes from each.
func Salvage(path string, each func(Record) error) (Report, error) {
	var report Report
	f, err := os.Open(path)
	if err != nil {
		return report, fmt.Errorf("salvage store: %w", err)
	}
	defer f.Close()
	size, err := pageSizeOf(f)
	if err != nil {
		return report, fmt.Errorf("salvage store %s: %w", path, err)
	}
	streams := map[uint32]stream{}
	if err := eachLeaf(f, size, func(key, value []byte, _ int64) {
		var st stream
		if len(value) == streamSize && st.decode(string(key), value) == nil {
			if old, known := streams[st.id]; !known || st.next > old.next || st.next == old.next && st.first > old.first {
				streams[st.id] = st
			}
		}
	}); err != nil {
		return report, fmt.Errorf("salvage store %s: %w", path, err)
	}
	// Pages that are free still hold what they held: an acknowledged record, or
	// the same record again. First says what is acknowledged. Only places are
	// remembered: the records may be more than there is memory.
	var places []place
	if err := eachLeaf(f, size, func(key, value []byte, at int64) {
		if len(key) != recordKeySize || len(value) < recordHeader {
			return
		}
		p := place{id: binary.BigEndian.Uint32(key), n: binary.BigEndian.Uint64(key[4:]), at: at, size: uint32(len(value))}
		st, known := streams[p.id]
		if _, _, ok := intact(key, value); known && ok && p.n >= st.first && p.n < st.next {
			places = append(places, p)
		}
	}); err != nil {
		return report, fmt.Errorf("salvage store %s: %w", path, err)
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(streams[a.id].name, streams[b.id].name), cmp.Compare(a.id, b.id), cmp.Compare(a.n, b.n))
	})
	places = slices.CompactFunc(places, func(a, b place) bool { return a.id == b.id && a.n == b.n })
	report.Complete = streamsWhole(f)
	counts := map[uint32]int{}
	for _, p := range places {
		counts[p.id]++
	}
	for id, st := range streams {
		report.Streams = append(report.Streams, Salvaged{Stream: st.name, First: st.first, Next: st.next, Found: counts[id]})
	}
	slices.SortFunc(report.Streams, func(a, b Salvaged) int { return cmp.Compare(a.Stream, b.Stream) })
	for _, p := range places {
		stored := make([]byte, recordKeySize+int(p.size))
		if _, err := f.ReadAt(stored, p.at); err != nil {
			return report, fmt.Errorf("salvage store %s: %w", path, err)
		}
		st := streams[p.id]
		r := Record{Entry: Entry{Stream: st.name, Class: st.class}, N: p.n}
		if torn := r.decode(stored[:recordKeySize], stored[recordKeySize:]); torn != nil {
			return report, fmt.Errorf("salvage store %s: %w", path, torn)
		}
		if err := each(r); err != nil {
			return report, err
		}
	}
	return report, nil
}

const recordKeySize = 12

// place is where a whole record stands in the file: its key, then its value.
type place struct {
	id   uint32
	size uint32
	n    uint64
	at   int64
}

// streamsWhole says whether the newest meta page leads to the state of every
// stream.
func streamsWhole(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	m, err := readMeta(f, info.Size())
	if err != nil {
		return false
	}
	whole := true
	c := &pageCheck{f: f, meta: m, seen: make([]uint64, m.pages/64+1), only: bucketStreams,
		each: func(key, value []byte) {
			whole = whole && new(stream).decode(string(key), value) == nil
		}}
	return c.tree(m.root, 0, nil, nil) == nil && c.met && whole
}

// pageSizeOf returns the file's page size, from either meta page, or the
// machine's where both are gone.
func pageSizeOf(f *os.File) (int, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	head := make([]byte, pageHeader+metaSize)
	for _, at := range []int64{0, int64(os.Getpagesize()), 4096, 8192, 16384, 65536} {
		if _, err := f.ReadAt(head, at); err != nil {
			continue
		}
		meta := head[pageHeader:]
		size := native.Uint32(meta[8:])
		if native.Uint32(meta) == boltMagic && size >= minPageSize && size <= maxPageSize && size&(size-1) == 0 {
			return int(size), nil
		}
	}
	if info.Size() == 0 {
		return 0, errors.New("the file is empty")
	}
	return os.Getpagesize(), nil
}

// eachLeaf calls f with each element of each page that looks like a leaf, and
// where its key stands in the file. Where a page makes no sense it goes on with
// the next.
func eachLeaf(file *os.File, size int, f func(key, value []byte, at int64)) error {
	const mostPages = 1 << 12 // of one element: far above any record
	page := make([]byte, size)
	for at := int64(0); ; at += int64(size) {
		n, err := file.ReadAt(page[:size], at)
		if n < pageHeader+pageElement {
			if err == nil || errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		body := page[:n]
		flags := native.Uint16(body[8:])
		overflow := int(native.Uint32(body[12:]))
		if flags != pageLeaf || native.Uint64(body) != uint64(at)/uint64(size) || overflow > mostPages {
			continue
		}
		if overflow > 0 {
			body = make([]byte, size*(overflow+1))
			n, err := file.ReadAt(body, at)
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			body = body[:n]
		}
		elements(body, at, true, f)
	}
}

// elements calls f with each element of a leaf. A small bucket has its leaf
// inside its parent's; that one has none inside again.
func elements(leaf []byte, at int64, outer bool, f func(key, value []byte, at int64)) {
	for i := range int(native.Uint16(leaf[10:])) {
		e := pageHeader + i*pageElement
		if e+pageElement > len(leaf) {
			return
		}
		kind := native.Uint32(leaf[e:])
		pos, ksize, vsize := uint64(native.Uint32(leaf[e+4:])), uint64(native.Uint32(leaf[e+8:])), uint64(native.Uint32(leaf[e+12:]))
		start := uint64(e) + pos
		if start+ksize+vsize > uint64(len(leaf)) {
			continue
		}
		key, value := leaf[start:start+ksize], leaf[start+ksize:start+ksize+vsize]
		switch {
		case kind&leafBucket == 0:
			f(key, value, at+int64(start))
		case outer && len(value) >= bucketHeader+pageHeader && native.Uint64(value) == 0:
			elements(value[bucketHeader:], at+int64(start+ksize)+bucketHeader, false, f)
		}
	}
}
