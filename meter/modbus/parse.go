package modbus

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"lvagent/meter"
)

const defaultTimeout = time.Second

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// ParseProfile reads a profile file and plans its requests. It returns every
// fault of the file at once, in order of lines, the test vectors included; with
// a fault there is no profile.
func ParseProfile(source []byte) (*Profile, []Fault) {
	if len(source) > maxSource {
		return nil, []Fault{{Message: "the file is longer than 256 KiB"}}
	}
	f := &form{}
	b := &builder{form: f, p: &Profile{restarts: nowhere}}
	if root := f.document(source); root != nil {
		if o, ok := f.object(root, "", profileShape); ok {
			b.profile(o)
		}
	}
	if len(f.faults) == 0 {
		b.lay()
	}
	if len(f.faults) == 0 {
		f.faults = b.p.CheckVectors()
	}
	if len(f.faults) > 0 {
		slices.SortStableFunc(f.faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
		return nil, f.faults
	}
	return b.p, nil
}

// builder makes a profile of a form.
type builder struct {
	*form
	p       *Profile
	start   reg   // what holds for a register that does not say
	cores   []int // slots that belong at one instant
	slow    []int // slots of the slow period
	fast    []int // slots of each poll
	statics []static
	asked   [quantities]bool // there is an entry for it, faulty or not

	isShared []bool // by slot: several values may use it
}

func (b *builder) profile(o object) {
	p := b.p
	if p.id = o.text("id"); p.id != "" && !idPattern.MatchString(p.id) {
		o.fault("id", "%q: want small letters, digits and hyphens, 64 at most", p.id)
	}
	p.vendor, p.firmware = o.text("vendor"), o.text("firmware")
	for _, n := range o.list("models") {
		p.models = append(p.models, n.Value)
	}
	if o.has("models") && len(p.models) == 0 {
		o.fault("models", "names no model")
	}
	if e, ok := o.object("evidence", evidenceShape); ok {
		p.level, p.source = e.text("level"), e.text("source")
	}
	p.base = uint32(o.whole("base", 0))
	if s, ok := o.object("serial", serialShape); ok {
		p.serial = Serial{
			Baud: int(s.whole("baud", 0)), Parity: s.text("parity"), StopBits: int(s.whole("stop_bits", 0)),
			Turnaround: s.duration("turnaround", 0), Gap: s.duration("gap", 0),
		}
	}
	p.timeout, p.refresh = o.duration("timeout", defaultTimeout), o.duration("refresh", 0)
	b.limits(o)
	b.start = reg{fc: 3}
	if d, ok := o.object("defaults", encodingShape); ok {
		b.encode(&b.start, d, false)
	}
	b.ways(o)
	b.sunspec(o)
	b.signs(o)
	b.identity(o)
	b.ratios(o)
	for _, n := range o.list("not_supported") {
		p.without[slices.Index(quantityNames, n.Value)] = true
	}
	if len(o.list("registers")) > maxEntries {
		o.fault("registers", "%d entries, at most %d", len(o.list("registers")), maxEntries)
	} else {
		for _, r := range o.objects("registers", registerShape) {
			b.register(r)
		}
		if o.has("registers") {
			b.complete(o)
		}
	}
	b.selfReport(o)
	b.settings(o)
	for _, v := range o.objects("vectors", vectorShape) {
		b.vector(v)
	}
	if o.has("vectors") && len(o.list("vectors")) == 0 {
		o.fault("vectors", "a profile has at least one test vector")
	}
}

func (b *builder) limits(o object) {
	l := &b.p.limits
	l.maxRegs = uint16(o.whole("max_read_regs", maxRegisters))
	l.maxGap = uint16(o.whole("max_gap", 0))
	l.aligned = o.flag("value_aligned")
	l.noRead = b.extents(o, "no_read")
	l.exact = b.extents(o, "exact_blocks")
	for i, e := range l.exact {
		if n := int(e.to) - int(e.from) + 1; n > int(l.maxRegs) {
			b.fault(o.list("exact_blocks")[i], index("exact_blocks", i), "takes %d registers, max_read_regs is %d", n, l.maxRegs)
		}
		meets := func(other extent) bool { return other.from <= e.to && e.from <= other.to }
		if slices.ContainsFunc(l.noRead, meets) || slices.ContainsFunc(l.exact[:i], meets) {
			b.fault(o.list("exact_blocks")[i], index("exact_blocks", i), "meets another block or a no_read range")
		}
	}
	for i, n := range o.list("single_word_only") {
		if a, ok := b.address(n, index("single_word_only", i)); ok {
			l.alone = append(l.alone, a)
		}
	}
}

func (b *builder) extents(o object, name string) (all []extent) {
	for i, n := range o.list(name) {
		at := index(name, i)
		from, ok1 := b.address(n.Content[0], index(at, 0))
		to, ok2 := b.address(n.Content[1], index(at, 1))
		switch {
		case !ok1 || !ok2:
		case to < from:
			b.fault(n, at, "the last address is before the first")
		default:
			all = append(all, extent{from, to})
		}
	}
	return all
}

// address returns a documented address as it goes on the wire.
func (b *builder) address(n *yaml.Node, path string) (uint16, bool) {
	v, ok := b.whole(n, path, uint64(b.p.base), 0xffff+uint64(b.p.base))
	return uint16(uint32(v) - b.p.base), ok
}

// encode sets how a register is read and laid out. Once it is set as a whole it
// must be complete.
func (b *builder) encode(r *reg, o object, whole bool) bool {
	if o.has("fc") {
		r.fc = uint8(o.whole("fc", 0))
	}
	if o.has("type") {
		r.kind = kind(slices.Index(kindNames, o.text("type")))
		r.size = r.kind.usual()
	}
	if o.has("order") {
		r.order = orderOf(o.text("order"))
	}
	if o.has("scope") {
		r.device = o.text("scope") == "device"
	}
	if o.has("words") {
		switch n := r.kind.words(); {
		case r.kind == 0:
			o.fault("words", "says nothing without a type")
		case n != 0:
			o.fault("words", "type %s takes %d", kindNames[r.kind], n)
		default:
			r.size = uint16(o.whole("words", 0))
		}
	}
	if !whole || o.bad["type"] || o.bad["words"] {
		return !whole
	}
	if r.kind == 0 {
		o.fault("type", "is missing")
		return false
	}
	if r.size == 0 {
		o.fault("words", "is missing: a %s has no length of its own", kindNames[r.kind])
		return false
	}
	if long := uint16(maxRegisters); r.size > min(long, b.p.limits.maxRegs) {
		o.fault("addr", "takes %d registers, max_read_regs is %d", r.size, b.p.limits.maxRegs)
		return false
	}
	return true
}

func (b *builder) ways(o object) {
	w := &b.p.ways
	w.count = 1
	ws, ok := o.object("ways", waysShape)
	if !ok {
		return
	}
	w.kind = waysKind(max(0, slices.Index(waysNames, ws.text("kind"))))
	needs := map[waysKind][]string{single: nil, stride: {"count", "stride"}, bases: {"bases"}, unitID: {"count"}}[w.kind]
	for _, name := range []string{"count", "stride", "bases"} {
		switch needed := slices.Contains(needs, name); {
		case needed && !ws.there(name):
			ws.fault(name, "is missing")
		case !needed && ws.there(name):
			ws.fault(name, "says nothing for ways of kind %s", waysNames[w.kind])
		}
	}
	w.count = int(ws.whole("count", 1))
	w.stride = uint32(ws.whole("stride", 0))
	for i, n := range ws.list("bases") {
		if a, ok := b.address(n, index(ws.at("bases"), i)); ok {
			w.bases = append(w.bases, a)
		}
	}
	if w.kind == bases {
		w.count = len(w.bases)
		if ws.has("bases") && (w.count == 0 || w.count > maxWays) {
			ws.fault("bases", "%d bases, want 1 to %d", w.count, maxWays)
		}
	}
}

func (b *builder) sunspec(o object) {
	s, ok := o.object("sunspec", sunspecShape)
	if !ok {
		return
	}
	if b.p.base != 0 || b.p.ways.kind != single {
		o.fault("sunspec", "wants base 0 and no ways: its registers count from the model, its models are the ways")
	}
	sun := &sunspec{bases: []uint16{40000, 50000, 0}}
	for _, n := range s.list("models") {
		v, _ := strconv.ParseUint(n.Value, 0, 64) // was checked
		sun.models = append(sun.models, v)
	}
	if s.has("models") && len(sun.models) == 0 {
		s.fault("models", "names no model")
	}
	if s.has("bases") {
		sun.bases = nil
		for _, n := range s.list("bases") {
			v, _ := strconv.ParseUint(n.Value, 0, 16) // was checked
			sun.bases = append(sun.bases, uint16(v))
		}
		if len(sun.bases) == 0 || len(sun.bases) > 8 {
			s.fault("bases", "%d places to look at, want 1 to 8", len(sun.bases))
		}
	}
	b.p.sunspec = sun
}

// signs sets what the meter's signs mean; registers are turned round by it.
func (b *builder) signs(o object) {
	if s, ok := o.object("signs", signsShape); ok {
		b.p.byLoad = s.text("q") == "by-load"
		b.p.turned[active] = s.text("p") == "export"
		b.p.turned[reactive] = s.text("q") == "inverted"
	}
}

// static reads a register with a request of its own.
func (b *builder) static(o object, usual kind) (static, bool) {
	r := reg{fc: b.start.fc, layout: layout{order: b.start.order}}
	if usual != 0 {
		r.kind, r.size = usual, usual.usual()
	} else if b.start.kind != 0 {
		r.layout = b.start.layout
	}
	if !b.encode(&r, o, true) || !o.has("addr") {
		return static{}, false
	}
	n := o.values["addr"]
	addr, ok := b.address(n, o.at("addr"))
	if !ok {
		return static{}, false
	}
	s := static{fc: r.fc, addr: addr, layout: r.layout, scale: o.number("scale", 1), line: n.Line, path: o.path}
	if !b.placed(n, o.at("addr"), uint32(addr), r.size) {
		return static{}, false
	}
	b.statics = append(b.statics, s)
	return s, true
}

// placed checks that a request for one register can be made.
func (b *builder) placed(n *yaml.Node, path string, addr uint32, size uint16) bool {
	l := &b.p.limits
	end := addr + uint32(size)
	touches := func(e extent) bool { return uint32(e.from) < end && uint32(e.to) >= addr }
	switch {
	case end > 1<<16:
		b.fault(n, path, "ends after the last register")
	case slices.ContainsFunc(l.noRead, touches):
		b.fault(n, path, "lies in a no_read range")
	case slices.ContainsFunc(l.exact, func(e extent) bool {
		return touches(e) && !(uint32(e.from) <= addr && end <= uint32(e.to)+1)
	}):
		b.fault(n, path, "lies partly in an exact block")
	default:
		return true
	}
	return false
}

func (b *builder) identity(o object) {
	if n, ok := o.object("serial_number", textRegisterShape); ok {
		if s, ok := b.static(n, text); ok {
			b.p.identity.serial = &s
		}
	}
	id, ok := o.object("identify", identifyShape)
	if !ok {
		return
	}
	b.p.identity.warn = id.text("on_mismatch") == "warn"
	if id.has("match") && len(id.list("match")) == 0 {
		id.fault("match", "matches nothing")
	}
	for _, m := range id.objects("match", matchShape) {
		if s, ok := b.static(m, 0); ok {
			b.p.identity.matches = append(b.p.identity.matches, b.matching(m, s))
		}
	}
}

// matching returns what the register s must hold.
func (b *builder) matching(o object, s static) match {
	m := match{static: s}
	ways := 0
	for _, name := range []string{"raw", "hex", "ascii", "regex"} {
		if o.there(name) {
			ways++
		}
		switch needsText := name == "ascii" || name == "regex"; {
		case o.there(name) && needsText != s.kind.isText() && name != "hex":
			o.fault(name, "does not go with type %s", kindNames[s.kind])
		}
	}
	if ways != 1 {
		o.fault("", "wants one of raw, hex, ascii and regex, got %d", ways)
	}
	for _, n := range o.list("raw") {
		v, _ := strconv.ParseUint(n.Value, 0, 64) // was checked
		m.raw = append(m.raw, v)
	}
	for _, n := range o.list("ascii") {
		m.texts = append(m.texts, strings.TrimSpace(n.Value))
	}
	if o.has("raw") && len(m.raw) == 0 || o.has("ascii") && len(m.texts) == 0 {
		o.fault("", "matches nothing")
	}
	if o.has("hex") {
		for _, w := range strings.Fields(o.text("hex")) {
			v, err := strconv.ParseUint(w, 16, 16)
			if err != nil || len(w) != 4 {
				o.fault("hex", "%q is no word of four hexadecimal digits", w)
				break
			}
			m.words = append(m.words, uint16(v))
		}
		if len(m.words) != int(s.size) {
			o.fault("hex", "%d words, the register has %d", len(m.words), s.size)
		}
	}
	if o.has("regex") {
		var err error
		if m.regex, err = regexp.Compile(o.text("regex")); err != nil {
			o.fault("regex", "%v", err)
		}
	}
	return m
}

func (b *builder) ratios(o object) {
	r, ok := o.object("ratios", ratiosShape)
	if !ok {
		return
	}
	b.p.ratios.byAgent = r.text("applied_by") == "agent"
	for class, name := range ratioNames {
		if c, ok := r.object(name, ratioShape); ok {
			b.p.ratios.class[class] = b.ratio(c)
		}
	}
}

func (b *builder) ratio(o object) *ratio {
	c := &ratio{fixed: o.number("fixed", 0), by: o.number("by", 1)}
	if o.has("fixed") == o.has("primary") {
		o.fault("", "wants one of fixed and primary")
		return nil
	}
	if o.has("fixed") && !(c.fixed > 0 && c.fixed <= mostRatio) {
		o.fault("fixed", "%v is not above 0 and at most %g", c.fixed, mostRatio)
	}
	if !(c.by > 0 && c.by <= mostRatio) {
		o.fault("by", "%v is not above 0 and at most %g", c.by, mostRatio)
	}
	if inner, ok := o.object("primary", ratioRegisterShape); ok {
		if s, ok := b.static(inner, 0); ok {
			c.primary = &s
		}
	}
	if inner, ok := o.object("secondary", ratioRegisterShape); ok {
		if !o.there("primary") {
			o.fault("secondary", "says nothing without a primary")
		}
		if s, ok := b.static(inner, 0); ok {
			c.secondary = &s
		}
	}
	return c
}

// mostRatio is the largest ratio that makes sense; what is above is a slip.
const mostRatio = 1e5

// selfReport sets what the meter says of itself.
func (b *builder) selfReport(o object) {
	if e, ok := o.object("enabled", enabledShape); ok {
		if slot, ok := b.bitRegister(e); ok {
			b.p.enabled = &bits{slot: slot, mask: e.whole("mask", 1<<64-1), want: e.whole("equals", 0)}
		}
	}
	for _, s := range o.objects("status", statusShape) {
		slot, ok := b.bitRegister(s)
		if !ok {
			continue
		}
		mask := s.whole("mask", 0)
		r := remark{bits: bits{slot, mask, s.whole("equals", mask)}, quality: meter.Suspect}
		if mask == 0 {
			s.fault("mask", "no bit counts")
		}
		if s.text("quality") == "missing" {
			r.quality = meter.Missing
		}
		r.why = map[string]meter.Reason{"restarted": meter.Restarted, "out_of_range": meter.OutOfRange,
			"frozen": meter.Frozen, "mismatch": meter.Mismatch}[s.text("means")]
		for q := range slowest {
			for ph := range meter.Phase(q.values()) {
				r.of[q][ph] = s.holds("quantities", q.String()) && (q == neutral || s.holds("phases", ph.String()))
			}
		}
		b.p.status = append(b.p.status, r)
	}
	if c, ok := o.object("restarts", restartsShape); ok {
		r := b.start
		r.layout = layout{kind: u16, size: 1, order: b.start.order}
		if b.encode(&r, c, true) && c.has("addr") {
			if slot, ok := b.intern(r, c.values["addr"], c.at("addr"), false); ok {
				b.p.restarts = slot
				b.fast = append(b.fast, slot)
			}
		}
	}
}

// holds reports whether a list names x; one that is not there names all.
func (o object) holds(name, x string) bool {
	return !o.there(name) || slices.ContainsFunc(o.list(name), func(n *yaml.Node) bool { return n.Value == x })
}

func (b *builder) bitRegister(o object) (slot int, ok bool) {
	r := b.start
	r.layout = layout{kind: u16, size: 1}
	if !b.encode(&r, o, true) || !o.has("addr") {
		return 0, false
	}
	slot, ok = b.intern(r, o.values["addr"], o.at("addr"), true)
	b.fast = append(b.fast, slot)
	return slot, ok
}

// complete faults a quantity that is nowhere, or there and not supported.
func (b *builder) complete(o object) {
	for i, without := range b.p.without {
		q := quantity(i)
		switch {
		case q < slowest && !b.asked[q] && !without:
			o.fault("registers", "quantity %s is missing; if the meter has none, list it in not_supported", q)
		case b.asked[q] && without:
			o.fault("registers", "quantity %s has registers and is listed in not_supported", q)
		}
	}
}

// lay places the registers of each way and plans its requests.
func (b *builder) lay() {
	p := b.p
	if p.sunspec != nil {
		for i := range p.regs {
			p.sunspec.words = max(p.sunspec.words, p.regs[i].addr+p.regs[i].size)
		}
	}
	for n := range p.ways.count {
		c := channel{addrs: make([]uint16, len(p.regs))}
		for i := range p.regs {
			r := &p.regs[i]
			at := p.ways.at(r, n)
			node := &yaml.Node{Line: r.line}
			path := r.path
			if n > 0 {
				path = fmt.Sprintf("%s, way %d", path, n+1)
			}
			if !b.placed(node, path, at, r.size) {
				return
			}
			c.addrs[i] = uint16(at)
		}
		if !b.apart(&c, n) {
			return
		}
		c.fast, c.slow = plan(b.wants(&c, b.fast), &p.limits), plan(b.wants(&c, b.slow), &p.limits)
		p.channels = append(p.channels, c)
		p.requests = slices.Concat(p.requests, c.fast, c.slow)
	}
	for _, s := range b.statics {
		p.requests = append(p.requests, block{fc: s.fc, addr: s.addr, n: s.size})
	}
	for _, s := range p.settings {
		p.requests = append(p.requests, block{fc: 3, addr: s.addr, n: s.size}) // read back
	}
	if p.sunspec != nil {
		p.requests = append(p.requests, block{fc: 3, n: 2}) // of the chain
	}
}

// wants returns the registers of some slots of a way, each once.
func (b *builder) wants(c *channel, slots []int) (ws []want) {
	seen := map[int]bool{}
	for _, s := range slots {
		if !seen[s] {
			seen[s] = true
			r := &b.p.regs[s]
			ws = append(ws, want{part: part{slot: s, addr: c.addrs[s], layout: r.layout}, fc: r.fc, core: slices.Contains(b.cores, s)})
		}
	}
	return ws
}

// apart checks that no two registers of a way share a word, and that no other
// request cuts through one where the meter refuses that.
func (b *builder) apart(c *channel, n int) bool {
	regs := b.p.regs
	slots := make([]int, len(regs))
	for i := range slots {
		slots[i] = i
	}
	slices.SortStableFunc(slots, func(x, y int) int {
		return cmp.Or(cmp.Compare(regs[x].fc, regs[y].fc), cmp.Compare(c.addrs[x], c.addrs[y]))
	})
	ok := true
	for i := 1; i < len(slots); i++ {
		x, y := slots[i-1], slots[i]
		if regs[x].fc == regs[y].fc && uint32(c.addrs[y]) < uint32(c.addrs[x])+uint32(regs[x].size) {
			message := "overlaps " + regs[x].path
			if n > 0 {
				message = fmt.Sprintf("overlaps %s in way %d", regs[x].path, n+1)
			}
			b.faults = append(b.faults, Fault{Line: regs[y].line, Path: regs[y].path, Message: message})
			ok = false
		}
	}
	if !b.p.limits.aligned {
		return ok
	}
	for _, s := range b.statics {
		from, to := uint32(s.addr), uint32(s.addr)+uint32(s.size)
		for i := range regs {
			first, end := uint32(c.addrs[i]), uint32(c.addrs[i])+uint32(regs[i].size)
			whole := from <= first && end <= to
			if s.fc == regs[i].fc && from < end && first < to && !whole && !slices.Contains(b.p.limits.alone, s.addr) {
				b.faults = append(b.faults, Fault{Line: s.line, Path: s.path, Message: "cuts through " + regs[i].path + ", which the meter refuses"})
				ok = false
			}
		}
	}
	return ok
}
