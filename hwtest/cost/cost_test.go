package cost

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lvagent/configs"
	"lvagent/meter/modbus"
)

// The bare loop is a fair measure only while it asks what the agent asks.
func TestBareLoopReadsWhatTheProfileReads(t *testing.T) {
	shipped, err := configs.Profiles.ReadFile("meters/eastron-sdm630.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"shipped": shipped, "bench": []byte(profileText)} {
		p, faults := modbus.ParseProfile(text)
		if len(faults) > 0 {
			t.Fatalf("%s profile: %v", name, faults)
		}
		var asked []register
		for _, b := range p.Blocks() {
			asked = append(asked, register{b.Addr, b.N})
		}
		if !slices.Equal(asked, registers) {
			t.Errorf("%s profile asks for %v, the bare loop for %v", name, asked, registers)
		}
	}
}

func TestLoopKeepsTheRate(t *testing.T) {
	m, err := startMeters(3)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	ctx, cancel := context.WithTimeout(t.Context(), 550*time.Millisecond)
	defer cancel()
	if err := Loop(ctx, m.urls(), 3, 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	// At 0, 33, ... 533 ms: never sooner, however slow the machine.
	if n := m.requests(); n < 2 || n > 2*17 {
		t.Errorf("%d requests in 550 ms, want at most 34", n)
	}
}

func TestLoopRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		ways      int
		every     time.Duration
	}{
		{"no ways", "tcp://127.0.0.1:1", 0, time.Second},
		{"nobody there", "tcp://127.0.0.1:1", 1, time.Second},
		{"more ways than a bus has", "tcp://127.0.0.1:1", perBus + 1, time.Second},
		{"no period", "tcp://127.0.0.1:1", 1, 0},
		{"another scheme", "rtu:///dev/ttyS0", 1, time.Second},
	} {
		if err := Loop(t.Context(), []string{tt.url}, tt.ways, tt.every); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
}

// The count is only worth something if it is above zero where something is
// allocated.
func TestPerCallCounts(t *testing.T) {
	var keep [][]byte
	got, err := perCall(200, func() error { keep = append(keep[:0], make([]byte, 64), make([]byte, 64)); return nil })
	if err != nil || got < 2 || got > 2.5 {
		t.Errorf("two allocations a call are counted as %.2f (%v)", got, err)
	}
	if got, _ := perCall(200, func() error { return nil }); got > mostAllocations {
		t.Errorf("nothing is counted as %.2f", got)
	}
	if _, err := perCall(1, func() error { return ErrIncomplete }); !errors.Is(err, ErrIncomplete) {
		t.Errorf("error %v", err)
	}
}

func TestAllocationsWantWholeReadings(t *testing.T) {
	m, err := startMeters(1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	m.set(0, math.NaN())
	if _, err := Allocations(m.urls()[0], 10); !errors.Is(err, ErrIncomplete) {
		t.Errorf("a meter that shows NaN: error %v, want %v", err, ErrIncomplete)
	}
	m.set(0, normal)
	a, err := Allocations(m.urls()[0], 10)
	if err != nil || a.Readings != 10 || a.Requests < 1 || a.Window <= 0 || a.AndAlarms <= 0 {
		t.Errorf("allocations %+v, error %v", a, err)
	}
	t.Log("a reading ", a.path())
	if _, err := Allocations(m.urls()[0], MostReadings+1); err == nil {
		t.Error("a half-hour would end, and no error")
	}
}

func TestProc(t *testing.T) {
	stat := []byte("4711 (lv) agent (x)) S 1 4711 4711 0 -1 4194560 900 0 0 0 123 45 0 0 20 0 9 0 1 1 1 1")
	if got, err := processorTime(stat); err != nil || got != 1680*time.Millisecond {
		t.Errorf("processor time %v (%v), want 1.68s", got, err)
	}
	if got := onProcessor([]byte("123456789 42 7\n")); got != 123456789 {
		t.Errorf("thread time %d ns, want 123456789", got)
	}
	anon, file, err := memory([]byte("Name:\tlvagent\nRssAnon:\t    1024 kB\nRssFile:\t  2048 kB\n"))
	if err != nil || anon != 1<<20 || file != 2<<20 {
		t.Errorf("memory %d and %d octets (%v), want 1 and 2 MiB", anon, file, err)
	}
	io, err := ioCounts([]byte("rchar: 1\nwchar: 77\nread_bytes: 0\nwrite_bytes: 4096\ncancelled_write_bytes: 9\n"))
	if err != nil || io.disk != 4096 || io.chars != 77 {
		t.Errorf("input and output %+v (%v), want 4096 and 77", io, err)
	}
	for name, fault := range map[string]error{
		"stat without a name": second(processorTime([]byte("4711"))),
		"short stat":          second(processorTime([]byte("1 (x) S 1 2"))),
		"status":              second(keyed([]byte("VmRSS: 1 kB\n"), "RssAnon:")),
		"io":                  second(ioCounts([]byte("write_bytes: many\n"))),
	} {
		if !errors.Is(fault, errProc) {
			t.Errorf("%s: error %v, want one that says %q", name, fault, errProc)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestWatchOfThisProcess(t *testing.T) {
	w := newWatch(os.Getpid())
	for _, f := range []func() error{w.begin, w.sample, w.end} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	if u := w.usage(time.Minute); u.Anon == 0 || u.File == 0 || w.to <= 0 || w.to < w.from {
		t.Errorf("usage %+v, processor time from %v to %v", u, w.from, w.to)
	}
}

// Between begin and end only, and a day is its minutes and its half-hours.
func TestWritesOfADay(t *testing.T) {
	w := watch{first: ioCount{4096, 1000}, last: ioCount{12288, 61000}}
	if got, want := w.wrote(), (ioCount{8192, 60000}); got != want {
		t.Errorf("wrote %+v, want %+v", got, want)
	}
	v := Volume{Minute: 10_000}
	v.add(100_000)
	if v.Day != 1440*10_000+48*100_000 {
		t.Errorf("a day is %.0f octets", v.Day)
	}
}

func TestBudgetIsThatOfThePages(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pages float64
		over  bool
	}{
		{"at the budget", 60e6, false},
		{"above", 60.1e6, true},
	} {
		r := light()
		r.Sizes[0].Disk = &Disk{Pages: Volume{Day: tt.pages}, Dirtied: Volume{Day: 900e6}, Handed: Volume{Day: 900e6}}
		r.Judge(false)
		if (len(r.Broken) > 0) != tt.over {
			t.Errorf("%s: broken %q", tt.name, r.Broken)
		}
	}
}

// A store file as bbolt writes it, with the meta pages taking turns.
func TestLastCommit(t *testing.T) {
	folder := t.TempDir()
	if _, err := lastCommit(folder); err == nil {
		t.Error("an empty folder has a commit")
	}
	file := make([]byte, 3*4096)
	for page, n := range []uint64{41, 40} {
		at := file[page*4096:]
		binary.NativeEndian.PutUint32(at[metaAt:], metaMagic)
		binary.NativeEndian.PutUint32(at[metaPageSize:], 4096)
		binary.NativeEndian.PutUint64(at[metaTxID:], n)
	}
	for name, text := range map[string][]byte{"a.state": []byte("no store"), "b.db": file} {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := lastCommit(folder); err != nil || n != 41 {
		t.Errorf("commit %d (%v), want 41", n, err)
	}
	binary.NativeEndian.PutUint64(file[4096+metaTxID:], 42)
	if err := os.WriteFile(filepath.Join(folder, "b.db"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, _ := lastCommit(folder); n != 42 {
		t.Errorf("commit %d, want 42 of the second page", n)
	}
}

func TestMachine(t *testing.T) {
	if got := cpuModel("processor\t: 0\nmodel name\t: ARMv7 Processor rev 5 (v7l)\nHardware\t: BCM2835\n"); got != "ARMv7 Processor rev 5 (v7l)" {
		t.Errorf("processor %q", got)
	}
	if got := cpuModel("Hardware\t: BCM2835\n"); got != "BCM2835" {
		t.Errorf("board %q", got)
	}
	mounts := "/dev/root / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/mmcblk0p3 /var/lib ubifs rw 0 0\n"
	for folder, want := range map[string]string{"/tmp/x": "tmpfs", "/tmpx": "ext4", "/var/lib": "ubifs", "/var/lib/lvagent": "ubifs", "/": "ext4"} {
		if got := fileSystem(mounts, folder); got != want {
			t.Errorf("%s lies on %s, want %s", folder, got, want)
		}
	}
}

// Whatever the split, each frame comes out once, whole and in order.
func TestFramesHoweverSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var octets []byte
		var want, got [][]byte
		for range rapid.IntRange(1, 8).Draw(t, "frames") {
			// On both sides of the lengths that take a second and a third octet.
			size := rapid.SampledFrom([]int{0, 1, 127, 128, 300, 16383, 16384}).Draw(t, "size")
			body := slices.Repeat([]byte{rapid.Byte().Draw(t, "octet")}, size)
			packet := mqttPacket(mqttPublish<<4, body)
			want, octets = append(want, packet), append(octets, packet...)
		}
		f := &frames{head: mqttHead, whole: func(p []byte) { got = append(got, slices.Clone(p)) }}
		for len(octets) > 0 {
			n := rapid.IntRange(1, len(octets)).Draw(t, "octets")
			if _, err := f.Write(octets[:n]); err != nil {
				t.Fatal(err)
			}
			octets = octets[n:]
		}
		if !slices.EqualFunc(got, want, slices.Equal[[]byte]) {
			t.Fatalf("%d frames %x, want %d %x", len(got), got, len(want), want)
		}
	})
}

func mqttPacket(first byte, body []byte) []byte {
	p := []byte{first}
	for n := len(body); ; {
		o := byte(n & 0x7f)
		if n >>= 7; n == 0 {
			p = append(p, o)
			break
		}
		p = append(p, o|0x80)
	}
	return append(p, body...)
}

// conversation plays an agent with one meter on the alarm wire.
type conversation struct {
	*alarmWire
	agent, broker, meter interface{ Write([]byte) (int, error) }
	id                   uint16
}

func newConversation() *conversation {
	a := newAlarmWire()
	return &conversation{alarmWire: a, agent: a.fromAgent(), broker: a.fromBroker(), meter: a.modbusReply()}
}

// answers has unit answer the block of 30 registers with amps on L1.
func (c *conversation) answers(unit uint8, amps float32) {
	f := make([]byte, 9+60)
	binary.BigEndian.PutUint16(f[4:], 63)
	f[6], f[7], f[8] = unit, 4, 60
	binary.BigEndian.PutUint32(f[9+12:], math.Float32bits(amps))
	_, _ = c.meter.Write(f)
}

// publishes sends an alarm and returns its packet id.
func (c *conversation) publishes(way, kind, edge string) uint16 {
	c.id++
	topic := "lv/v1/X/up/alarm/" + way
	body := binary.BigEndian.AppendUint16(nil, uint16(len(topic)))
	body = binary.BigEndian.AppendUint16(append(body, topic...), c.id)
	text, _ := json.Marshal(map[string]any{"way": way, "quantity": "i", "phase": "L1", "kind": kind, "edge": edge, "n": 7})
	_, _ = c.agent.Write(mqttPacket(mqttPublish<<4|2, append(body, text...)))
	return c.id
}

func (c *conversation) acks(id uint16) {
	_, _ = c.broker.Write([]byte{mqttPuback << 4, 2, byte(id >> 8), byte(id)})
}

func TestAlarmWire(t *testing.T) {
	c := newConversation()
	c.answers(1, raised)
	if _, ok := c.seen(1); ok {
		t.Error("an answer counts that nobody waits for")
	}
	c.arm(1, true)
	c.answers(1, threshold)
	c.answers(2, raised)
	if _, ok := c.seen(1); ok {
		t.Error("an answer at the threshold, or of another unit, counts as above")
	}
	c.answers(1, raised)
	first, ok := c.seen(1)
	c.answers(1, raised)
	if again, _ := c.seen(1); !ok || again != first {
		t.Error("not the first answer above counts")
	}
	other := c.publishes("W1", "FUSE_SUSPECTED", "raise")
	id := c.publishes("W1", "hi", "raise")
	c.acks(other)
	if len(c.edges) != 0 {
		t.Error("another alarm counts")
	}
	c.acks(id)
	c.acks(id)
	if len(c.edges) != 1 {
		t.Fatalf("%d edges, want 1", len(c.edges))
	}
	if e := <-c.edges; e.way != "W1" || !e.raise || e.acked.Before(first) {
		t.Errorf("edge %+v", e)
	}
}

// Every step is raised, seen and brought back before the way's next one.
func TestStepsWithAnAgentThatAlarms(t *testing.T) {
	c := newConversation()
	shown := map[uint8]float64{}
	s := newSteps(c.alarmWire, 12, func(way int, amps float64) { shown[uint8(way+1)] = amps })
	above := map[uint8]bool{}
	now := time.Unix(0, 0)
	for range 1000 {
		if !s.next(now) {
			break
		}
		now = now.Add(stepEvery)
		for unit := range uint8(alarmWays) {
			unit++
			c.answers(unit, float32(shown[unit]))
			if is := shown[unit] > threshold; is != above[unit] {
				above[unit] = is
				way := "W" + string('0'+rune(unit))
				c.acks(c.publishes(way, "hi", map[bool]string{true: "raise", false: "clear"}[is]))
			}
		}
	}
	if s.begun != 12 || len(s.took) != 12 {
		t.Errorf("%d begun, %d seen, want 12 each", s.begun, len(s.took))
	}
	for unit, amps := range shown {
		if amps > threshold {
			t.Errorf("unit %d is left at %.0f A", unit, amps)
		}
	}
}

// The alarm of one way says nothing about another that rises at the same time.
func TestStepsKeepWaysApart(t *testing.T) {
	c := newConversation()
	s := newSteps(c.alarmWire, 5, func(int, float64) {})
	now := time.Unix(0, 0)
	s.next(now)
	c.answers(1, raised)
	c.acks(c.publishes("W2", "hi", "raise"))
	if s.next(now); len(s.took) != 0 {
		t.Error("the alarm of W2 counts for W1")
	}
	c.acks(c.publishes("W1", "hi", "raise"))
	if s.next(now); len(s.took) != 1 {
		t.Errorf("%d alarms seen, want that of W1", len(s.took))
	}
}

func TestStepsWithAnAgentThatIsSilent(t *testing.T) {
	c := newConversation()
	s := newSteps(c.alarmWire, 200, func(int, float64) {})
	now, rounds := time.Unix(0, 0), 0
	for ; s.next(now) && rounds < 1000; rounds++ {
		now = now.Add(time.Second)
	}
	if len(s.took) != 0 || s.begun != patience*alarmWays {
		t.Errorf("%d seen, %d begun in %d rounds; want to give up after %d", len(s.took), s.begun, rounds, patience*alarmWays)
	}
}

func TestSpread(t *testing.T) {
	var d []time.Duration
	for i := range 200 {
		d = append(d, time.Duration(200-i)*time.Millisecond)
	}
	if got, want := spreadOf(d), (Spread{P50: 100, P99: 198, Max: 200, N: 200}); got != want {
		t.Errorf("spread %+v, want %+v", got, want)
	}
	if got := spreadOf(d[:1]); got.P50 != 200 || got.P99 != 200 {
		t.Errorf("spread of one %+v", got)
	}
	if got := spreadOf(nil); got != (Spread{}) {
		t.Errorf("spread of none %+v", got)
	}
}

func light() Result {
	return Result{
		Sizes: []Size{
			{Ways: 5, Agent: Usage{CPU: 0.2, Anon: 15e6, Requests: 600}, Bare: Usage{CPU: 0.1, Requests: 600}, CPURatio: 2},
			{Ways: 100, Agent: Usage{CPU: 9, Anon: 24e6, Requests: 11900}, Bare: Usage{CPU: 1, Requests: 12000}, CPURatio: 9},
		},
		Allocations: Allocated{Own: mostAllocations},
		Alarm:       Alarm{Steps: 200, Seen: 200, Latency: &Spread{P99: 1e6}},
		Backlog:     Backlog{Rate: leastDrain, Steps: 40, Seen: 40, Latency: &Spread{P99: mostInterval}},
	}
}

func TestJudge(t *testing.T) {
	tests := []struct {
		name   string
		strict bool
		change func(*Result)
		want   string // "": every limit held
	}{
		{"every limit reached and none broken", true, func(*Result) {}, ""},
		{"processor", false, func(r *Result) { r.Sizes[0].CPURatio = 2.5 }, "2.50 times that of the bare loop, 0.50 above"},
		{"no processor time of the bare loop", false, func(r *Result) { r.Sizes[0].CPURatio = 0 }, "run longer"},
		{"memory at 5 ways", false, func(r *Result) { r.Sizes[0].Agent.Anon = 16e6 }, "5 ways: anonymous memory is 16.0 MB, 1.0 MB above the limit of 15.0 MB"},
		{"memory at 100 ways", false, func(r *Result) { r.Sizes[1].Agent.Anon = 25e6 }, "100 ways: anonymous memory is 25.0 MB"},
		{"processor at 12 ways", false, func(r *Result) {
			r.Sizes = append(r.Sizes, Size{Ways: 12, Agent: Usage{CPU: 0.75}})
		}, "12 ways: processor time is 1.25 % of one core, 0.25 above the limit of 1.00"},
		{"memory at 1000 ways", false, func(r *Result) {
			r.Sizes = append(r.Sizes, Size{Ways: 1000, Agent: Usage{CPU: 18, Anon: 81e6}})
		}, "1000 ways: anonymous memory is 81.0 MB"},
		{"an agent that polls too little", false, func(r *Result) { r.Sizes[1].Agent.Requests = 6000 }, "not do the same work"},
		{"an allocation in ten readings", false, func(r *Result) { r.Allocations.Own = 0.1 }, "allocates 0.10 objects"},
		{"no alarm, not strict", false, func(r *Result) { r.Alarm = Alarm{Steps: 10} }, ""},
		{"no alarm, strict", true, func(r *Result) { r.Alarm = Alarm{Steps: 10} }, "no alarm seen in 10 steps"},
		{"a slow backlog", true, func(r *Result) { r.Backlog.Rate = 4999 }, "drains at 4999 records a second"},
		{"a slow backlog, not strict", false, func(r *Result) { r.Backlog.Rate = 1 }, ""},
		{"a slow alarm in it", true, func(r *Result) { r.Backlog.Latency.P99 = 251 }, "takes 251 ms"},
		{"a lost alarm in it", true, func(r *Result) { r.Backlog.Seen = 39 }, "1 of 40 alarms in the middle"},
		{"a lost alarm, strict", true, func(r *Result) { r.Alarm.Seen = 199 }, "1 of 200 alarms not seen"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := light()
			tt.change(&r)
			r.Judge(tt.strict)
			if tt.want == "" && len(r.Broken) > 0 || tt.want != "" && (len(r.Broken) != 1 || !strings.Contains(r.Broken[0], tt.want)) {
				t.Errorf("broken %q, want %q", r.Broken, tt.want)
			}
			for page, text := range map[string]string{"text": r.Text(), "page": r.Markdown()} {
				if !strings.Contains(text, tt.want) || (tt.want == "") != strings.Contains(strings.ToLower(text), "every limit held") {
					t.Errorf("%s does not say %q:\n%s", page, tt.want, text)
				}
			}
		})
	}
}

func TestTextSaysWhatWasNotMeasured(t *testing.T) {
	r := light()
	r.Alarm = Alarm{Steps: 10}
	r.Judge(false)
	for _, text := range []string{r.Text(), r.Markdown()} {
		if !strings.Contains(text, "no alarm seen") || !strings.Contains(text, "not measured") {
			t.Errorf("missing figures are not named:\n%s", text)
		}
	}
}

func TestCheck(t *testing.T) {
	good := Config{For: Shortest, Steps: 1, Backlog: 1000}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	if err := (&Config{For: Shortest - 1, Steps: 1}).Check(); !errors.Is(err, ErrTooShort) {
		t.Errorf("error %v, want %v", err, ErrTooShort)
	}
	for name, c := range map[string]Config{
		"no steps": {For: Shortest, Backlog: 1000}, "more steps than alarms may come": {For: Shortest, Steps: alarmWays*raisesEach + 1, Backlog: 1000},
		"no backlog": {For: Shortest, Steps: 1},
	} {
		if err := c.Check(); err == nil {
			t.Errorf("%s, and no error", name)
		}
	}
}

// The agent must take the site file that the bench writes.
func TestSiteFile(t *testing.T) {
	var buses []string
	for i := range 1000 / perBus {
		buses = append(buses, fmt.Sprintf("tcp://bus%d:1", i))
	}
	for _, p := range []plan{
		{ways: 5, period: halfHour, groups: true, onDelay: 10 * time.Second},
		{ways: 100, period: benchPeriod, groups: true},
		{ways: 1000, period: halfHour},
		{ways: alarmWays, period: halfHour, tapped: true},
	} {
		file := filepath.Join(t.TempDir(), "site.yaml")
		text := p.site("COST-1", "/tmp/store", buses, "127.0.0.1:1883")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, _, faults := configs.Load(file)
		if len(faults) > 0 {
			t.Errorf("%d ways: %v", p.ways, faults)
			continue
		}
		if len(cfg.Ways) != p.ways || len(cfg.Groups) != p.ways*map[bool]int{true: 1}[p.groups] || cfg.Alarms[0].OnDelay != p.onDelay {
			t.Errorf("%d ways: the file has %d, %d groups, on_delay %v", p.ways, len(cfg.Ways), len(cfg.Groups), cfg.Alarms[0].OnDelay)
		}
	}
}
