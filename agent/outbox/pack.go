package outbox

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
)

// Small states are JSON, which says the same names over and over; most of the
// days it is they that wear the flash. So they are kept compressed: an octet
// that says how, then the value.
const (
	asItIs     = 0
	compressed = 1

	// worthIt is the least that is compressed: what is smaller fits the page that
	// is written anyway.
	worthIt = 512

	// mostUnpacked bounds what a stored state may come to.
	mostUnpacked = 64 << 20
)

// packer compresses. It keeps its memory, of which a compressor needs a lot.
type packer struct {
	w   *flate.Writer
	buf bytes.Buffer
}

func (p *packer) pack(value []byte) []byte {
	if value == nil {
		return nil
	}
	if len(value) < worthIt {
		return append([]byte{asItIs}, value...)
	}
	p.buf.Reset()
	p.buf.WriteByte(compressed)
	if p.w == nil {
		w, err := flate.NewWriter(&p.buf, flate.BestSpeed)
		if err != nil {
			panic(err) // the level is one
		}
		p.w = w
	} else {
		p.w.Reset(&p.buf)
	}
	p.w.Write(value) // to memory
	p.w.Close()
	return bytes.Clone(p.buf.Bytes())
}

var errPacked = errors.New("stored state is packed in no known way")

func unpack(stored []byte) ([]byte, error) {
	switch {
	case stored == nil:
		return nil, nil
	case len(stored) > 0 && stored[0] == asItIs:
		return stored[1:], nil
	case len(stored) > 0 && stored[0] == compressed:
		value, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(stored[1:])), mostUnpacked+1))
		if err == nil && len(value) > mostUnpacked {
			err = fmt.Errorf("more than %d octets", mostUnpacked)
		}
		if err != nil {
			return nil, fmt.Errorf("unpack stored state: %w", err)
		}
		return value, nil
	default:
		return nil, errPacked
	}
}
