package core

import (
	"encoding/json"
	"time"

	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/meter"
	"lvagent/meter/wiring"
)

// judgeWiring is how often the connection of each way is judged anew, so that one
// that changed is noticed.
const judgeWiring = 5 * time.Minute

// buildWiring makes the check of each way's connection. Evidence is of this run.
func (l *Loop) buildWiring(now time.Duration) {
	for _, w := range l.Config.Ways {
		generation, _ := wiring.ParseGeneration(w.Generation)
		l.wiring = append(l.wiring, wiring.New(wiring.Config{
			Way: w.ID, Phases: configs.PhaseSet(w.Phases), Generation: generation,
			Neutral: w.Neutral != "none" && w.Neutral != "shared",
		}))
	}
	l.wiringAt = now
	if l.transformer == nil || l.Config.Incomer() == "" {
		return
	}
	of := wiring.BalanceConfig{Way: failsafe.TX, Incomer: l.Config.Incomer()}
	for _, w := range l.Config.Ways {
		if !w.IsIncomer() {
			of.Ways = append(of.Ways, wiring.Feeder{Way: w.ID, Phases: configs.PhaseSet(w.Phases)})
		}
	}
	l.balance = wiring.NewBalance(of)
}

// judged are the verdicts on all ways, and on their sum.
func (l *Loop) judged() []wiring.Report {
	all := make([]wiring.Report, 0, len(l.wiring)+1)
	for _, c := range l.wiring {
		all = append(all, c.Judge())
	}
	if l.balance != nil {
		all = append(all, l.balance.Judge())
	}
	return all
}

// tickWiring judges the connections now and then.
func (l *Loop) tickWiring(now time.Duration) {
	if now-l.wiringAt < judgeWiring {
		return
	}
	l.wiringAt = now
	for _, r := range l.judged() {
		l.SetHealth(wiringHealth(&r))
	}
}

// wiringHealth is the verdict on a way's connection as a point of health. Nothing
// is said against one that could not be judged yet.
func wiringHealth(r *wiring.Report) meter.HealthPoint {
	p := meter.HealthPoint{ID: "wiring/" + r.Way, State: meter.HealthOK}
	worst := wiring.Finding{}
	for _, f := range r.Findings {
		if f.Verdict > worst.Verdict {
			worst = f
		}
	}
	switch worst.Verdict {
	case wiring.Red:
		p.State, p.Code, p.Detail = meter.HealthFault, worst.Code, worst.Text
	case wiring.Amber:
		p.State, p.Code, p.Detail = meter.HealthDegraded, worst.Code, worst.Text
	}
	return p
}

// wiringReport is the verdict on each way's connection, as JSON.
func (l *Loop) wiringReport() []byte {
	type finding struct {
		Verdict string `json:"verdict"`
		Code    string `json:"code"`
		Text    string `json:"text"`
	}
	type way struct {
		Way      string    `json:"way"`
		Verdict  string    `json:"verdict"`
		Minutes  int       `json:"minutes"`
		Samples  int       `json:"samples_of_a_day"`
		Findings []finding `json:"findings"`
	}
	report := struct {
		Agent string    `json:"agent"`
		T     time.Time `json:"t"`
		Ways  []way     `json:"ways"`
	}{Agent: l.agent, T: l.Wall(), Ways: []way{}}
	for _, r := range l.judged() {
		w := way{Way: r.Way, Verdict: r.Verdict.String(), Minutes: r.Minutes, Samples: r.Day, Findings: []finding{}}
		for _, f := range r.Findings {
			w.Findings = append(w.Findings, finding{f.Verdict.String(), f.Code, f.Text})
		}
		report.Ways = append(report.Ways, w)
	}
	body, err := json.Marshal(report)
	if err != nil {
		l.Log.Error("wiring report not made", "err", err)
	}
	return body
}
