package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"lvagent/agent/ledger"
	"lvagent/failsafe"
)

// LedgerWay is what became of each period of a way.
type LedgerWay struct {
	Way     string            `json:"way"`
	Periods []ledger.Slot     `json:"periods"`
	Digests []json.RawMessage `json:"digests"`
}

// Ledger answers lvagent ledger. It reads the store and asks nobody else.
func (a *Agent) Ledger(_ context.Context, way string, day time.Time) ([]byte, error) {
	cfg := a.site.Config
	var ways []string
	for _, w := range cfg.Ways {
		ways = append(ways, w.ID)
	}
	if cfg.Site.FirmCurrent() > 0 {
		ways = append(ways, failsafe.TX)
	}
	if way != "-" {
		if !slices.Contains(ways, way) {
			return nil, fmt.Errorf("ledger: there is no way %q; there are %q", way, ways)
		}
		ways = []string{way}
	}
	report := struct {
		Agent string      `json:"agent"`
		Time  time.Time   `json:"t"`
		Day   string      `json:"day"`
		Ways  []LedgerWay `json:"ways"`
	}{cfg.Site.ID, a.wall(), day.Format(time.DateOnly), []LedgerWay{}}
	for _, id := range ways {
		slots, digests, err := a.box.Ledger(id, day, day.Add(24*time.Hour))
		if err != nil {
			return nil, err
		}
		report.Ways = append(report.Ways, LedgerWay{id, slots, digests})
	}
	return json.Marshal(report)
}

// Wear is what the agent writes to its disk: pages of the store and of the
// failsafe state, not what the file system adds.
type Wear struct {
	Octets    int64    `json:"octets"`  // since the start
	PerDay    *float64 `json:"per_day"` // null in the first minutes
	Years     *float64 `json:"years"`   // until the flash has taken what it is said to endure
	Endurance float64  `json:"tb"`      // that is, in TB
}

// wearAfter is how long it takes until what was written says something of a day.
const wearAfter = 10 * time.Minute

func (a *Agent) wear() Wear {
	w := Wear{Octets: a.box.Written() + a.saver.Written() + a.tapeWritten(), Endurance: a.site.Config.Buffer.Endurance}
	if up := a.now(); up >= wearAfter {
		day := float64(w.Octets) / up.Hours() * 24
		w.PerDay = &day
		if day > 0 {
			years := w.Endurance * 1e12 / day / 365.25
			w.Years = &years
		}
	}
	return w
}
