package modbus

import (
	"cmp"
	"slices"
)

// extent is a run of addresses on the wire, both ends inclusive.
type extent struct{ from, to uint16 }

func (e extent) holds(addr uint16) bool { return addr >= e.from && addr <= e.to }

// limits are the bounds of one request.
type limits struct {
	maxRegs uint16
	maxGap  uint16
	noRead  []extent
	exact   []extent // read as a whole or not at all
	alone   []uint16 // read with one word only
	aligned bool     // no read starts or ends inside a value
}

// exactAt returns the block that must be read as a whole round an address.
func (l *limits) exactAt(addr uint16) (extent, bool) {
	i := slices.IndexFunc(l.exact, func(e extent) bool { return e.holds(addr) })
	if i < 0 {
		return extent{}, false
	}
	return l.exact[i], true
}

// part is one register of a request.
type part struct {
	slot int
	addr uint16
	layout
}

// end is the address after the last word.
func (p *part) end() uint32 { return uint32(p.addr) + uint32(p.size) }

// block is one request and the registers that it brings.
type block struct {
	fc      uint8
	addr, n uint16
	parts   []part
	whole   bool // cannot be split
}

// want is one register to be planned. Core registers belong at one instant: the
// V, I, P and Q of a way.
type want struct {
	part
	fc   uint8
	core bool
}

// cost orders plans: first, in how many requests the core comes; then how many
// requests there are; then how many words they bring.
type cost struct{ core, requests, words int }

func (c cost) compare(d cost) int {
	return cmp.Or(cmp.Compare(c.core, d.core), cmp.Compare(c.requests, d.requests), cmp.Compare(c.words, d.words))
}

// plan cuts the registers, in order of their addresses, into the cheapest
// requests that the limits allow. A single register is always allowed: that it
// fits is checked before.
func plan(wants []want, lim *limits) []block {
	ws := slices.Clone(wants)
	slices.SortStableFunc(ws, func(a, b want) int {
		return cmp.Or(cmp.Compare(a.fc, b.fc), cmp.Compare(a.addr, b.addr))
	})
	// best[i] is the cheapest plan of the first i registers; from[i] is where
	// its last request begins.
	best, from := make([]cost, len(ws)+1), make([]int, len(ws)+1)
	for i := 1; i <= len(ws); i++ {
		for j := i - 1; j >= 0; j-- {
			b, ok := together(ws[j:i], lim)
			if !ok && j < i-1 {
				break // more registers before it do not make it allowed
			}
			c := cost{best[j].core, best[j].requests + 1, best[j].words + int(b.n)}
			if slices.ContainsFunc(ws[j:i], func(w want) bool { return w.core }) {
				c.core++
			}
			if j == i-1 || c.compare(best[i]) < 0 {
				best[i], from[i] = c, j
			}
		}
	}
	var blocks []block
	for i := len(ws); i > 0; i = from[i] {
		b, _ := together(ws[from[i]:i], lim)
		blocks = append(blocks, b)
	}
	slices.Reverse(blocks)
	return blocks
}

// together makes one request of registers that lie in order, and reports whether
// the limits allow it.
func together(ws []want, lim *limits) (block, bool) {
	first, end := &ws[0], ws[0].end()
	b := block{fc: first.fc, addr: first.addr}
	ok := true
	for i := range ws {
		w := &ws[i]
		b.parts = append(b.parts, w.part)
		if i == 0 {
			continue
		}
		ok = ok && w.fc == first.fc && int64(w.addr)-int64(end) <= int64(lim.maxGap)
		end = max(end, w.end())
	}
	if e, exact := lim.exactAt(first.addr); exact {
		b.addr, b.n, b.whole = e.from, e.to-e.from+1, true
		return b, ok && e.holds(uint16(end-1))
	}
	b.n = uint16(end - uint32(first.addr))
	b.whole = slices.Contains(lim.alone, first.addr) && b.n == 1
	ok = ok && end-uint32(first.addr) <= uint32(lim.maxRegs)
	touches := func(e extent) bool { return uint32(e.from) < end && e.to >= first.addr }
	ok = ok && !slices.ContainsFunc(lim.noRead, touches) && !slices.ContainsFunc(lim.exact, touches)
	ok = ok && (len(ws) == 1 || !slices.ContainsFunc(ws, func(w want) bool { return slices.Contains(lim.alone, w.addr) && w.size == 1 }))
	return b, ok
}

// split returns the parts of a block that a meter refused: its runs without
// gaps, or, when it has none, its single registers. A block of one register has
// no parts, nor has one that must be read as a whole.
func (b *block) split() []block {
	if len(b.parts) < 2 || b.whole {
		return nil
	}
	ws := make([]want, len(b.parts))
	for i, p := range b.parts {
		ws[i] = want{part: p, fc: b.fc}
	}
	parts := plan(ws, &limits{maxRegs: b.n})
	if len(parts) == 1 {
		parts = plan(ws, &limits{}) // no merge fits into 0 registers
	}
	return parts
}
