package play

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"lvagent/hwtest/bench"
	"lvagent/hwtest/scenario"
	"lvagent/meter/metertest"
)

// Result is what became of a scenario.
type Result struct {
	Scenario *scenario.Scenario
	Verdicts []scenario.Verdict
	Timeline *scenario.Timeline
	Failure  string // what went wrong besides the verdicts, as an agent that died
	Broken   error  // of the rig: nothing was proven
	Took     time.Duration
	Folder   string // the evidence
	Site     []SiteWay
}

// SiteWay is a way with its groups, for a plot.
type SiteWay struct {
	ID     string
	Rating float64
	Groups []string
}

// Passed reports whether every expectation held.
func (r *Result) Passed() bool {
	if r.Broken != nil || r.Failure != "" || len(r.Verdicts) == 0 {
		return false
	}
	for i := range r.Verdicts {
		if r.Verdicts[i].Status != scenario.Held {
			return false
		}
	}
	return true
}

// player runs one scenario. Its fields below mu are of every goroutine; the
// others belong to the one of run.
type player struct {
	rig    *Rig
	s      *scenario.Scenario
	folder string
	site   *site
	file   string // the agent's site file
	say    func(string)

	broker    *bench.Mosquitto // nil with an internal one
	internal  *bench.Broker
	link      *bench.Link
	meters    map[string]*metertest.Server // by meter id
	actuators *metertest.Server
	log       *os.File
	dnp3      *master
	ended     <-chan struct{} // the agent that was started last has ended, and it is written down

	sending sync.Mutex // owns centre's numbers
	centre  *bench.Centre
	beats   bool
	sent    map[string][]byte

	mu        sync.Mutex
	began     time.Time
	timeline  scenario.Timeline
	street    *street
	permitted map[string]float64
	frozen    map[string]bool // ways
	swapped   map[string]bool
	ledger    *bench.Ledger
	counts    string
	online    bool
	agent     *bench.Agent
	expected  bool // that the process ends

	quit chan struct{}
	all  sync.WaitGroup
}

const (
	stepEvery  = 100 * time.Millisecond
	lookEvery  = 50 * time.Millisecond
	beatEvery  = 400 * time.Millisecond
	stopWithin = 20 * time.Second
	// No scenario takes longer: what waits forever is a fault of the bench.
	longestRun = 10 * time.Minute
)

// Play runs one scenario and keeps the evidence in folder.
func Play(ctx context.Context, rig *Rig, s *scenario.Scenario, id, folder string, say func(string)) *Result {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, longestRun)
	defer cancel()
	p := &player{rig: rig, s: s, folder: folder, say: say, meters: map[string]*metertest.Server{}, sent: map[string][]byte{},
		permitted: map[string]float64{}, frozen: map[string]bool{}, swapped: map[string]bool{}, ledger: bench.NewLedger(),
		quit: make(chan struct{}), began: begin}
	r := &Result{Scenario: s, Folder: folder}
	failure, err := p.run(ctx, id)
	p.close()
	r.Timeline = &p.timeline
	r.Timeline.Over = true
	r.Verdicts = scenario.Evaluate(s, r.Timeline)
	r.Failure, r.Took = failure, time.Since(begin)
	if err != nil {
		r.Broken = fmt.Errorf("%w: %w", errRig, err)
	}
	if p.site != nil {
		r.Site = p.site.plot()
	}
	if err := keep(r); err != nil && r.Broken == nil {
		r.Broken = fmt.Errorf("%w: %w", errRig, err)
	}
	return r
}

// plot returns the ways with their ratings and groups.
func (s *site) plot() (out []SiteWay) {
	for _, w := range entries(s.tree, "ways") {
		way := SiteWay{ID: text(w, "id"), Rating: number(w, "rating_a", 0)}
		for _, g := range s.groups {
			if g.way == way.ID {
				way.Groups = append(way.Groups, g.id)
			}
		}
		out = append(out, way)
	}
	return out
}

// run sets the rig up, plays the steps and stops the agent. A failure is the
// agent's, an error the rig's.
func (p *player) run(ctx context.Context, id string) (failure string, err error) {
	if err := p.setUp(id); err != nil {
		return "", err
	}
	if failure, err = p.given(ctx); failure != "" || err != nil {
		return failure, err
	}
	p.mu.Lock()
	start := time.Since(p.began)
	p.began = p.began.Add(start)
	for i := range p.timeline.Observations {
		p.timeline.Observations[i].At -= start
	}
	p.mu.Unlock()
	if failure, err = p.steps(ctx); failure != "" || err != nil {
		return failure, err
	}
	p.mu.Lock()
	p.timeline.Now = time.Since(p.began)
	p.timeline.Over = true
	agent, over := p.agent, p.expected
	p.mu.Unlock()
	if agent != nil && !over {
		p.expect(true)
		if _, err := agent.Stop(stopWithin); err != nil {
			return "at the end: " + err.Error(), nil
		}
	}
	return "", nil
}

func (p *player) setUp(id string) (err error) {
	tree, err := merged(p.s.Given.Site)
	if err != nil {
		return err
	}
	if p.site, err = readSite(tree); err != nil {
		return err
	}
	if p.log, err = os.Create(filepath.Join(p.folder, "agent.log")); err != nil {
		return err
	}
	if p.rig.Broker == "internal" {
		p.internal, err = bench.StartBroker()
	} else {
		p.broker, err = bench.StartMosquitto(p.folder)
	}
	if err != nil {
		return err
	}
	if p.link, err = bench.NewLink(p.brokerAddr()); err != nil {
		return err
	}
	if err := p.startMeters(); err != nil {
		return err
	}
	w := wires{agent: id, store: filepath.Join(p.folder, "store"), broker: p.link.Addr(), actuators: p.actuators.URL(), meters: map[string]string{}}
	for m, s := range p.meters {
		w.meters[m] = s.URL()
	}
	if needsDNP3(p.s) {
		if w.dnp3, err = bench.FreePort(); err != nil {
			return err
		}
	}
	p.site.connect(w)
	if err := p.writeSite(); err != nil {
		return err
	}
	if err := p.join(); err != nil {
		return err
	}
	if w.dnp3 != "" {
		p.dnp3 = newMaster(p, w.dnp3)
	}
	p.beats = p.s.Given.Heartbeats == nil || *p.s.Given.Heartbeats
	p.background(p.flow)
	p.background(p.beat)
	return p.startAgent()
}

func (p *player) brokerAddr() string {
	if p.internal != nil {
		return p.internal.Addr()
	}
	return p.broker.Addr()
}

func needsDNP3(s *scenario.Scenario) bool {
	need := s.Given.DNP3
	for i := range s.Steps {
		need = need || s.Steps[i].When.DNP3 != nil
		for j := range s.Steps[i].Then {
			need = need || s.Steps[i].Then[j].DNP3 != nil
		}
	}
	return need
}

func (p *player) startMeters() (err error) {
	for _, m := range entries(p.site.tree, "meters") {
		if p.meters[text(m, "id")], err = metertest.Listen(""); err != nil {
			return err
		}
	}
	if p.actuators, err = metertest.Listen(""); err != nil {
		return err
	}
	p.street = newStreet(p.site)
	for way, l := range p.s.Given.Load {
		p.street.set(way, l)
	}
	for g, a := range p.s.Given.Cars {
		p.street.wants[g] = float64(a)
	}
	for i := range p.site.groups {
		g := &p.site.groups[i]
		if g.holding < 0 && g.coil < 0 {
			continue
		}
		unit := p.actuators.Unit(uint8(g.unit))
		p.powerUp(g)
		unit.OnWrite(func(w metertest.Write) {
			if w.Coil == (g.coil >= 0) && int(w.Addr) == max(g.coil, g.holding) {
				amps, slack := g.permits(float64(w.Value))
				p.add(scenario.Observation{Kind: scenario.Writes, Key: g.id, Number: amps, Slack: slack})
				p.permit(g.id, amps, slack)
			}
		})
	}
	p.step()
	return nil
}

// powerUp is a controller that wakes up: it permits everything, the worst case
// for the agent.
func (p *player) powerUp(g *siteGroup) {
	value := uint16(bench.Released)
	switch {
	case g.coil >= 0:
		p.actuators.Unit(uint8(g.unit)).SetCoil(uint16(g.coil), g.curtail == 0)
		value = uint16(1 - g.curtail)
	case g.encode == "amps":
		value = uint16(g.rating)
		fallthrough
	default:
		// Registers beside it are there for leases.
		p.actuators.Unit(uint8(g.unit)).SetHolding(uint16(g.holding), value, 0, 0)
	}
	amps, slack := g.permits(float64(value))
	p.permit(g.id, amps, slack)
}

// permit notes what a register permits from now on.
func (p *player) permit(group string, amps, slack float64) {
	p.mu.Lock()
	was, known := p.permitted[group]
	p.permitted[group] = amps
	p.mu.Unlock()
	if !known || was != amps {
		p.add(scenario.Observation{Kind: scenario.Permits, Key: group, Number: amps, Slack: slack})
	}
}

// add writes an observation down.
func (p *player) add(o scenario.Observation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timeline.Over {
		return
	}
	o.At = time.Since(p.began)
	p.timeline.Observations = append(p.timeline.Observations, o)
}

// act says and writes down what the bench does.
func (p *player) act(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.add(scenario.Observation{Kind: scenario.Acts, Text: text})
	p.say(text)
}

func (p *player) background(f func()) {
	p.all.Add(1)
	go func() {
		defer p.all.Done()
		f()
	}()
}

// flow keeps the street going.
func (p *player) flow() {
	tick := time.NewTicker(stepEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.quit:
			return
		case <-tick.C:
			p.step()
		}
	}
}

// step shows on each meter what flows now.
func (p *player) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.street.tick++
	for _, w := range p.site.ways {
		if p.frozen[w.id] {
			continue
		}
		r := p.street.flows(w.id, p.permitted)
		unit := p.meters[w.meter].Unit(uint8(w.unit))
		unit.SetSDM630(r)
		if p.swapped[w.id] {
			unit.Update(func(im *metertest.Image) {
				for a := uint16(0); a < 0x1e; a += 2 {
					im.Input[a], im.Input[a+1] = im.Input[a+1], im.Input[a]
				}
			})
		}
		for i, phase := range []string{"L1", "L2", "L3"} {
			p.carries(w.id+"."+phase, r.I[i])
		}
	}
}

// carries notes what a phase carries, when it has changed by more than ripple.
// The caller holds mu.
func (p *player) carries(key string, amps float64) {
	if p.timeline.Over {
		return
	}
	for i := len(p.timeline.Observations) - 1; i >= 0; i-- {
		if o := &p.timeline.Observations[i]; o.Kind == scenario.Carries && o.Key == key {
			if d := amps - o.Number; d > -0.5 && d < 0.5 {
				return
			}
			break
		}
	}
	p.timeline.Observations = append(p.timeline.Observations, scenario.Observation{
		At: time.Since(p.began), Kind: scenario.Carries, Key: key, Number: amps, Slack: amps/200 + 0.2})
}

// beat sends the centre's heartbeats.
func (p *player) beat() {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.quit:
			return
		case now := <-tick.C:
			p.sending.Lock()
			if p.beats && p.centre != nil {
				_ = p.centre.Heartbeat(now) // a broken link is what a scenario may be about
			}
			p.sending.Unlock()
		}
	}
}

// join connects the centre, and writes down what it hears.
func (p *player) join() error {
	c, err := bench.JoinCentre(p.brokerAddr(), text(p.site.tree["site"].(map[string]any), "id"), "scada-1")
	if err != nil {
		return err
	}
	p.sending.Lock()
	old := p.centre
	p.centre = c
	p.sending.Unlock()
	if old != nil {
		old.Close()
	}
	p.background(func() {
		for {
			select {
			case <-p.quit:
				return
			case <-c.Lost():
				return
			case m := <-c.Heard():
				p.heard(m)
			}
		}
	})
	return nil
}

// heard writes a message down and counts its records.
func (p *player) heard(m bench.Message) {
	var body any
	if err := json.Unmarshal(m.Payload, &body); err != nil {
		body = string(m.Payload)
	}
	if m.Topic == "up/status" {
		if s, ok := body.(map[string]any); ok && text(s, "state") == "online" && !m.Retained {
			p.mu.Lock()
			p.online = true
			p.mu.Unlock()
		}
	}
	p.add(scenario.Observation{Kind: scenario.Messages, Key: m.Topic, Body: body})
	kind, _, _ := strings.Cut(strings.TrimPrefix(m.Topic, "up/"), "/")
	switch kind {
	case "hh", "hist", "alarm", "live", "ack", "gap", "audit", "digest", "pq", "fairness":
		p.count(m)
	}
}

func (p *player) count(m bench.Message) {
	p.mu.Lock()
	entries, err := p.ledger.Add(m.Payload)
	l := p.ledger
	lost, explained := l.Lost()
	var wrong []string
	note := func(n int, what string) {
		if n > 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s", n, what))
		}
	}
	note(lost, "numbers missing")
	note(explained, "numbers missing and explained by up/gap")
	note(l.Holes(), "periods without a record")
	note(l.Conflicts, "numbers again with another content")
	note(l.Disorder, "records out of order")
	note(l.Garbled, "messages unreadable")
	text := strings.Join(wrong, ", ")
	changed := text != p.counts || len(entries) > 0 && err == nil
	p.counts = text
	halfHours := l.HalfHours
	p.mu.Unlock()
	if changed {
		p.add(scenario.Observation{Kind: scenario.Counts, Number: float64(halfHours), Text: text})
	}
}

func (p *player) expect(end bool) {
	p.mu.Lock()
	p.expected = end
	p.mu.Unlock()
}

func (p *player) startAgent() error {
	agent, err := p.rig.start(p.log, "run", "--config", p.file)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.agent, p.expected, p.online = agent, false, false
	p.mu.Unlock()
	p.add(scenario.Observation{Kind: scenario.Process, Text: "running"})
	ended := make(chan struct{})
	p.ended = ended
	p.background(func() {
		<-agent.Done()
		p.add(scenario.Observation{Kind: scenario.Process, Text: "ended"})
		close(ended)
	})
	return nil
}

// died says why the agent ended without being asked to; empty while it runs.
func (p *player) died() string {
	p.mu.Lock()
	agent, expected := p.agent, p.expected
	p.mu.Unlock()
	select {
	case <-agent.Done():
		var exit *bench.AgentExit
		if !expected && errors.As(agent.Err(), &exit) {
			return exit.Error()
		}
	default:
	}
	return ""
}

// given waits until things stand as the scenario begins.
func (p *player) given(ctx context.Context) (failure string, err error) {
	end := time.Now().Add(p.rig.Ready)
	online := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.online
	}
	for !online() {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if why := p.died(); why != "" {
			return "", errors.New(why)
		}
		if time.Now().After(end) {
			return fmt.Sprintf("the agent did not come online within %v of its start", p.rig.Ready), nil
		}
		time.Sleep(lookEvery)
	}
	if !p.s.Given.Released {
		return "", nil
	}
	// A statement that comes before the first heartbeats counts for nothing: the
	// centre says it again, as one would that sees PROBATION.
	end = time.Now().Add(releaseWithin)
	said := time.Now().Add(3*beatEvery - statementEvery)
	for {
		if time.Since(said) > statementEvery {
			said = time.Now()
			for _, w := range p.site.ways {
				if err := p.none(w.id); err != nil {
					return "", err
				}
			}
		}
		held := p.held()
		if held == "" {
			return "", nil
		}
		if why := p.died(); why != "" {
			return why, nil
		}
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if time.Now().After(end) {
			return fmt.Sprintf("given released: %s not within %v of the centre's statement", held, releaseWithin), nil
		}
		time.Sleep(lookEvery)
	}
}

const (
	releaseWithin  = 30 * time.Second
	statementEvery = 2 * time.Second
)

// held names a group that is not permitted its rating, or a way that is not free.
func (p *player) held() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.site.groups {
		if g.holding < 0 && g.coil < 0 {
			continue
		}
		if p.permitted[g.id] < g.rating-g.rating/200 {
			return fmt.Sprintf("%s is permitted %.1f A of %.0f A,", g.id, p.permitted[g.id], g.rating)
		}
	}
	// A controller permits everything when it wakes up: the agent must have had
	// its say.
	for i := len(p.timeline.Observations) - 1; i >= 0; i-- {
		o := &p.timeline.Observations[i]
		if o.Kind != scenario.Messages || o.Key != "up/failsafe" {
			continue
		}
		for _, w := range p.site.ways {
			if !slices.Equal(scenario.Lookup(o.Body, "ways."+w.id+".state"), []any{"FREE"}) {
				return "way " + w.id + " is not FREE"
			}
		}
		return ""
	}
	return "no state of any way"
}

// none is the centre's statement that it wants no limit on a way.
func (p *player) none(way string) error {
	p.sending.Lock()
	defer p.sending.Unlock()
	_, err := p.centre.Limit(time.Now(), bench.Limit{Way: way})
	return err
}

// steps plays the steps, each in its time, until everything is decided.
func (p *player) steps(ctx context.Context) (failure string, err error) {
	next, settled := 0, time.Duration(0)
	var acting chan error
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case err := <-acting:
			acting = nil
			var f failed
			if errors.As(err, &f) {
				return string(f), nil
			}
			if err != nil {
				return "", err
			}
			settled = p.now()
		case <-time.After(lookEvery):
		}
		if why := p.died(); why != "" {
			return why, nil
		}
		verdicts, now := p.look()
		for i := range verdicts {
			if v := &verdicts[i]; v.Status == scenario.Broken {
				p.say(fmt.Sprintf("broken: %s; seen %s", v.Expected, v.Seen))
				return "", nil
			}
		}
		if acting != nil {
			continue
		}
		done := scenario.Settled(verdicts)
		if !done {
			settled = now
		}
		if next == len(p.s.Steps) {
			if done {
				return "", nil
			}
			continue
		}
		step := &p.s.Steps[next]
		if step.At != nil && now < step.At.For || step.At == nil && (!done || now < settled+step.After) {
			continue
		}
		p.mu.Lock()
		p.timeline.Started = append(p.timeline.Started, time.Since(p.began))
		p.mu.Unlock()
		next++
		acting = make(chan error, 1)
		go func(to chan<- error) { to <- p.perform(ctx, &step.When) }(acting)
	}
}

// failed is an error of an action that is the agent's and not the rig's.
type failed string

func (f failed) Error() string { return string(f) }

func (p *player) now() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.began)
}

// look judges what was seen so far.
func (p *player) look() ([]scenario.Verdict, time.Duration) {
	p.mu.Lock()
	t := p.timeline
	t.Now = time.Since(p.began)
	p.timeline.Now = t.Now
	p.mu.Unlock()
	return scenario.Evaluate(p.s, &t), t.Now
}

// close takes the rig down.
func (p *player) close() {
	p.mu.Lock()
	p.timeline.Now = max(p.timeline.Now, 0)
	if !p.timeline.Over {
		p.timeline.Now, p.timeline.Over = time.Since(p.began), true
	}
	agent := p.agent
	p.mu.Unlock()
	if agent != nil {
		_ = syscall.Kill(agent.PID(), syscall.SIGCONT)
		_, _ = agent.Stop(stopWithin) // an error here is one that was reported, or of a run that failed already
	}
	close(p.quit)
	if p.dnp3 != nil {
		p.dnp3.close()
	}
	if p.broker != nil {
		_ = p.broker.Signal(syscall.SIGCONT) // one that was killed needs none
	}
	p.all.Wait()
	if p.centre != nil {
		p.centre.Close()
	}
	if p.link != nil {
		p.link.Close()
	}
	if p.broker != nil {
		p.broker.Kill()
	}
	if p.internal != nil {
		_ = p.internal.Close() // the run is over
	}
	for _, m := range p.meters {
		if m != nil {
			m.Close()
		}
	}
	if p.actuators != nil {
		p.actuators.Close()
	}
	if p.log != nil {
		p.log.Close()
	}
}
