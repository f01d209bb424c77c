package hwtest

import (
	"fmt"
	"math"
	"strings"
	"time"

	"lvagent/hwtest/bench"
)

// Summary is what a run counted. Nothing in it was told by the agent: records
// are counted at the broker, packets on the link, limits at the registers, load
// in the simulated street.
type Summary struct {
	Passed  bool     `json:"passed"`
	Broken  []string `json:"broken"` // one sentence per broken promise
	Agent   string   `json:"agent"`
	Seed    uint64   `json:"seed"`
	Seconds float64  `json:"seconds"`
	Ways    int      `json:"ways"`

	HalfHours     int `json:"half_hours"`     // distinct half-hour records
	Records       int `json:"records"`        // distinct records of every stream
	Published     int `json:"published"`      // QoS 1 packets sent, repeats included
	Acked         int `json:"acked"`          // of them acknowledged on the link
	Lost          int `json:"lost"`           // numbers missing in a stream, not explained
	Duplicates    int `json:"duplicates"`     // records that came again, same content
	Conflicts     int `json:"conflicts"`      // same number, other content
	Disorder      int `json:"disorder"`       // records after one with a higher number
	GapsExplained int `json:"gaps_explained"` // numbers missing, explained by up/gap
	Holes         int `json:"holes"`          // periods without a record
	Garbled       int `json:"garbled"`        // messages that could not be read

	FirstRecord *float64 `json:"first_record_s"` // after the agent's start

	FailsafeEntered      int      `json:"failsafe_entered"`   // ways
	FailsafeEnteredS     *float64 `json:"failsafe_entered_s"` // the slowest, after the last heartbeat
	FailsafeLeft         int      `json:"failsafe_left"`      // ways
	FailsafeLeftS        *float64 `json:"failsafe_left_s"`    // the slowest, after the statement
	LeftWithoutStatement int      `json:"left_without_statement"`

	AboveRating         float64 `json:"seconds_above_rating"`
	AboveRatingFailsafe float64 `json:"seconds_above_rating_in_failsafe"`
	AboveRatingFree     float64 `json:"seconds_above_rating_without_limits"`

	AlarmsRaised     int `json:"alarms_raised"` // of every kind
	AlarmsCleared    int `json:"alarms_cleared"`
	AlarmsExpected   int `json:"threshold_alarms_expected"` // times that the street passed a threshold
	ThresholdRaised  int `json:"threshold_alarms_raised"`
	ThresholdCleared int `json:"threshold_alarms_cleared"`
	LiveReadings     int `json:"live_readings"`
	LiveBefore       int `json:"live_readings_before_raise"` // of them

	LimitFollowed *float64 `json:"limit_followed_s"` // after the command was sent
	Stopped       *float64 `json:"stopped_s"`        // SIGTERM to exit
}

// story is what the script did and when, on the time scale of the meters. Zero
// means it did not come to it.
type story struct {
	started   time.Duration // the agent's process
	online    time.Duration // first word from the agent
	first     time.Duration // first half-hour record
	limited   time.Duration // the limit was sent
	limitAck  bool
	lastBeat  time.Duration   // last heartbeat before the silence
	returned  time.Duration   // first heartbeat after it
	back      time.Duration   // first word from the agent after it
	statement []time.Duration // by way, after the silence
	stated    []bool          // by way: acknowledged
	end       time.Duration   // the script is over, the agent still runs
	endWall   time.Time
	stop      time.Duration // how long it took to stop
	stopErr   error
	exit      error // it ended by itself

	overInFailsafe time.Duration
}

// followWithin is how soon a command must be in force at a local output.
const followWithin = 10 * time.Second

// atLast is after everything that a trace holds.
const atLast = time.Duration(math.MaxInt64)

// judge counts what was seen and says which promises were broken.
func judge(p Pace, st *story, trace bench.Trace, ledger *bench.Ledger, alarms *alarmBook) Summary {
	s := Summary{
		Ways: len(trace.World.Ways), HalfHours: ledger.HalfHours, Records: ledger.Records,
		Duplicates: ledger.Duplicates, Conflicts: ledger.Conflicts, Disorder: ledger.Disorder,
		Holes: ledger.Holes(), Garbled: ledger.Garbled,
		AlarmsRaised: ledger.Raised, AlarmsCleared: ledger.Cleared,
		AboveRatingFailsafe: round(st.overInFailsafe),
		Broken:              []string{},
	}
	s.Lost, s.GapsExplained = ledger.Lost()
	if st.exit != nil {
		s.broken("the agent did not run to the end: %v", st.exit)
	}
	s.judgeRecords(p, st, trace, ledger)
	if st.limited > 0 {
		s.judgeLimit(st, trace)
	}
	if st.lastBeat > 0 {
		s.judgeSilence(p, st, trace)
	}
	alarms.judge(&s)
	s.judgeStop(st, trace)
	s.Passed = len(s.Broken) == 0
	return s
}

// judgeRecords: nothing is lost, repeated with other content, or out of order.
func (s *Summary) judgeRecords(p Pace, st *story, trace bench.Trace, ledger *bench.Ledger) {
	if s.Lost > 0 {
		s.broken("%d records are lost: their numbers are missing and no up/gap explains it", s.Lost)
	}
	if s.Holes > 0 {
		s.broken("%d periods have no half-hour record", s.Holes)
	}
	if s.Conflicts > 0 {
		s.broken("%d records came again under the same number with another content", s.Conflicts)
	}
	if s.Disorder > 0 {
		s.broken("%d records came after one with a higher number of the same stream", s.Disorder)
	}
	if s.Garbled > 0 {
		s.broken("%d messages on record topics could not be read", s.Garbled)
	}
	if st.first > 0 {
		after := st.first - st.started
		s.FirstRecord = seconds(after)
		if most := 2 * p.Window; after > most {
			s.broken("the first record came after %v, not within %v", brief(after), most)
		}
	}
	var without, short []string
	for _, way := range trace.World.Ways {
		switch last := ledger.LastEnd(way.ID); {
		case last.IsZero():
			without = append(without, way.ID)
		case st.end > 0 && st.endWall.Sub(last) > 2*p.Window:
			short = append(short, way.ID)
		}
	}
	if len(without) > 0 {
		s.broken("no half-hour record came for %s", strings.Join(without, ", "))
	}
	if len(short) > 0 {
		s.broken("the records of %s stop more than two periods before the end", strings.Join(short, ", "))
	}
}

// judgeLimit: the load-management signal was acknowledged and followed.
func (s *Summary) judgeLimit(st *story, trace bench.Trace) {
	if !st.limitAck {
		s.broken("the limit on %s was never acknowledged", trace.World.Ways[limitedWay].ID)
	}
	at, ok := trace.Fell(limitedWay, st.limited, bench.To(limitAmps))
	switch {
	case !ok:
		s.broken("the limit of %d A on %s was never followed", limitAmps, trace.World.Ways[limitedWay].ID)
	default:
		s.LimitFollowed = seconds(at - st.limited)
		if at-st.limited > followWithin {
			s.broken("the limit on %s was followed after %v, not within %v",
				trace.World.Ways[limitedWay].ID, brief(at-st.limited), followWithin)
		}
	}
}

// judgeSilence: without the centre every way falls to its failsafe limit in
// time, stays there until the centre has spoken, and is released then.
func (s *Summary) judgeSilence(p Pace, st *story, trace bench.Trace) {
	deadline := st.lastBeat + p.HeartbeatTimeout + p.Act
	var free int
	var slowest, slowestBack time.Duration
	for i, way := range trace.World.Ways {
		if !trace.Held(i, st.lastBeat, bench.ToFailsafe) {
			free++
		}
		until := atLast // of the silence
		switch {
		case st.statement[i] > 0:
			until = st.statement[i]
		case st.end > 0:
			until = st.end
		}
		entered, ok := trace.Fell(i, st.lastBeat, bench.ToFailsafe)
		switch {
		case !ok || entered >= until:
			s.broken("%s never fell to its failsafe limit in the silence", way.ID)
			continue
		case entered > deadline:
			s.broken("%s fell to its failsafe limit %v after the last heartbeat, not within %v",
				way.ID, brief(entered-st.lastBeat), deadline-st.lastBeat)
		default:
			s.FailsafeEntered++
		}
		slowest = max(slowest, entered-st.lastBeat)
		if at, rose := trace.Rose(i, entered, until, bench.ToFailsafe); rose {
			s.LeftWithoutStatement++
			s.broken("%s was released %v after the last heartbeat, before any statement of the centre",
				way.ID, brief(at-st.lastBeat))
			continue
		}
		if st.statement[i] == 0 || st.end == 0 {
			continue
		}
		left, rose := trace.Rose(i, until, st.end, bench.ToFailsafe)
		switch {
		case !st.stated[i]:
			s.broken("%s: the centre's statement after the silence was never acknowledged", way.ID)
		case !rose:
			s.broken("%s was not released after the centre's statement", way.ID)
		case left-until > p.Recover:
			s.broken("%s was released %v after the statement, not within %v", way.ID, brief(left-until), p.Recover)
		}
		if rose {
			s.FailsafeLeft++
			slowestBack = max(slowestBack, left-until)
		}
	}
	if free == 0 {
		s.broken("no way was free before the silence, so its failsafe proves nothing")
	}
	if s.FailsafeEntered > 0 {
		s.FailsafeEnteredS = seconds(slowest)
	}
	if s.FailsafeLeft > 0 {
		s.FailsafeLeftS = seconds(slowestBack)
	}
	if st.returned > 0 && st.back == 0 && st.exit == nil {
		s.broken("the agent did not come back after the link was restored")
	}
	if st.overInFailsafe > 0 {
		s.broken("a phase was above its rating for %v in failsafe, although charging could be shed", brief(st.overInFailsafe))
	}
}

// judgeStop: an orderly stop leaves the outputs at the safe limit.
func (s *Summary) judgeStop(st *story, trace bench.Trace) {
	if st.exit != nil || st.stop == 0 {
		return
	}
	s.Stopped = seconds(st.stop)
	if st.stopErr != nil {
		s.broken("the agent did not stop in order: %v", st.stopErr)
		return
	}
	for i, way := range trace.World.Ways {
		if !trace.Held(i, atLast, bench.ToFailsafe) {
			s.broken("after the stop %s still permits more than its failsafe limit", way.ID)
		}
	}
}

func (s *Summary) broken(format string, args ...any) {
	s.Broken = append(s.Broken, fmt.Sprintf(format, args...))
}

func round(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

func seconds(d time.Duration) *float64 {
	v := round(d)
	return &v
}

// brief is a duration to a tenth of a second, as a person reads it.
func brief(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
