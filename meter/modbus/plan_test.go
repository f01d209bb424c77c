package modbus

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whatever the registers and the limits: each register is read once, inside its
// request, and no request breaks a limit.
func TestPlanKeepsTheLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lim := limits{
			maxRegs: rapid.Uint16Range(4, 125).Draw(t, "max regs"),
			maxGap:  rapid.Uint16Range(0, 60).Draw(t, "max gap"),
		}
		forbidden := rapid.Uint16Range(0, 600).Draw(t, "no read")
		lim.noRead = []extent{{forbidden, forbidden + 3}}
		exact := rapid.Uint16Range(700, 900).Draw(t, "exact block")
		lim.exact = []extent{{exact, exact + rapid.Uint16Range(3, lim.maxRegs-1).Draw(t, "its length")}}
		var ws []want
		next := uint32(rapid.Uint16Range(0, 100).Draw(t, "first"))
		for slot := range rapid.IntRange(1, 25).Draw(t, "registers") {
			w := want{
				part: part{slot: slot, addr: uint16(next), layout: lay(rapid.SampledFrom([]kind{u16, f32, f64}).Draw(t, "kind"), "ABCD")},
				fc:   rapid.SampledFrom([]uint8{3, 3, 3, 4}).Draw(t, "fc"),
				core: rapid.Bool().Draw(t, "core"),
			}
			// Not into the forbidden range, nor half into the exact block: the
			// parser refuses such registers.
			if w.end() > uint32(forbidden) && w.addr <= forbidden+3 {
				w.addr = forbidden + 4
			}
			if e := lim.exact[0]; w.end() > uint32(e.from) && w.addr < e.from || e.holds(w.addr) && w.end() > uint32(e.to)+1 {
				w.addr = e.to + 1
			}
			if w.size == 1 && rapid.IntRange(0, 9).Draw(t, "alone") == 0 {
				lim.alone = append(lim.alone, w.addr)
			}
			ws = append(ws, w)
			next = w.end() + uint32(rapid.SampledFrom([]uint16{0, 0, 0, 1, 5, 20, 60, 80}).Draw(t, "gap"))
		}
		read := map[int]int{}
		for _, b := range plan(ws, &lim) {
			end := uint32(b.addr) + uint32(b.n)
			if b.n > lim.maxRegs || b.n == 0 {
				t.Errorf("request of %d registers, limit %d", b.n, lim.maxRegs)
			}
			if b.addr <= forbidden+3 && end > uint32(forbidden) {
				t.Errorf("request 0x%x+%d reads 0x%x", b.addr, b.n, forbidden)
			}
			if e := lim.exact[0]; b.addr <= e.to && end > uint32(e.from) && (b.addr != e.from || end != uint32(e.to)+1) {
				t.Errorf("request 0x%x+%d is not the exact block 0x%x..0x%x", b.addr, b.n, e.from, e.to)
			}
			last := uint32(b.addr)
			for i, p := range b.parts {
				read[p.slot]++
				w := ws[slices.IndexFunc(ws, func(w want) bool { return w.slot == p.slot })]
				if w.fc != b.fc || uint32(p.addr) < last || p.end() > end {
					t.Errorf("register 0x%x lies badly in request 0x%x+%d", p.addr, b.addr, b.n)
				}
				if gap := uint32(p.addr) - last; gap > uint32(lim.maxGap) && !b.whole {
					t.Errorf("gap of %d, limit %d", gap, lim.maxGap)
				}
				if slices.Contains(lim.alone, p.addr) && len(b.parts) > 1 && !b.whole {
					t.Errorf("register 0x%x is not read alone", p.addr)
				}
				if i == 0 && !b.whole && p.addr != b.addr {
					t.Errorf("request 0x%x+%d begins before its first value", b.addr, b.n)
				}
				last = p.end()
			}
			if last != end && !b.whole {
				t.Errorf("request 0x%x+%d ends after its last value", b.addr, b.n)
			}
		}
		for _, w := range ws {
			if read[w.slot] != 1 {
				t.Errorf("register 0x%x is read %d times", w.addr, read[w.slot])
			}
		}
	})
}

// No cheaper plan exists that a search over all cuts would find.
func TestPlanIsTheCheapest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lim := limits{maxRegs: rapid.Uint16Range(2, 12).Draw(t, "max regs"), maxGap: rapid.Uint16Range(0, 4).Draw(t, "max gap")}
		var ws []want
		next := uint16(0)
		for slot := range rapid.IntRange(1, 9).Draw(t, "registers") {
			ws = append(ws, want{part: part{slot: slot, addr: next, layout: lay(f32, "ABCD")}, fc: 3, core: rapid.Bool().Draw(t, "core")})
			next += 2 + rapid.Uint16Range(0, 5).Draw(t, "gap")
		}
		price := func(blocks []block) (c cost) {
			for _, b := range blocks {
				c.requests++
				c.words += int(b.n)
				if slices.ContainsFunc(b.parts, func(p part) bool { return ws[p.slot].core }) {
					c.core++
				}
			}
			return c
		}
		got := price(plan(ws, &lim))
		for cuts := range 1 << (len(ws) - 1) {
			var blocks []block
			allowed := true
			for from, i := 0, 1; i <= len(ws); i++ {
				if i == len(ws) || cuts>>(i-1)&1 == 1 {
					b, ok := together(ws[from:i], &lim)
					allowed = allowed && ok
					blocks, from = append(blocks, b), i
				}
			}
			if c := price(blocks); allowed && c.compare(got) < 0 {
				t.Fatalf("plan costs %+v, cuts %b cost %+v", got, cuts, c)
			}
		}
	})
}

// V, I, P and Q in one request are worth a request more.
func TestPlanKeepsTheCoreTogether(t *testing.T) {
	at := func(slot int, addr, size uint16, core bool) want {
		return want{part: part{slot: slot, addr: addr, layout: layout{kind: bitfield, size: size}}, fc: 3, core: core}
	}
	got := plan([]want{at(0, 0, 1, false), at(1, 8, 4, true), at(2, 12, 4, true), at(3, 23, 1, false)}, &limits{maxRegs: 14, maxGap: 20})
	var requests [][2]uint16
	for _, b := range got {
		requests = append(requests, [2]uint16{b.addr, b.n})
	}
	if want := [][2]uint16{{0, 1}, {8, 8}, {23, 1}}; !slices.Equal(requests, want) {
		t.Errorf("requests %v, want %v; {0 12} and {12 12} would part the core", requests, want)
	}
}

func TestTogetherAtTheEdge(t *testing.T) {
	at := func(fc uint8, addr uint16, k kind) want {
		return want{part: part{addr: addr, layout: lay(k, "ABCD")}, fc: fc}
	}
	first := at(3, 10, u32)
	lim := limits{maxRegs: 7, maxGap: 4, noRead: []extent{{20, 21}}, exact: []extent{{40, 49}}, alone: []uint16{60}}
	far := limits{maxRegs: 125, maxGap: 125, noRead: lim.noRead, exact: lim.exact, alone: lim.alone}
	for _, tt := range []struct {
		name string
		ws   []want
		lim  limits
		want bool
	}{
		{"adjacent", []want{first, at(3, 12, u16)}, lim, true},
		{"gap and length at the limit", []want{first, at(3, 16, u16)}, lim, true},
		{"one register too long", []want{first, at(3, 16, u32)}, lim, false},
		{"gap one too wide", []want{first, at(3, 17, u16)}, limits{maxRegs: 125, maxGap: 4}, false},
		{"other function", []want{first, at(4, 12, u16)}, lim, false},
		{"over a forbidden range", []want{first, at(3, 22, u16)}, far, false},
		{"right before a forbidden range", []want{first, at(3, 19, u16)}, far, true},
		{"all in an exact block", []want{at(3, 41, u16), at(3, 48, u32)}, far, true},
		{"out of an exact block", []want{at(3, 41, u16), at(3, 50, u16)}, far, false},
		{"into an exact block", []want{at(3, 39, u16), at(3, 40, u16)}, far, false},
		{"over an exact block", []want{at(3, 39, u16), at(3, 50, u16)}, far, false},
		{"with one that is read alone", []want{at(3, 59, u16), at(3, 60, u16)}, far, false},
		{"over one that is read alone", []want{at(3, 59, u16), at(3, 61, u16)}, far, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := together(tt.ws, &tt.lim); got != tt.want {
				t.Errorf("together = %v, want %v", got, tt.want)
			}
		})
	}
}
