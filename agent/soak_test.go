package agent

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"lvagent/agent/audit"
	"lvagent/agent/statefile"
	"lvagent/failsafe"
	"lvagent/meter"
)

// TestVirtualWeek plays days of faults that a seed draws, and holds what the
// agent does and says to its promises all the way. It plays one day, a few hours
// with -short, and what the environment says: LVAGENT_SOAK_DAYS=7 LVAGENT_SOAK_SEED=3.
func TestVirtualWeek(t *testing.T) {
	lasts, seed := 24*time.Hour, uint64(1)
	if testing.Short() {
		lasts = 4 * time.Hour
	}
	if text := os.Getenv("LVAGENT_SOAK_DAYS"); text != "" {
		days, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("LVAGENT_SOAK_DAYS: %v", err)
		}
		lasts = time.Duration(days) * 24 * time.Hour
	}
	if text := os.Getenv("LVAGENT_SOAK_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("LVAGENT_SOAK_SEED: %v", err)
		}
	}
	cryptotest.SetGlobalRandom(t, seed)
	t.Setenv("GOGC", "200")
	folder, before := t.TempDir(), cpu(t)
	synctest.Test(t, func(t *testing.T) { soak(t, folder, seed, lasts) })
	t.Logf("%v of five ways with faults from seed %d took %v of CPU", lasts, seed, (cpu(t) - before).Round(10*time.Millisecond))
}

// due is something that a soak does at a time.
type due struct {
	at   time.Time
	what func()
}

// soaked is a soak under way.
type soaked struct {
	*virtual
	judge *judge
	plan  []due // in order
	dice  *rand.Rand
	count map[string]int
}

func soak(t *testing.T, folder string, seed uint64, lasts time.Duration) {
	v := newVirtual(t, folder, seed)
	s := &soaked{virtual: v, judge: newJudge(v), dice: rand.New(rand.NewPCG(seed, 11)), count: map[string]int{}}
	v.street.raised = s.judge.raised
	v.start()
	end := dawn.Add(lasts)
	for at := dawn.Add(20 * time.Minute); at.Before(end.Add(-time.Hour)); at = at.Add(s.between(2*time.Minute, 40*time.Minute)) {
		s.add(at, s.fault)
	}
	for at := dawn.Add(15*time.Minute + 50*time.Millisecond); at.Before(end); at = at.Add(15 * time.Minute) {
		s.add(at, s.acknowledge)
	}
	for len(s.plan) > 0 {
		next := s.plan[0]
		s.plan = s.plan[1:]
		if d := time.Until(next.at); d > 0 {
			v.pass(d, s.judge.look)
		}
		next.what()
	}
	// Everything is well again; what runs is let run to its end.
	v.pass(time.Until(end), s.judge.look)
	v.pass(90*time.Minute, s.judge.look)
	s.judge.settled()
	v.end()
	for _, name := range slices.Sorted(maps.Keys(s.count)) {
		t.Logf("%-24s %d", name, s.count[name])
	}
	if t.Failed() {
		log := filepath.Join(os.TempDir(), fmt.Sprintf("lvagent-soak-%d.log", seed))
		if err := os.WriteFile(log, v.log.Bytes(), 0o600); err == nil {
			t.Logf("the agent's log is in %s", log)
		}
	}
}

// between draws a time, in milliseconds so that little falls on one instant.
func (s *soaked) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.dice.Int64N(int64((most-least)/time.Millisecond)))*time.Millisecond
}

// add plans something.
func (s *soaked) add(at time.Time, what func()) {
	i, _ := slices.BinarySearchFunc(s.plan, at, func(d due, at time.Time) int {
		return cmp.Or(d.at.Compare(at), -1) // behind those of the same instant
	})
	s.plan = slices.Insert(s.plan, i, due{at, what})
}

// later plans the end of a fault.
func (s *soaked) later(least, most time.Duration, what func()) {
	s.add(time.Now().Add(s.between(least, most)), what)
}

// faults are what may go wrong, and what a centre may ask for meanwhile. Each is
// over by its own, whatever else happens.
func (s *soaked) fault() {
	const sec, min = time.Second, time.Minute
	way := streetWays[s.dice.IntN(len(streetWays))].id
	all := []struct {
		name string
		what func()
	}{
		{"broker cut", func() { s.broker.Cut(); s.later(10*sec, 40*min, s.heal) }},
		{"broker frozen", func() { s.broker.Freeze(); s.later(10*sec, 10*min, s.heal) }},
		{"broker swallows", func() { s.broker.Swallow(); s.later(10*sec, 5*min, s.heal) }},
		{"meter mute", func() { s.setMute(way, true); s.later(5*sec, 20*min, func() { s.setMute(way, false) }) }},
		{"meter talks nonsense", func() { s.setNoise(way, true); s.later(5*sec, 10*min, func() { s.setNoise(way, false) }) }},
		{"bus broken", func() { s.setBroken(true); s.later(5*sec, 10*min, func() { s.setBroken(false) }) }},
		{"crash", func() {
			if s.run != nil {
				s.crash()
				s.later(sec, 2*min, s.revive)
			}
		}},
		{"planned stop", func() {
			if s.run != nil {
				s.stop()
				s.later(sec, 2*min, s.revive)
			}
		}},
		{"loss of supply", func() {
			if s.run != nil {
				s.loseSupply()
				s.later(sec, 45*min, func() {
					s.change(func(x *street) { x.dark = false })
					s.revive()
				})
			}
		}},
		{"clock stepped", func() {
			by := s.between(500*time.Millisecond, 20*min)
			if s.dice.IntN(2) == 0 {
				by = -by
			}
			s.stepClock(by)
			s.later(min, 90*min, func() { s.stepClock(-by) })
		}},
		{"centre silent", func() { s.quiet = true; s.later(min, 30*min, func() { s.quiet = false }) }},
		{"overload", func() {
			g := &streetGroups[s.dice.IntN(len(streetGroups))]
			p := meter.Phase(slices.Index(g.phases[:], true))
			s.setExtra(g.way, p, 150_000+s.dice.Int64N(200_000))
			s.later(min, 40*min, func() { s.setExtra(g.way, p, 0) })
		}},
		{"limit", s.askLimit},
		{"limit", s.askLimit},
		{"limit", s.askLimit},
	}
	f := all[s.dice.IntN(len(all))]
	s.count[f.name]++
	f.what()
}

func (s *soaked) heal() { s.broker.Restore(); s.judge.thawed() }

func (s *soaked) setBroken(on bool) { s.change(func(x *street) { x.broken = on }) }

func (s *soaked) revive() {
	if s.run == nil {
		s.start()
	}
}

// askLimit has the centre ask for something, now and then for something twice,
// and take it back.
func (s *soaked) askLimit() {
	body := map[string]any{"start_in": fmt.Sprintf("%ds", s.dice.IntN(600)), "duration": fmt.Sprintf("%dm", 1+s.dice.IntN(40)), "randomise": "0s"}
	if s.dice.IntN(2) == 0 {
		body["target"] = map[string]any{"way": streetWays[s.dice.IntN(len(streetWays))].id}
	} else {
		body["target"] = map[string]any{"groups": []string{streetGroups[s.dice.IntN(len(streetGroups))].id}}
	}
	body["limit"] = map[string]any{"amps": s.dice.IntN(60)}
	if s.dice.IntN(2) == 0 {
		body["limit"] = map[string]any{"percent": s.dice.IntN(101)}
	}
	id := s.limit(body)
	switch s.dice.IntN(4) {
	case 0:
		s.send("limit", body) // the same once more
	case 1:
		s.later(time.Second, 10*time.Minute, func() {
			s.order("cancel", map[string]any{"cancels": id})
		})
	}
}

// acknowledge has an engineer see to actuators that had failed: until then nobody
// counts on them.
func (s *soaked) acknowledge() {
	for _, id := range slices.Sorted(maps.Keys(s.standing())) {
		if strings.HasSuffix(id, ".ACTUATOR_FAILED") {
			s.order("ack", map[string]any{"alarm": id, "by": "engineer"})
		}
	}
}

// judge holds the agent to its promises.
type judge struct {
	*virtual
	above    [5][meter.Phases]time.Duration
	excused  [5]time.Time // the agent could not act on a way until then
	heard    time.Time    // when the agent may last have heard a heartbeat
	upSince  time.Time    // the agent runs and reaches its outputs since
	looked   time.Time
	worst    time.Duration // an overload that could be shed
	over     time.Duration // all of them together
	failed   map[string]int
	withheld time.Duration // failsafe held, all groups together
}

func newJudge(v *virtual) *judge { return &judge{virtual: v, failed: map[string]int{}} }

// fault says that a promise was broken, a few times each.
func (j *judge) fault(promise, format string, args ...any) {
	if j.failed[promise]++; j.failed[promise] <= 5 {
		j.t.Errorf("%s %s: %s", time.Now().UTC().Format("2006-01-02T15:04:05.000"), promise, fmt.Sprintf(format, args...))
	}
}

// How long things may take.
const (
	overloadMost = 75 * time.Second // a minute, the age of a reading, and what an output takes
	noticeWithin = 90 * time.Second // a minute until a meter that is silent counts as that, and a ramp
	failsafeMost = 120*time.Second + 300*time.Second + 30*time.Second
)

// thawed says that a frozen broker goes on: what waited in it arrives now.
func (j *judge) thawed() { j.heard = time.Now() }

// look is called once a second.
func (j *judge) look() {
	now := time.Now().UTC()
	passed := min(time.Second, now.Sub(j.looked))
	j.looked = now
	j.street.mu.Lock()
	defer j.street.mu.Unlock()
	s := j.street
	reach := j.run != nil && !s.broken && !s.dark
	if !reach {
		j.upSince = now.Add(time.Second)
	}
	if !j.quiet && j.broker.Listening(virtualPrefix+"cmd/heartbeat") {
		j.heard = now // at most that late
	}
	for i := range streetWays {
		id := streetWays[i].id
		if !reach || s.mute[id] || s.noise[id] {
			j.excused[i] = now.Add(noticeWithin)
		}
		_, all := s.currents(i, now)
		for p := range all {
			if left := j.sheddable(i, p); all[p] <= streetRating || !left || now.Before(j.excused[i]) {
				j.above[i][p] = 0
				continue
			}
			j.above[i][p] += passed
			j.worst, j.over = max(j.worst, j.above[i][p]), j.over+passed
			if j.above[i][p] > overloadMost {
				j.fault("no overload that could be shed", "%s L%d carries %d mA of %d for %v; groups may draw %v", id, p+1, all[p], streetRating, j.above[i][p], j.limits())
			}
		}
	}
	if now.Sub(j.heard) > failsafeMost && now.Sub(j.upSince) > failsafeMost {
		for g := range streetGroups {
			group := &streetGroups[g]
			if limit := s.limit(group); limit > group.failsafe*1000 {
				j.fault("failsafe without the centre", "%s may draw %d mA, %v after the last heartbeat", group.id, limit, now.Sub(j.heard))
			}
			j.withheld += passed
		}
	}
}

// limits is what each group may draw, in mA.
func (j *judge) limits() map[string]int64 {
	all := map[string]int64{}
	for g := range streetGroups {
		all[streetGroups[g].id] = j.street.limit(&streetGroups[g])
	}
	return all
}

// sheddable reports whether something on a phase draws that could be told not to.
// A group whose actuator has failed is told 6 A, and not counted on.
func (j *judge) sheddable(way, phase int) bool {
	for g := range streetGroups {
		group := &streetGroups[g]
		if group.way == way && group.phases[phase] && j.street.limit(group) > 6000 {
			return true
		}
	}
	return false
}

// raised holds a raise against what is on disk at that moment: nothing may be
// permitted that a power cut now would forget.
func (j *judge) raised(group string, from, to meter.Milliamps) {
	for _, g := range streetGroups {
		if g.id == group && int64(to) <= g.failsafe*1000 {
			return // that is permitted to an agent that remembers nothing
		}
	}
	_, bodies, _, err := statefile.Open(filepath.Join(j.folder, "failsafe"))
	if err != nil || len(bodies) == 0 {
		j.fault("no raise without a stored state", "%s from %d to %d mA: nothing is stored: %v", group, from, to, err)
		return
	}
	state, err := failsafe.Decode(bodies[0], "EPN-1")
	if err != nil {
		j.fault("no raise without a stored state", "%v", err)
		return
	}
	for _, g := range state.Groups {
		if g.ID == group && g.Limit < to {
			j.fault("no raise without a stored state", "%s from %d to %d mA, while %d is stored", group, from, to, g.Limit)
		}
	}
}

// settled judges what was heard, when everything is well again.
func (j *judge) settled() {
	for _, r := range j.repeated {
		j.fault("a record never changes", "%s", r)
	}
	j.judgeNumbers()
	for _, w := range append([]string{"TX"}, "W1", "W2", "W3", "W4", "W5") {
		j.judgeHalfHours(w)
	}
	j.judgeCommands()
	j.judgeAlarms()
	j.judgeAudit()
	if states := j.states(); strings.Contains(states, "FAILSAFE") || strings.Contains(states, "PROBATION") {
		j.fault("the centre's return ends failsafe", "%s", states)
	}
	j.t.Logf("longest overload that could be shed %v of %v; failsafe held %v", j.worst, j.over, j.withheld.Round(time.Second))
	n := 0
	for s := range j.records {
		n += len(j.records[s])
	}
	j.t.Logf("%d records in %d streams, %d starts", n, len(j.records), j.runs)
}

// judgeNumbers finds numbers of a stream that are missing and that no gap tells of.
func (j *judge) judgeNumbers() {
	told := map[string][][2]uint64{}
	for _, text := range j.stream("gap") {
		var g struct {
			Stream   string
			From, To uint64
		}
		j.read(text, &g)
		told[g.Stream] = append(told[g.Stream], [2]uint64{g.From, g.To})
	}
	for _, s := range slices.Sorted(maps.Keys(j.records)) {
		keys := slices.SortedFunc(maps.Keys(j.records[s]), inOrder)
		next := recordKey{1, 1}
		for _, k := range keys {
			if k.g != next.g {
				j.fault("one store", "%s has generation %d", s, k.g)
			}
			for n := next.n; n < k.n; n++ {
				if !slices.ContainsFunc(told[s], func(g [2]uint64) bool { return g[0] <= n && n <= g[1] }) {
					j.fault("no record is missing", "%s %d of generation %d", s, n, k.g)
				}
			}
			next = recordKey{k.g, k.n + 1}
		}
	}
}

// judgeHalfHours demands each half-hour once, and every one between the first and
// the last.
func (j *judge) judgeHalfHours(way string) {
	type key struct {
		start time.Time
		rev   int
	}
	seen, starts := map[key]bool{}, map[time.Time]bool{}
	for _, h := range j.halfHours(way) {
		k := key{h.Start, h.Rev}
		if seen[k] {
			j.fault("each half-hour once", "%s %v rev %d came twice", way, h.Start, h.Rev)
		}
		seen[k], starts[h.Start] = true, true
		if h.Rev > 0 && !seen[key{h.Start, h.Rev - 1}] {
			j.fault("each half-hour once", "%s %v rev %d came without the one before", way, h.Start, h.Rev)
		}
		if h.End.Sub(h.Start) != 30*time.Minute || !h.Start.Equal(h.Start.Truncate(30*time.Minute)) {
			j.fault("each half-hour once", "%s %v to %v", way, h.Start, h.End)
		}
	}
	all := slices.SortedFunc(maps.Keys(starts), time.Time.Compare)
	for i := range all {
		if i > 0 && all[i].Sub(all[i-1]) != 30*time.Minute {
			j.fault("no half-hour is missing", "%s has none between %v and %v", way, all[i-1], all[i])
		}
	}
	if want := int(time.Since(dawn) / (30 * time.Minute)); len(all) < want-1 {
		j.fault("no half-hour is missing", "%s has %d, want %d", way, len(all), want)
	}
}

// judgeCommands demands one end of every command that was taken.
func (j *judge) judgeCommands() {
	taken, ends := map[string]bool{}, map[string][]string{}
	for _, text := range j.stream("ack") {
		var a struct{ ID, Stage, Code string }
		j.read(text, &a)
		switch {
		case a.Code == "DUPLICATE":
		case a.Stage == "received":
			if taken[a.ID] {
				j.fault("a command is taken once", "%s", a.ID)
			}
			taken[a.ID] = true
		case a.Stage == "rejected", a.Stage == "completed", a.Stage == "cancelled", a.Stage == "superseded":
			ends[a.ID] = append(ends[a.ID], a.Stage)
		}
	}
	for id := range taken {
		if len(ends[id]) != 1 {
			j.fault("a command has one end", "%s has %v", id, ends[id])
		}
	}
	j.t.Logf("%d commands taken", len(taken))
}

// judgeAlarms demands raise and clear in turns, and that what was not cleared is
// what is said to stand.
func (j *judge) judgeAlarms() {
	stands, n := map[string]bool{}, 0
	for s := range j.records {
		if !strings.HasPrefix(s, "alarm/") {
			continue
		}
		for _, text := range j.stream(s) {
			var a struct{ ID, Edge string }
			j.read(text, &a)
			n++
			if raise := a.Edge == "raise"; raise == stands[a.ID] {
				j.fault("alarms in pairs", "%s: %s, and it stands: %t", a.ID, a.Edge, stands[a.ID])
			} else {
				stands[a.ID] = raise
			}
		}
	}
	said := j.standing()
	maps.DeleteFunc(stands, func(_ string, is bool) bool { return !is })
	if !maps.Equal(stands, said) {
		j.fault("alarms in pairs", "raised and not cleared %v, said to stand %v", stands, said)
	}
	j.t.Logf("%d edges of alarms", n)
}

// standing are the alarms that are said to stand.
func (v *virtual) standing() map[string]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	said := map[string]bool{}
	for topic, values := range v.retained {
		if !strings.HasPrefix(topic, "alarmstate/") {
			continue
		}
		var m struct{ Alarms []struct{ ID string } }
		v.read(values[len(values)-1].payload, &m)
		for _, a := range m.Alarms {
			said[a.ID] = true
		}
	}
	return said
}

// judgeAudit verifies the chain of decisions.
func (j *judge) judgeAudit() {
	v := &audit.Verifier{}
	for i, text := range j.stream("audit") {
		v.Add(text, fmt.Sprint("record ", i))
	}
	rep := v.Report()
	for _, f := range rep.Faults {
		j.fault("the audit is whole", "%+v", f)
	}
	j.t.Logf("%d audit records in %d chains", rep.Records, len(rep.Chains))
}
