package failsafe_test

import (
	"testing"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"
)

// What is accounted is what the audit records come to: an independent sum over
// the changes of limits, exact to the milliampere and millisecond. A day with
// protection and an hour without the centre, groups not measured, so that nobody
// is known to be idle.
func TestAccountsAreTheSumOfTheAuditRecords(t *testing.T) {
	type sum struct {
		limit    meter.Milliamps
		since    time.Duration
		withheld int64
		limited  int64
	}
	sums := map[string]*sum{}
	rating := map[string]meter.Milliamps{}
	var last failsafe.Watched
	add := func(id string, now time.Duration) {
		s := sums[id]
		ms := (now - s.since).Milliseconds()
		if s.limit < rating[id] {
			s.withheld += int64(rating[id]-s.limit) * ms
			s.limited += ms
		}
		s.since = now
	}
	failsafe.Day(t, 3, false, true, 4*time.Hour, 5*time.Hour, func(w failsafe.Watched) {
		if len(sums) == 0 {
			for _, g := range w.Config.Groups {
				sums[g.ID], rating[g.ID] = &sum{limit: g.Rating}, g.Rating
			}
		}
		for _, d := range w.Engine.Decisions(w.Before, w.After, w.In, w.Set, w.Events) {
			if d.Kind == failsafe.DecidedSetpoint {
				if sums[d.Group].limit != *d.FromLimit {
					t.Fatalf("%s goes from %d, was at %d", d.Group, *d.FromLimit, sums[d.Group].limit)
				}
				add(d.Group, w.Now)
				sums[d.Group].limit = *d.ToLimit
			}
		}
		last = w
	})
	var withheld, by, caution int64
	for i, s := range last.Engine.Shares(last.After, nil) {
		id := last.Config.Groups[i].ID
		add(id, last.Now)
		if s.Withheld != sums[id].withheld || s.Limited != sums[id].limited || s.Time != last.Now.Milliseconds() || s.Entitled != int64(rating[id])*s.Time {
			t.Errorf("%s: accounted %d mA ms in %d ms of %d, the records come to %d in %d", id, s.Withheld, s.Limited, s.Time, sums[id].withheld, sums[id].limited)
		}
		withheld += s.Withheld
		for _, r := range failsafe.Reasons() {
			by += s.By[r].Withheld
		}
		caution += s.Caution
		if s.By[failsafe.ByFailsafe].Withheld < s.Caution || s.By[failsafe.ByFailsafe].Limited < time.Hour.Milliseconds()/2 || s.By[failsafe.ByOther].Limited > 0 {
			t.Errorf("%s: reasons %+v, caution %d", id, s.By, s.Caution)
		}
	}
	if withheld == 0 || by != withheld {
		t.Errorf("%d withheld, %d by reasons", withheld, by)
	}
}

func TestShares(t *testing.T) {
	s := failsafe.Share{Phases: 3}
	if got := s.WattHours(10_000 * 3_600_000); got != 6900 {
		t.Errorf("10 A for an hour on three phases are %d Wh, want 6900", got)
	}
	old := failsafe.Account{Time: 500, Withheld: 70, Entitled: 900}
	if got := (failsafe.Account{Time: 600, Withheld: 80, Entitled: 1000}).Since(old); got.Time != 100 || got.Withheld != 10 || got.Entitled != 100 {
		t.Errorf("since: %+v", got)
	}
	if got := (failsafe.Account{Time: 10, Withheld: 1}).Since(old); got.Time != 10 || got.Withheld != 1 {
		t.Errorf("since an account that was lost: %+v", got)
	}
	cfg := failsafe.Config{Site: "S1", Ways: []failsafe.Way{{ID: "W1"}}, Timers: failsafe.DefaultTimers()}
	for _, id := range []string{"G1", "G2", "G3"} {
		cfg.Groups = append(cfg.Groups, failsafe.Group{ID: id, Way: "W1", Phases: [3]bool{true}, Rating: 32_000})
	}
	e := failsafe.NewEngine(cfg)
	st := e.New(0, time.Time{}, false)
	for g, withheld := range []int64{1e6, 5e6, 1e6} {
		st.Groups[g].Total = failsafe.Account{Entitled: 1e9, Withheld: withheld}
	}
	all := e.Shares(st, nil)
	if all[0].Rank != 2 || all[1].Rank != 1 || all[2].Rank != 2 || all[1].PPM() != 5000 {
		t.Errorf("shares %+v", all)
	}
}
