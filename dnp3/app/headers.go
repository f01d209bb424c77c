package app

import (
	"encoding/binary"
	"errors"
)

// Qualifier says how an object header names its objects.
type Qualifier uint8

// Qualifiers of subset level 3, and their 32-bit siblings.
const (
	Range8   Qualifier = 0x00 // start and stop
	Range16  Qualifier = 0x01
	Range32  Qualifier = 0x02
	All      Qualifier = 0x06
	Count8   Qualifier = 0x07
	Count16  Qualifier = 0x08
	Count32  Qualifier = 0x09
	Prefix8  Qualifier = 0x17 // count, and an index before each object
	Prefix16 Qualifier = 0x28
)

// What can be wrong with an object header.
var (
	ErrQualifier = errors.New("qualifier not supported")
	ErrRange     = errors.New("start above stop")
	ErrTruncated = errors.New("shorter than its header says")
	ErrVariation = errors.New("object of unknown size")
)

// Header is an object header with its objects.
type Header struct {
	Group, Variation uint8
	Qualifier        Qualifier
	Start, Stop      uint32 // of a range
	Count            uint32 // of objects: from the count or the range
	size, prefix     int
	body             []byte
}

// IsRange says whether start and stop are meant.
func (h Header) IsRange() bool { return h.Qualifier <= Range32 }

// IsPrefixed says whether each object is named by an index.
func (h Header) IsPrefixed() bool { return h.Qualifier == Prefix8 || h.Qualifier == Prefix16 }

// Object returns the i-th object with its index. In a request that carries no
// objects the object is empty. Packed variations are one octet string: see
// [Header.Packed].
func (h Header) Object(i int) (index uint32, object []byte) {
	at := i * (h.prefix + h.size)
	switch h.prefix {
	case 1:
		index = uint32(h.body[at])
	case 2:
		index = uint32(binary.LittleEndian.Uint16(h.body[at:]))
	default:
		index = h.Start + uint32(i)
	}
	at += h.prefix
	return index, h.body[at : at+h.size]
}

// Packed returns the octets of a packed variation.
func (h Header) Packed() []byte { return h.body }

// Headers walks object headers.
type Headers struct {
	rest    []byte
	objects bool
	err     error
	unknown bool
}

// Err says why the walk ended, nil at the end of the fragment.
func (hs *Headers) Err() error { return hs.err }

// IIN is the indication that belongs to the end of the walk.
func (hs *Headers) IIN() IIN {
	switch {
	case hs.err == nil:
		return 0
	case hs.unknown:
		return ObjectUnknown
	}
	return ParameterError
}

func (hs *Headers) fail(err error) (Header, bool) {
	hs.err, hs.rest = err, nil
	hs.unknown = err == ErrVariation
	return Header{}, false
}

// Next returns the next header; false at the end or at a fault, see
// [Headers.Err].
func (hs *Headers) Next() (Header, bool) {
	if len(hs.rest) == 0 {
		return Header{}, false
	}
	if len(hs.rest) < 3 {
		return hs.fail(ErrTruncated)
	}
	h := Header{Group: hs.rest[0], Variation: hs.rest[1], Qualifier: Qualifier(hs.rest[2])}
	rest := hs.rest[3:]
	width, parts := 0, 1
	switch h.Qualifier {
	case Range8, Range16, Range32:
		width, parts = 1<<h.Qualifier, 2
	case All:
		hs.rest = rest
		return h, true
	case Count8, Count16, Count32:
		width = 1 << (h.Qualifier - Count8)
	case Prefix8:
		width, h.prefix = 1, 1
	case Prefix16:
		width, h.prefix = 2, 2
	default:
		return hs.fail(ErrQualifier)
	}
	if len(rest) < width*parts {
		return hs.fail(ErrTruncated)
	}
	first, last := number(rest[:width]), number(rest[width*(parts-1):width*parts])
	rest = rest[width*parts:]
	count := uint64(first)
	if parts == 2 {
		if first > last {
			return hs.fail(ErrRange)
		}
		h.Start, h.Stop = first, last
		count = uint64(last) - uint64(first) + 1
	}
	size, packed := uint64(0), uint64(0)
	if hs.objects {
		var known bool
		if size, packed, known = sizeOf(h.Group, h.Variation); !known {
			return hs.fail(ErrVariation)
		}
		if packed > 0 && h.prefix > 0 { // a packed object cannot be named one by one
			return hs.fail(ErrQualifier)
		}
	}
	// At most 2^32 objects of some 260 octets: no overflow in 64 bits.
	octets := count * (size + uint64(h.prefix))
	if packed > 0 {
		octets = (count*packed + 7) / 8
	}
	if octets > uint64(len(rest)) {
		return hs.fail(ErrTruncated)
	}
	h.Count = uint32(min(count, 1<<32-1))
	h.size = int(size)
	h.body, hs.rest = rest[:octets], rest[octets:]
	return h, true
}

func number(octets []byte) uint32 {
	switch len(octets) {
	case 1:
		return uint32(octets[0])
	case 2:
		return uint32(binary.LittleEndian.Uint16(octets))
	}
	return binary.LittleEndian.Uint32(octets)
}
