package core

import (
	"encoding/json"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/failsafe"
)

// fairnessKey is where the accounts at the beginning of the day are kept.
const fairnessKey = "fairness"

const oneDay = 24 * time.Hour

// fairness is the report on what was withheld from whom (R15). The engine
// accounts; here are the days.
type fairness struct {
	Day    time.Time                   `json:"day"` // 0:00 UTC
	Before map[string]failsafe.Account `json:"before"`
}

// resumeFairness goes on with the day that was kept.
func (l *Loop) resumeFairness(wall time.Time) {
	if body := l.Outbox.Get(fairnessKey); body != nil {
		err := json.Unmarshal(body, &l.fairness)
		if err == nil {
			return
		}
		l.Log.Error("accounts of the day not read", "err", err)
	}
	l.fairness = fairness{Day: wall.UTC().Truncate(oneDay), Before: map[string]failsafe.Account{}}
	for i := range l.State.Groups {
		l.fairness.Before[l.State.Groups[i].ID] = l.State.Groups[i].Total
	}
	l.Outbox.Store(false, nil, l.keptFairness())
}

// tickFairness reports on a day that is over. A clock that can't be trusted ends
// no day: its days would be anybody's.
func (l *Loop) tickFairness(wall time.Time) {
	today := wall.UTC().Truncate(oneDay)
	if !l.clockWas.Trusted() || !today.After(l.fairness.Day) {
		return
	}
	report := l.fairShares(l.fairness.Day.Add(oneDay))
	l.fairness = fairness{Day: today, Before: map[string]failsafe.Account{}}
	for i := range l.State.Groups {
		l.fairness.Before[l.State.Groups[i].ID] = l.State.Groups[i].Total
	}
	var records []outbox.Record
	if len(report.Groups) > 0 {
		records = []outbox.Record{{Stream: message.FairnessStream, At: report.End, Body: message.AppendFairness(nil, l.agent, report)}}
	}
	l.Outbox.Store(false, records, l.keptFairness())
}

func (l *Loop) keptFairness() outbox.Kept {
	body, err := json.Marshal(&l.fairness)
	if err != nil {
		l.Log.Error("accounts of the day not kept", "err", err)
	}
	return outbox.Kept{Key: fairnessKey, Value: body}
}

// fairShares is the report of the day that runs, or is just over.
func (l *Loop) fairShares(end time.Time) *message.Fairness {
	f := &message.Fairness{Start: l.fairness.Day, End: end}
	low, high, some := int64(0), int64(0), false
	for _, s := range l.Engine.Shares(l.State, l.fairness.Before) {
		out := message.FairShare{
			Group: s.Group, Way: s.Way, Priority: s.Priority, Rank: s.Rank, PPM: s.PPM(), Accounted: s.Time, Limited: s.Limited,
			Entitled: s.WattHours(s.Entitled), Withheld: s.WattHours(s.Withheld), Caution: s.WattHours(s.Caution),
		}
		for _, r := range failsafe.Reasons() {
			if by := s.By[r]; by.Limited > 0 {
				out.Reasons = append(out.Reasons, message.FairReason{Name: r.String(), Limited: by.Limited, Withheld: s.WattHours(by.Withheld)})
			}
		}
		f.Groups = append(f.Groups, out)
		if s.Priority {
			continue
		}
		if !some {
			low, high, some = out.PPM, out.PPM, true
		}
		low, high = min(low, out.PPM), max(high, out.PPM)
	}
	f.Spread = high - low
	return f
}

// fairnessReport is the running day as JSON.
func (l *Loop) fairnessReport() []byte {
	return message.AppendFairness(nil, l.agent, l.fairShares(l.Wall()))
}
