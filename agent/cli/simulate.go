package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lvagent/agent"
	"lvagent/agent/simulate"
	"lvagent/agent/socket"
	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/failsafe/journal"
	"lvagent/meter"
)

// Where recorded loads come from.
const (
	fromJournal   = "journal"
	fromHalfHours = "half-hours"
)

// simulation is what the command was asked for, and what it found.
type simulation struct {
	store    string
	last     time.Duration
	from     string
	silent   bool
	cfg      *configs.Config
	progress io.Writer

	sim      *simulate.Simulation
	loads    string // where they came from
	grain    time.Duration
	gaps     []recordGap
	unknown  []string // ways without any record
	reported int
}

// recordGap is a time for which nothing is recorded.
type recordGap struct {
	Way  string    `json:"way"` // empty: of no way
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

func simulateCommand() *cobra.Command {
	var s simulation
	var file, last, centre string
	var asJSON bool
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Show what a configuration would have shed on the recorded load",
		Long: `Runs the failsafe engine with a site file over the load that was recorded, and
shows what it would have shed, from which group, and what it would have come to on
each phase. Nothing is changed, on the device neither.

The load comes from the journal, read by read, where that reaches back far enough,
else from the half-hour records. Half-hour means know no peaks: what is shed is
understated then, and overloads of minutes are not seen at all.

It is an estimate. What was recorded is taken for what wanted to be drawn, and as
much of it as the groups on a phase may draw is taken to be charging; what was
curtailed at the time is not in it.`,
		Example: `  lvagent simulate --last 7d
  lvagent simulate --last 7d --config new.yaml --store /var/lib/lvagent
  lvagent simulate --last 1d --centre lost`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if s.last, err = days(last); err != nil {
				return fmt.Errorf("simulate: --last: %w", err)
			}
			if !slices.Contains([]string{"", fromJournal, fromHalfHours}, s.from) {
				return fmt.Errorf("simulate: --from %q is none of journal, half-hours", s.from)
			}
			if centre != "heard" && centre != "lost" {
				return fmt.Errorf("simulate: --centre %q is none of heard, lost", centre)
			}
			s.silent = centre == "lost"
			site, faults := agent.Prepare(file)
			if len(faults) > 0 {
				printFaults(c.ErrOrStderr(), faults)
				return errFault
			}
			s.cfg = site.Config
			if len(s.cfg.Groups) == 0 {
				return fmt.Errorf("simulate: %s has no charging groups: there is nothing to shed", file)
			}
			if s.store == "" {
				s.store = s.cfg.Buffer.Path
			}
			if isTerminal(c.ErrOrStderr()) {
				s.progress = c.ErrOrStderr()
			}
			if err := s.run(c, time.Now().UTC()); err != nil {
				return fmt.Errorf("simulate: %w", err)
			}
			if asJSON {
				return s.print(c.OutOrStdout())
			}
			return s.show(c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&file, "config", "/etc/lvagent/site.yaml", "the site file to try")
	c.Flags().StringVar(&s.store, "store", "", "folder of the agent whose records are used (default: buffer.path of the site file)")
	c.Flags().StringVar(&last, "last", "7d", "how far back, as 7d or 12h")
	c.Flags().StringVar(&s.from, "from", "", "journal or half-hours (default: the finer one that reaches back far enough)")
	c.Flags().StringVar(&centre, "centre", "heard", "heard: nothing but overload limits; lost: the failsafe limit holds throughout")
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

// days reads a time with days, which Go's own has not.
func days(text string) (time.Duration, error) {
	number, isDays := strings.CutSuffix(text, "d")
	if n, err := strconv.ParseUint(number, 10, 16); isDays && err == nil && n > 0 && n <= 400 {
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Minute || d > 400*24*time.Hour {
		return 0, fmt.Errorf("%q is no time from 1m to 400d, like 7d or 12h", text)
	}
	return d, nil
}

// readEvery is the finest step of a simulation over the journal, and means of one
// over half-hours, in which nothing moves meanwhile.
const (
	readEvery = time.Second
	meanEvery = 10 * time.Second
	// mostHold is how long a reading of the journal stands for the load.
	mostHold = 10 * time.Second
)

func (s *simulation) run(c *cobra.Command, now time.Time) error {
	begin := now.Add(-s.last)
	cfg := s.cfg.Engine([32]byte{})
	if s.from != fromHalfHours {
		s.sim, s.loads, s.grain = simulate.New(cfg, s.silent), fromJournal, readEvery
		first, err := s.journal(c, begin, now)
		if err != nil {
			return err
		}
		if s.from == fromJournal && first.IsZero() {
			return fmt.Errorf("the journal in %s has nothing since %s", agent.JournalFolder(s.store), begin.Format(shortTime))
		}
		if s.from == "" && !first.IsZero() {
			// The finer one, unless the other reaches back much further.
			if slots, err := s.means(c, begin, now); err == nil && len(slots) > 0 && first.Sub(slots[0].start) > s.last/10 {
				fmt.Fprintf(c.ErrOrStderr(), "the journal begins at %s only, the half-hours at %s: those are used; --from journal takes what there is of it\n",
					first.Format(shortTime), slots[0].start.Format(shortTime))
				first = time.Time{}
			}
		}
		if !first.IsZero() {
			return nil
		}
	}
	s.sim, s.loads, s.grain, s.gaps, s.unknown = simulate.New(cfg, s.silent), fromHalfHours, meanEvery, nil, nil
	return s.halfHours(c, begin, now)
}

// journal simulates over the loads that the engine was told, and returns when the
// first of them was.
func (s *simulation) journal(c *cobra.Command, begin, end time.Time) (first time.Time, err error) {
	if raw, err := socket.Call(c.Context(), filepath.Join(s.store, socket.Name), "journal", struct{}{}); err == nil && len(raw) > 0 {
		s.say("the running agent has written its journal", 0)
	}
	var last time.Time
	seen := map[string]bool{}
	_, err = agent.ReadJournal(agent.JournalFolder(s.store), begin, end, func(b journal.Block) error {
		if b.Kind != journal.StepsBlock {
			return nil
		}
		body, err := b.Body()
		if err != nil {
			return err
		}
		return journal.ReadLoads(body, func(step *journal.Step) bool {
			if step.Wall.Before(begin) || !step.Wall.Before(end) || len(step.In.Loads) == 0 || step.Wall.Sub(last) < readEvery && !last.IsZero() {
				return true
			}
			p := simulate.Point{Wall: step.Wall, Loads: step.In.Loads}
			for i := range p.Loads {
				l := &p.Loads[i]
				if step.Now-l.At > mostHold || l.At == 0 {
					l.Quality = [meter.Phases]meter.Quality{}
				} else {
					seen[l.Way] = true
				}
			}
			if first.IsZero() {
				first = step.Wall
			}
			if gone := step.Wall.Sub(last); !last.IsZero() && (gone > time.Minute || gone < 0) {
				s.sim.Until(last.Add(readEvery), s.grain)
				s.gap("", last, step.Wall)
				s.sim.Skip(step.Wall)
			}
			s.sim.Point(p, s.grain)
			last = step.Wall
			s.tell(begin, end, last)
			return c.Context().Err() == nil
		})
	})
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = c.Context().Err()
	}
	s.missing(seen)
	return first, err
}

// slot is a half-hour with what is recorded of it, by way.
type slot struct {
	start time.Time
	ends  time.Time
	loads map[string]failsafe.Load
}

// means reads the half-hour records, in order of time.
func (s *simulation) means(c *cobra.Command, begin, end time.Time) (slots []slot, err error) {
	at := map[time.Time]int{}
	for _, way := range s.ways() {
		err := s.records(c, "hh/"+way, func(raw json.RawMessage) error {
			type phase struct{ I, P struct{ Mean float64 } }
			var r struct {
				Start, End time.Time
				L1, L2, L3 *phase
			}
			if err := json.Unmarshal(raw, &r); err != nil {
				return fmt.Errorf("record of %s: %w", way, err)
			}
			if r.Start.Before(begin) || !r.Start.Before(end) {
				return nil
			}
			l := failsafe.Load{Way: way}
			for p, ph := range []*phase{r.L1, r.L2, r.L3} {
				if ph == nil {
					continue
				}
				l.Quality[p] = meter.Good
				if l.I[p] = meter.Milliamps(ph.I.Mean * 1000); ph.P.Mean < 0 {
					l.I[p] = -l.I[p]
				}
			}
			i, known := at[r.Start]
			if !known {
				i = len(slots)
				at[r.Start] = i
				slots = append(slots, slot{r.Start, r.End, map[string]failsafe.Load{}})
			}
			slots[i].loads[way] = l // of several revisions the last
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(slots, func(a, b slot) int { return a.start.Compare(b.start) })
	return slots, nil
}

// ways are those of the configuration, and the transformer.
func (s *simulation) ways() (all []string) {
	for _, w := range s.cfg.Ways {
		if !w.IsIncomer() {
			all = append(all, w.ID)
		}
	}
	return append(all, failsafe.TX)
}

// halfHours simulates over the half-hour records.
func (s *simulation) halfHours(c *cobra.Command, begin, end time.Time) error {
	slots, err := s.means(c, begin, end)
	if err != nil {
		return err
	}
	if len(slots) == 0 {
		return fmt.Errorf("no half-hour records since %s in %s", begin.Format(shortTime), s.store)
	}
	seen := map[string]bool{}
	for _, x := range slots {
		for way := range x.loads {
			seen[way] = true
		}
	}
	s.missing(seen)
	last := slots[0].start
	for _, x := range slots {
		if x.start.After(last) {
			s.gap("", last, x.start)
			s.sim.Skip(x.start)
		}
		p := simulate.Point{Wall: x.start}
		for _, way := range s.ways() {
			l, ok := x.loads[way]
			switch {
			case !ok && !seen[way]:
				continue
			case !ok:
				l = failsafe.Load{Way: way}
			}
			if l.Quality == ([meter.Phases]meter.Quality{}) && way != failsafe.TX {
				s.gap(way, x.start, x.ends)
			}
			p.Loads = append(p.Loads, l)
		}
		s.sim.Point(p, s.grain)
		last = x.ends
		s.sim.Until(last, s.grain)
		s.tell(slots[0].start, slots[len(slots)-1].ends, last)
		if err := c.Context().Err(); err != nil {
			return err
		}
	}
	return nil
}

// records gives each record of a stream to yield, of the running agent or, where
// none runs, of the store.
func (s *simulation) records(c *cobra.Command, stream string, yield func(json.RawMessage) error) error {
	each := func(page *agent.AuditPage) error {
		for _, r := range page.Records {
			if err := yield(r); err != nil {
				return err
			}
		}
		return nil
	}
	for from := uint64(1); from > 0; {
		raw, err := socket.Call(c.Context(), filepath.Join(s.store, socket.Name), "records/"+strconv.FormatUint(from, 10)+"/"+stream, nil)
		if err != nil && from == 1 {
			return agent.StoredRecords(s.store, stream, func(page agent.AuditPage) error { return each(&page) })
		}
		if err != nil {
			return err
		}
		var page agent.AuditPage
		if err := json.Unmarshal(raw, &page); err != nil {
			return fmt.Errorf("records of %s: %w", stream, err)
		}
		if err := each(&page); err != nil {
			return err
		}
		from = page.Next
	}
	return nil
}

// missing notes the ways of the configuration of which nothing is recorded.
func (s *simulation) missing(seen map[string]bool) {
	for _, w := range s.cfg.Ways {
		if !w.IsIncomer() && !seen[w.ID] {
			s.unknown = append(s.unknown, w.ID)
		}
	}
}

// gap notes a time without records; one that goes on is one.
func (s *simulation) gap(way string, from, to time.Time) {
	for i := len(s.gaps) - 1; i >= 0; i-- {
		if g := &s.gaps[i]; g.Way == way {
			if g.To.Equal(from) {
				g.To = to
				return
			}
			break
		}
	}
	s.gaps = append(s.gaps, recordGap{way, from, to})
}

// tell says on a terminal how far it is.
func (s *simulation) tell(begin, end, at time.Time) {
	if whole := end.Sub(begin); whole > 0 {
		if percent := int(at.Sub(begin) * 100 / whole); percent > s.reported {
			s.reported = percent
			s.say("simulated", percent)
		}
	}
}

func (s *simulation) say(what string, percent int) {
	if s.progress != nil && percent > 0 {
		fmt.Fprintf(s.progress, "\r%s: %d %%\x1b[K", what, percent)
		if percent >= 100 {
			fmt.Fprint(s.progress, "\r\x1b[K")
		}
	}
}

// resolution says what the load was made of.
func (s *simulation) resolution() string {
	if s.loads == fromJournal {
		return "readings as they were taken, at most one a second (journal)"
	}
	return fmt.Sprintf("means of %s: peaks within them are not known, what is shed is understated", s.cfg.Window.Period)
}

func (s *simulation) print(w io.Writer) error {
	out := struct {
		Source     string      `json:"source"`
		Resolution string      `json:"resolution"`
		Centre     string      `json:"centre"`
		Gaps       []recordGap `json:"gaps"`
		Unrecorded []string    `json:"ways_not_recorded"`
		simulate.Report
	}{s.loads, s.resolution(), "heard", append([]recordGap{}, s.gaps...), append([]string{}, s.unknown...), s.sim.Report()}
	if s.silent {
		out.Centre = "lost"
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

const mostShown = 12

func (s *simulation) show(w io.Writer) error {
	r := s.sim.Report()
	fmt.Fprintf(w, "%s to %s UTC, %s simulated from %s\n", r.From.Format(shortTime), r.To.Format(shortTime), r.Simulated.Round(time.Second), s.resolution())
	for _, way := range s.unknown {
		fmt.Fprintf(w, "way %s: nothing recorded; its groups are held as on a way that is not measured\n", way)
	}
	total := map[string]time.Duration{}
	for i, g := range s.gaps {
		what, effect := "no records", "left out"
		if g.Way != "" {
			what, effect = "no value of way "+g.Way, "taken as not measured"
		}
		total[effect] += g.To.Sub(g.From)
		if i < mostShown {
			fmt.Fprintf(w, "gap: %s from %s to %s, %s\n", what, g.From.Format(shortTime), g.To.Format(shortTime), effect)
		}
	}
	if n := len(s.gaps); n > mostShown {
		fmt.Fprintf(w, "gap: %d more; in all %s left out, %s taken as not measured\n", n-mostShown,
			total["left out"].Round(time.Minute), total["taken as not measured"].Round(time.Minute))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PHASE\tRATING\tPEAK RECORDED\tWOULD BE\tABOVE RATING\tWOULD BE")
	for _, p := range r.Phases {
		if p.Missing >= r.Minutes {
			fmt.Fprintf(t, "%s %s\t%.0f A\tnot recorded\n", p.Way, p.Phase, p.Rating)
			continue
		}
		fmt.Fprintf(t, "%s %s\t%.0f A\t%.1f A\t%.1f A\t%.1f min\t%.1f min\n", p.Way, p.Phase, p.Rating, p.Peak, p.Held, p.Above, p.HeldAbove)
	}
	fmt.Fprintln(t)
	fmt.Fprintln(t, "RANK\tGROUP\tWAY\tWOULD BE SHED\tFOR\tBELOW ITS RATING\tWITHHELD OF ITS RATING")
	for _, g := range r.Groups {
		rank := "-"
		if g.Share > 0 {
			rank = strconv.Itoa(g.Rank)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.1f kWh\t%.0f min\t%.0f min\t%.1f %%\n", rank, g.Group, g.Way, g.ShedKWh, g.Shedding, g.Limited, g.Share)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d changes of a limit. An estimate: all of a phase's load that the groups may draw is taken to be charging.\n", r.Setpoints)
	return nil
}
