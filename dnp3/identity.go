package dnp3

import (
	"encoding/binary"

	"lvagent/dnp3/app"
)

// Variations of group 0 that say how it is asked.
const (
	everyAttribute   = 254
	listOfAttributes = 255

	visible  = 1 // a string
	unsigned = 2
	list     = 254
)

// attribute is one attribute of the device: a string, or a number.
type attribute struct {
	variation uint8
	text      string
	number    uint32
}

// attributes are those that there are, by variation.
func (c Config) attributes(yield func(attribute) bool) {
	for _, a := range [...]attribute{
		{240, "", MostFragment}, // of a response
		{241, "", MostFragment}, // of a request
		{242, c.Identity.Software, 0},
		{243, c.Identity.Hardware, 0},
		{245, c.Identity.Location, 0},
		{247, c.Identity.Name, 0},
		{248, c.Identity.Serial, 0},
		{249, "3:2012", 0}, // subset level and edition
		{250, c.Identity.Product, 0},
		{252, c.Identity.Vendor, 0},
	} {
		if (a.text != "" || a.number != 0) && !yield(a) {
			return
		}
	}
}

// planIdentity plans a read of attributes of set 0.
func (s *session) planIdentity(h app.Header) {
	p := &s.plan
	if h.Qualifier != app.All && !(h.IsRange() && h.Start == 0 && h.Stop == 0) {
		p.iin |= app.ParameterError
		return
	}
	i := item{source: fromIdentity, variation: h.Variation, all: h.Variation == everyAttribute, listed: h.Variation == listOfAttributes}
	if !i.all && !i.listed {
		known := false
		s.o.config.attributes(func(a attribute) bool {
			known = a.variation == h.Variation
			return !known
		})
		if !known {
			p.iin |= app.ObjectUnknown
			return
		}
	}
	p.add(i)
}

// addIdentity writes attributes; false when the fragment is full. The item
// counts the attributes that were written.
func (c Config) addIdentity(f *fragment, i *item) bool {
	f.close()
	if i.listed {
		n := 0
		c.attributes(func(attribute) bool { n++; return true })
		if !f.room(8 + 2 + 2*n) {
			return false
		}
		f.octets = append(f.octets, 0, listOfAttributes, byte(app.Range8), 0, 0, list, uint8(2*n))
		c.attributes(func(a attribute) bool {
			f.octets = append(f.octets, a.variation, 0) // 0: cannot be written
			return true
		})
		return true
	}
	full, at := false, 0
	c.attributes(func(a attribute) bool {
		at++
		if at <= i.next || !i.all && a.variation != i.variation {
			return true
		}
		text := a.text[:min(len(a.text), 255)]
		if full = !f.room(7 + max(4, len(text))); full {
			return false
		}
		f.octets = append(f.octets, 0, a.variation, byte(app.Range8), 0, 0)
		if text == "" {
			f.octets = binary.LittleEndian.AppendUint32(append(f.octets, unsigned, 4), a.number)
		} else {
			f.octets = append(append(f.octets, visible, uint8(len(text))), text...)
		}
		i.next = at
		return true
	})
	return !full
}
