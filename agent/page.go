package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"lvagent/agent/core"
	"lvagent/agent/page"
	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/meter"
)

// pageWay is what the status page needs to know of a way besides its state.
type pageWay struct {
	ID     string                `json:"id"`
	Name   string                `json:"name"`
	Rating [meter.Phases]float64 `json:"rating"` // 0: no such phase
}

// door answers the status page.
type door struct{ *Agent }

// Snapshot is what lvagent status says, with names and ratings.
func (d door) Snapshot(ctx context.Context) ([]byte, error) {
	status, err := d.Status(ctx)
	if err != nil {
		return nil, err
	}
	cfg := d.site.Config
	about := struct {
		Name   string          `json:"name"`
		Period float64         `json:"period_s"`
		Ways   []pageWay       `json:"ways"`
		Local  bool            `json:"local"`
		Status json.RawMessage `json:"status"`
	}{cfg.Site.Name, cfg.Window.Period.Seconds(), d.pageWays(), d.Local(ctx), status}
	return json.Marshal(about)
}

// Local reports whether the substation's switch is at Local.
func (d door) Local(ctx context.Context) (local bool) {
	err := d.loop.Ask(ctx, func(l *core.Loop) { local = l.State.Switch == failsafe.Local })
	return local && err == nil
}

func (a *Agent) pageWays() (ways []pageWay) {
	cfg := a.site.Config
	for _, w := range cfg.Ways {
		v := pageWay{ID: w.ID, Name: w.Name}
		for p, there := range configs.PhaseSet(w.Phases) {
			if there {
				v.Rating[p] = w.Rating[p]
			}
		}
		ways = append(ways, v)
	}
	if firm := float64(cfg.Site.FirmCurrent()) / 1000; firm > 0 {
		ways = append(ways, pageWay{ID: failsafe.TX, Name: "Transformer", Rating: [meter.Phases]float64{firm, firm, firm}})
	}
	return ways
}

// historyPeriods is how much of the past the page draws: a day of half-hours.
const historyPeriods = 48

// pagePeriod is a half-hour on the page: when it began, the rms current
// of each phase, null where it is not known, and how much of it was measured.
type pagePeriod struct {
	Start time.Time              `json:"t"`
	Amps  [meter.Phases]*float64 `json:"a"`
	Cover float64                `json:"cov"`
}

// History is the last day of each way.
func (d door) History(context.Context) ([]byte, error) {
	to := d.wall()
	past := map[string][]pagePeriod{}
	for _, w := range d.pageWays() {
		periods := []pagePeriod{}
		err := d.box.HalfHours(w.ID, to.Add(-historyPeriods*d.site.Config.Window.Period), to, func(body []byte) bool {
			var r struct {
				Start      time.Time
				Coverage   float64
				L1, L2, L3 *struct {
					I *struct{ RMS *float64 }
				}
			}
			if json.Unmarshal(body, &r) != nil {
				return true
			}
			p := pagePeriod{Start: r.Start, Cover: r.Coverage}
			for i, ph := range []*struct {
				I *struct{ RMS *float64 }
			}{r.L1, r.L2, r.L3} {
				if ph != nil && ph.I != nil {
					p.Amps[i] = ph.I.RMS
				}
			}
			if n := len(periods); n > 0 && periods[n-1].Start.Equal(p.Start) {
				periods[n-1] = p // a later revision
			} else {
				periods = append(periods, p)
			}
			return true
		})
		if err != nil {
			return nil, fmt.Errorf("history of %s: %w", w.ID, err)
		}
		past[w.ID] = periods
	}
	return json.Marshal(past)
}

// buildPage makes the status page, where the site wants one.
func (a *Agent) buildPage() (*page.Server, error) {
	cfg := a.site.Config.Page
	if cfg.Listen == "" {
		return nil, nil
	}
	c := page.Config{Listen: cfg.Listen, Cert: cfg.Cert, Key: cfg.Key, Names: cfg.Names, Now: a.now, Log: a.log}
	for _, p := range cfg.Accounts {
		c.Accounts = append(c.Accounts, page.Account{Name: p.Name, Role: page.Role(p.Role), Secret: p.Secret})
	}
	return page.New(c, door{a})
}
