package link

import "encoding/binary"

// Faults counts what a [Reader] could not use.
type Faults struct {
	Header uint64 // a start with a bad check or a length below five
	Block  uint64 // user data with a bad check
	Noise  uint64 // octets outside of frames
}

// Reader finds frames in a stream. The zero value is ready.
//
// It holds one frame at most. Each octet is looked at a bounded number of times
// whatever comes: a block is judged as soon as it is whole, and what was held
// of a bad frame is searched again from its second octet.
type Reader struct {
	Faults Faults

	held    [MostFrame]byte
	n       int // octets held
	checked int // octets held whose checks are good
	taken   int // octets of the frame given out last, to be dropped first
	data    [MostData]byte
}

// Next takes octets until a frame is whole, and returns it with the octets that
// were not looked at. With ok false all were taken and more are needed.
func (r *Reader) Next(octets []byte) (f Frame, rest []byte, ok bool) {
	if r.taken > 0 {
		r.drop(r.taken)
		r.taken = 0
	}
	for {
		if f, ok = r.scan(); ok {
			return f, octets, true
		}
		if len(octets) == 0 {
			return Frame{}, nil, false
		}
		n := copy(r.held[r.n:min(len(r.held), r.n+r.wanted())], octets)
		r.n += n
		octets = octets[n:]
	}
}

// Reset forgets what is held, as at the start of a connection.
func (r *Reader) Reset() { *r = Reader{Faults: r.Faults} }

// wanted is how many octets the next judgement needs.
func (r *Reader) wanted() int {
	if r.n < headerSize {
		return headerSize - r.n
	}
	return r.blockEnd() - r.n
}

// size is the length of the frame whose header is held.
func (r *Reader) size() int {
	data := int(r.held[2]) - fixed
	return headerSize + data + 2*((data+blockSize-1)/blockSize)
}

// blockEnd is where the block after the checked octets ends.
func (r *Reader) blockEnd() int { return min(r.checked+blockSize+2, r.size()) }

// scan judges what is held, and returns a frame when one is whole.
func (r *Reader) scan() (Frame, bool) {
	for r.n > 0 {
		if r.checked == 0 {
			switch {
			case r.held[0] != start1 || r.n > 1 && r.held[1] != start2:
				r.Faults.Noise++
				r.drop(1)
				continue
			case r.n < headerSize:
				return Frame{}, false
			case r.held[2] < fixed || !good(r.held[:headerSize]):
				r.Faults.Header++
				r.drop(1)
				continue
			}
			r.checked = headerSize
		}
		size := r.size()
		for r.checked < size {
			end := r.blockEnd()
			if r.n < end {
				return Frame{}, false
			}
			if !good(r.held[r.checked:end]) {
				break
			}
			r.checked = end
		}
		if r.checked < size {
			r.Faults.Block++
			r.drop(1)
			continue
		}
		r.taken = size
		return r.frame(size), true
	}
	return Frame{}, false
}

// good says whether octets end with their check.
func good(octets []byte) bool {
	n := len(octets) - 2
	return crc(octets[:n]) == binary.LittleEndian.Uint16(octets[n:])
}

func (r *Reader) frame(size int) Frame {
	f := Frame{Header: Header{
		Control:     r.held[3],
		Destination: binary.LittleEndian.Uint16(r.held[4:]),
		Source:      binary.LittleEndian.Uint16(r.held[6:]),
	}}
	n := 0
	for at := headerSize; at < size; at += blockSize + 2 {
		n += copy(r.data[n:], r.held[at:min(at+blockSize, size-2)])
	}
	f.Data = r.data[:n]
	return f
}

// drop forgets the first n octets held.
func (r *Reader) drop(n int) {
	r.n = copy(r.held[:], r.held[n:r.n])
	r.checked = 0
}
