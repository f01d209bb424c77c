package buffer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt trusts its file: a page that is not what a pointer says makes it panic,
// and a file shorter than its meta page says makes it fault. Opening a file
// without a list of free pages does so in a goroutine of bbolt's, where nobody
// can catch it, and the process would die at every start. So the file is checked
// here first, with plain reads, for all that bbolt's own scan can stumble over.
//
// The format is that of bbolt's internal/common: pages of a fixed size, each with
// a header; two meta pages, the one with the higher transaction id counts; then
// the trees of buckets. Numbers are in the machine's own order.
const (
	pageHeader   = 16
	pageElement  = 16
	bucketHeader = 16
	metaSize     = 64

	pageBranch   = 0x01
	pageLeaf     = 0x02
	pageFreelist = 0x10

	leafBucket = 0x01

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	noFreelist  = ^uint64(0)

	minPageSize, maxPageSize = 1 << 10, 16 << 20

	// maxDepth is far beyond any tree that fits on a disk.
	maxDepth = 64
)

var native = binary.NativeEndian

// boltMeta is what a meta page says.
type boltMeta struct {
	pageSize       uint64
	root, freelist uint64
	pages, tx      uint64 // pages in use are below pages
}

// checkFile checks a file of bbolt's. A file that was closed cleanly carries its
// list of free pages: bbolt will only read that list, so the trees are not looked
// at.
func checkFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("not a regular file: %v", info.Mode())
	}
	m, err := readMeta(f, info.Size())
	if err != nil {
		return err
	}
	if have := uint64(info.Size()) / m.pageSize; have < m.pages {
		return damage("file of %d octets holds %d pages of %d, want %d", info.Size(), have, m.pageSize, m.pages)
	}
	c := &pageCheck{f: f, meta: m, seen: make([]uint64, m.pages/64+1)}
	if m.freelist != noFreelist {
		return c.freelist()
	}
	return c.tree(m.root, 0, nil, nil)
}

// readMeta finds the meta page that counts.
func readMeta(f *os.File, size int64) (*boltMeta, error) {
	first, err := readMetaAt(f, 0)
	pageSize := int64(minPageSize)
	if err == nil {
		pageSize = int64(first.pageSize)
	} else if !errors.Is(err, ErrDamaged) {
		return nil, err
	}
	// With a bad first page the page size is not known: the second may be at any.
	for ; pageSize <= maxPageSize && pageSize < size; pageSize *= 2 {
		second, err2 := readMetaAt(f, pageSize)
		switch {
		case err2 == nil && int64(second.pageSize) == pageSize:
			if first == nil || second.tx > first.tx {
				return second, nil
			}
			return first, nil
		case err2 != nil && !errors.Is(err2, ErrDamaged):
			return nil, err2
		case first != nil:
			return first, nil
		}
	}
	if first == nil {
		return nil, fmt.Errorf("%w (and no second meta page in %d octets)", err, size)
	}
	return first, nil
}

func readMetaAt(f *os.File, at int64) (*boltMeta, error) {
	var p [pageHeader + metaSize]byte
	if n, err := f.ReadAt(p[:], at); err == io.EOF {
		return nil, damage("meta page at octet %d: %d octets, want %d", at, n, len(p))
	} else if err != nil {
		return nil, classify(err)
	}
	b := p[pageHeader:]
	if magic := native.Uint32(b); magic != boltMagic {
		return nil, damage("meta page at octet %d: magic 0x%08x, want 0x%08x", at, magic, uint32(boltMagic))
	}
	if v := native.Uint32(b[4:]); v != boltVersion {
		return nil, damage("meta page at octet %d: bbolt file version %d, want %d", at, v, boltVersion)
	}
	h := fnv.New64a()
	h.Write(b[:56])
	if got, want := h.Sum64(), native.Uint64(b[56:]); got != want {
		return nil, damage("meta page at octet %d: checksum 0x%016x, want 0x%016x", at, got, want)
	}
	m := &boltMeta{
		pageSize: uint64(native.Uint32(b[8:])),
		root:     native.Uint64(b[16:]),
		freelist: native.Uint64(b[32:]),
		pages:    native.Uint64(b[40:]),
		tx:       native.Uint64(b[48:]),
	}
	if m.pageSize < minPageSize || m.pageSize > maxPageSize || m.pageSize&(m.pageSize-1) != 0 {
		return nil, damage("meta page at octet %d: page size %d", at, m.pageSize)
	}
	return m, nil
}

// pageCheck walks a file's trees.
type pageCheck struct {
	f    *os.File
	meta *boltMeta
	seen []uint64 // one bit per page
	bufs [maxDepth][]byte

	only []byte                  // of the buckets at the root, only this one; nil is all
	met  bool                    // only was there
	each func(key, value []byte) // told of what is in that bucket
}

// read reads a page with what it overflows into, and checks its header.
func (c *pageCheck) read(id uint64, depth int, kinds ...uint16) ([]byte, error) {
	if id < 2 || id >= c.meta.pages {
		return nil, damage("page %d: outside of 2 to %d", id, c.meta.pages)
	}
	if depth >= maxDepth {
		return nil, damage("page %d: tree deeper than %d", id, maxDepth)
	}
	var head [pageHeader]byte
	if err := c.readAt(head[:], id); err != nil {
		return nil, err
	}
	kind, over := native.Uint16(head[8:]), uint64(native.Uint32(head[12:]))
	known := false
	for _, k := range kinds {
		known = known || k == kind
	}
	if self := native.Uint64(head[:]); self != id || !known || over >= c.meta.pages-id {
		return nil, damage("page %d: says it is page %d of kind 0x%02x with %d more, of %d", id, self, kind, over, c.meta.pages)
	}
	for p := id; p <= id+over; p++ {
		if c.seen[p/64]&(1<<(p%64)) != 0 {
			return nil, damage("page %d: used twice", p)
		}
		c.seen[p/64] |= 1 << (p % 64)
	}
	size := int((over + 1) * c.meta.pageSize)
	if cap(c.bufs[depth]) < size {
		c.bufs[depth] = make([]byte, size)
	}
	page := c.bufs[depth][:size]
	return page, c.readAt(page, id)
}

func (c *pageCheck) readAt(b []byte, id uint64) error {
	if _, err := c.f.ReadAt(b, int64(id*c.meta.pageSize)); err != nil {
		return classify(fmt.Errorf("read page %d: %w", id, err))
	}
	return nil
}

// tree checks a page and all below it. Its keys are at least low, and below high
// where that is not nil.
func (c *pageCheck) tree(id uint64, depth int, low, high []byte) error {
	page, err := c.read(id, depth, pageBranch, pageLeaf)
	if err != nil {
		return err
	}
	if native.Uint16(page[8:]) == pageLeaf {
		return c.leaf(page, id, depth, low, high)
	}
	count := int(native.Uint16(page[10:]))
	if count == 0 {
		return damage("page %d: branch without elements", id)
	}
	branchKey := func(i int) ([]byte, error) {
		at := pageHeader + i*pageElement
		if at+pageElement > len(page) {
			return nil, damage("page %d: element %d of %d is outside", id, i, count)
		}
		key, ok := part(page, at, native.Uint32(page[at:]), 0, native.Uint32(page[at+4:]))
		if !ok {
			return nil, damage("page %d: key %d of %d is outside", id, i, count)
		}
		return key, nil
	}
	key, err := branchKey(0)
	if err != nil {
		return err
	}
	if bytes.Compare(key, low) < 0 {
		return damage("page %d: key 0 of %d is out of order", id, count)
	}
	for i := range count {
		next := high
		if i+1 < count {
			if next, err = branchKey(i + 1); err != nil {
				return err
			}
		}
		if next != nil && bytes.Compare(key, next) >= 0 {
			return damage("page %d: key %d of %d is out of order", id, i, count)
		}
		child := native.Uint64(page[pageHeader+i*pageElement+8:])
		if err := c.tree(child, depth+1, key, next); err != nil {
			return err
		}
		key = next
	}
	return nil
}

// leaf checks a leaf, which may be a small bucket inside another leaf, and the
// buckets in it.
func (c *pageCheck) leaf(page []byte, id uint64, depth int, low, high []byte) error {
	count := int(native.Uint16(page[10:]))
	for i := range count {
		at := pageHeader + i*pageElement
		if at+pageElement > len(page) {
			return damage("page %d: element %d of %d is outside", id, i, count)
		}
		e := page[at:]
		pos, ksize, vsize := native.Uint32(e[4:]), native.Uint32(e[8:]), native.Uint32(e[12:])
		key, ok := part(page, at, pos, 0, ksize)
		value, ok2 := part(page, at, pos, ksize, vsize)
		if !ok || !ok2 {
			return damage("page %d: element %d of %d is outside", id, i, count)
		}
		order := bytes.Compare(low, key)
		if order > 0 || order == 0 && i > 0 || high != nil && bytes.Compare(key, high) >= 0 {
			return damage("page %d: element %d of %d is out of order", id, i, count)
		}
		low = key
		if native.Uint32(e)&leafBucket == 0 {
			if c.each != nil {
				c.each(key, value)
			}
			continue
		}
		if c.only != nil {
			if !bytes.Equal(key, c.only) {
				continue
			}
			c.met = true
		}
		if err := c.bucket(value, id, depth); err != nil {
			return err
		}
	}
	return nil
}

func (c *pageCheck) bucket(value []byte, id uint64, depth int) error {
	if len(value) < bucketHeader {
		return damage("page %d: bucket of %d octets", id, len(value))
	}
	if root := native.Uint64(value); root != 0 {
		return c.tree(root, depth+1, nil, nil)
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader || native.Uint16(inline[8:]) != pageLeaf || depth+1 >= maxDepth {
		return damage("page %d: inline bucket of %d octets is no leaf", id, len(inline))
	}
	return c.leaf(inline, id, depth+1, nil, nil)
}

// part cuts size octets out of a page, at a position that counts from the
// element at octet at.
func part(page []byte, at int, pos, skip, size uint32) ([]byte, bool) {
	from := uint64(at) + uint64(pos) + uint64(skip)
	to := from + uint64(size)
	if to > uint64(len(page)) {
		return nil, false
	}
	return page[from:to], true
}

// freelist checks that the list of free pages is one and names pages in use.
func (c *pageCheck) freelist() error {
	id := c.meta.freelist
	page, err := c.read(id, 0, pageFreelist)
	if err != nil {
		return err
	}
	at, count := pageHeader, uint64(native.Uint16(page[10:]))
	if count == 0xFFFF { // then the first element is the count
		count = native.Uint64(page[at:])
		at += 8
	}
	if count > uint64(len(page)-at)/8 {
		return damage("page %d: list of %d free pages in %d octets", id, count, len(page))
	}
	for i := range int(count) {
		if free := native.Uint64(page[at+8*i:]); free < 2 || free >= c.meta.pages {
			return damage("page %d: free page %d is outside of 2 to %d", id, free, c.meta.pages)
		}
	}
	return nil
}
