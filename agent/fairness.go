package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"lvagent/agent/message"
	"lvagent/agent/outbox"
)

// Fairness answers lvagent fairness: the day that runs, or one that is stored.
func (a *Agent) Fairness(ctx context.Context, day string) ([]byte, error) {
	if day == "today" {
		return a.loop.Report(ctx, "fairness")
	}
	var found []byte
	var days []string
	for from := uint64(1); from > 0; {
		p, err := a.box.Records(message.FairnessStream, from)
		if err != nil {
			return nil, err
		}
		for _, r := range p.Records {
			var m struct{ Date string }
			if err := json.Unmarshal(r, &m); err != nil {
				continue // damaged; the store says so
			}
			days = append(days, m.Date)
			if m.Date == day {
				found = r
			}
		}
		from = p.Next
	}
	if found != nil {
		return found, nil
	}
	if today, err := a.loop.Report(ctx, "fairness"); err == nil {
		var m struct{ Date string }
		if json.Unmarshal(today, &m) == nil && m.Date == day {
			return today, nil
		}
	}
	if len(days) == 0 {
		return nil, fmt.Errorf("fairness: there is no report yet; the first is made at the end of this UTC day")
	}
	const most = 7
	return nil, fmt.Errorf("fairness: there is no report of %s; the newest are of %s", day, strings.Join(days[max(0, len(days)-most):], ", "))
}

// Records answers commands that look at stored records: a page of a stream.
func (a *Agent) Records(_ context.Context, stream string, from uint64) ([]byte, error) {
	p, err := a.box.Records(stream, from)
	if err != nil {
		return nil, err
	}
	return json.Marshal(p)
}

// StoredRecords calls each for every page of a stream in the folder of an agent
// that does not run.
func StoredRecords(folder, stream string, each func(AuditPage) error) error {
	return outbox.RecordsOf(folder, stream, each)
}
