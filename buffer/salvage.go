package buffer

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
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
// they hang on, so that it finds what bbolt can't reach any more, and at the
// frames of its segments. Small state is not salvaged: which of two versions is
// the newer can't be told. Where the page is lost that says what was
// acknowledged, some of that may come again: what was acknowledged since its
// segment was written.
//
// Each is called with a record at a time; its Class is that of its stream. The
// report is complete when the error is nil or comes from each.
func Salvage(path string, each func(Record) error) (Report, error) {
	v := salvager{path: path, streams: map[string]*remains{}}
	if err := v.look(); err != nil {
		return Report{}, fmt.Errorf("salvage store %s: %w", path, err)
	}
	defer v.close()
	err := v.give(each)
	return v.report(), err
}

// salvager is a look at a store that was set aside.
type salvager struct {
	path     string
	file     *os.File // nil: it is missing
	streams  map[string]*remains
	complete bool
	open     *os.File // the segment read last
	openID   uint32
}

// remains is what is left of a stream.
type remains struct {
	stream
	known  bool // a page says what was acknowledged; else it is put together from what is found
	places []place
	runs   []run
	found  int
}

// place is where a whole record stands in the file: its key, then its value.
// Only places are remembered: the records may be more than there is memory.
type place struct {
	size uint32
	n    uint64
	at   int64
}

// run is a frame of a segment.
type run struct {
	segment uint32
	at      int64
	first   uint64
	count   uint32
}

// look finds the streams, and where their records stand.
func (v *salvager) look() error {
	byID := map[uint32]*remains{}
	file, err := os.Open(v.path)
	size := 0
	switch {
	case err == nil:
		if size, err = pageSizeOf(file); err != nil {
			err = file.Close() // there are no pages in it; the segments may be whole
			break
		}
		v.file = file
		v.complete = streamsWhole(file)
		err = eachLeaf(file, size, func(key, value []byte, _ int64) {
			var st stream
			if len(value) == streamSize && st.decode(string(key), value) == nil {
				if old := byID[st.id]; old == nil || st.newer(&old.stream) {
					byID[st.id] = &remains{stream: st, known: true}
				}
			}
		})
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err == nil {
		for _, r := range byID {
			v.streams[r.name] = r
		}
		err = v.lookAtSegments()
	}
	if err == nil && v.file != nil {
		err = eachLeaf(file, size, func(key, value []byte, at int64) {
			if len(key) != recordKeySize || len(value) < recordHeader {
				return
			}
			// Pages that are free still hold what they held: an acknowledged record,
			// or the same record again.
			r := byID[binary.BigEndian.Uint32(key)]
			n := binary.BigEndian.Uint64(key[4:])
			if _, _, ok := intact(key, value); r != nil && ok && n > r.acked && n < r.next {
				r.places = append(r.places, place{n: n, at: at, size: uint32(len(value))})
			}
		})
	}
	if err != nil {
		v.close()
	}
	return err
}

// newer says whether a state of a stream is newer than another of it.
func (st *stream) newer(than *stream) bool {
	return cmp.Or(cmp.Compare(st.next, than.next), cmp.Compare(st.acked, than.acked), cmp.Compare(st.first, than.first)) > 0
}

// lookAtSegments finds the frames with records that were not acknowledged. Where
// no page knows a stream, each of its frames says what was acknowledged when it
// was written.
func (v *salvager) lookAtSegments() error {
	ids, err := segmentIDs(segmentsOf(v.path))
	if err != nil {
		return err
	}
	for _, id := range ids {
		f, err := v.segment(id)
		if err != nil {
			return err
		}
		for at := int64(0); ; {
			h, err := readHeader(f, at)
			if errors.Is(err, errNoFrame) || errors.Is(classify(err), ErrDamaged) {
				if at, err = nextFrame(f, at+1); err != nil {
					break
				}
				continue
			}
			if err != nil {
				return err
			}
			r := v.streams[h.name]
			if r == nil {
				r = &remains{stream: stream{name: h.name, id: h.id, class: h.class, next: 1}}
				v.streams[h.name] = r
				v.complete = false
			}
			if !r.known {
				r.acked = max(r.acked, h.acked)
				r.next = max(r.next, h.first+uint64(len(h.sizes)))
			}
			r.runs = append(r.runs, run{segment: id, at: at, first: h.first, count: uint32(len(h.sizes))})
			at += int64(h.size + h.octets)
		}
	}
	return nil
}

// nextFrame looks for the next frame behind one that is torn.
func nextFrame(f *os.File, at int64) (int64, error) {
	const overlap = len(frameMagic) - 1
	block := make([]byte, 64<<10)
	for {
		n, err := f.ReadAt(block, at)
		if i := bytes.Index(block[:n], []byte(frameMagic)); i >= 0 {
			return at + int64(i), nil
		}
		if n <= overlap || err != nil {
			return 0, cmp.Or(err, io.EOF)
		}
		at += int64(n - overlap)
	}
}

func (v *salvager) segment(id uint32) (*os.File, error) {
	if v.open != nil && v.openID == id {
		return v.open, nil
	}
	f, err := os.Open(filepath.Join(segmentsOf(v.path), fmt.Sprintf("%08x", id)))
	if err != nil {
		return nil, err
	}
	if v.open != nil {
		v.open.Close()
	}
	v.open, v.openID = f, id
	return f, nil
}

func (v *salvager) close() {
	if v.file != nil {
		v.file.Close()
	}
	if v.open != nil {
		v.open.Close()
	}
}

// give hands out the records, stream by stream, those in segments first: they
// are the older ones.
func (v *salvager) give(each func(Record) error) error {
	// All are counted before the first is given, so that the report is complete
	// also where each ends it.
	for pass := range 2 {
		for _, name := range slices.Sorted(maps.Keys(v.streams)) {
			r := v.streams[name]
			if err := v.giveStream(r, func(rec Record) error {
				if pass == 0 {
					r.found++
					return nil
				}
				return each(rec)
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *salvager) giveStream(r *remains, each func(Record) error) error {
	slices.SortFunc(r.runs, func(a, b run) int { return cmp.Compare(a.first, b.first) })
	slices.SortFunc(r.places, func(a, b place) int { return cmp.Compare(a.n, b.n) })
	last := r.acked
	give := func(key, value []byte, n uint64) error {
		if n <= last || n >= r.next {
			return nil
		}
		rec := Record{Entry: Entry{Stream: r.name, Class: r.class}, N: n}
		if rec.decode(key, value) != nil {
			return nil
		}
		last = n
		return each(rec)
	}
	for _, run := range r.runs {
		if run.first+uint64(run.count) <= last+1 {
			continue
		}
		f, err := v.segment(run.segment)
		if err != nil {
			return err
		}
		h, err := readHeader(f, run.at)
		if err != nil {
			return err
		}
		values, err := h.values(f, run.at, 0, len(h.sizes))
		if err != nil && !errors.Is(classify(err), ErrDamaged) {
			return err
		}
		for i, value := range values {
			key := recordKey(h.id, h.first+uint64(i))
			if err := give(key[:], value, h.first+uint64(i)); err != nil {
				return err
			}
		}
	}
	for _, p := range r.places {
		stored := make([]byte, recordKeySize+int(p.size))
		if _, err := v.file.ReadAt(stored, p.at); err != nil {
			return err
		}
		if err := give(stored[:recordKeySize], stored[recordKeySize:], p.n); err != nil {
			return err
		}
	}
	return nil
}

func (v *salvager) report() Report {
	report := Report{Complete: v.complete}
	for _, name := range slices.Sorted(maps.Keys(v.streams)) {
		r := v.streams[name]
		report.Streams = append(report.Streams, Salvaged{Stream: name, First: r.acked + 1, Next: r.next, Found: r.found})
	}
	return report
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
