package core

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"lvagent/agent/outbox"
	"lvagent/failsafe"
	"lvagent/meter"
)

// settingsKey is where the last change of each meter's settings is kept.
const settingsKey = "settings"

// setPoint is the health point of what was set in a meter last.
const setPoint = "set/"

// What a person says of a change is kept, so its length is bounded.
const mostBy, mostWhy = 64, 200

// underWay is the outcome of a change that has none yet.
const underWay = "under_way"

// SettingChange is one setting of a meter that somebody on site wants changed, and
// what has come of it.
type SettingChange struct {
	Meter   string    `json:"meter"`
	Setting string    `json:"setting"`
	New     string    `json:"new"`
	By      string    `json:"by"`
	Why     string    `json:"why,omitempty"`
	At      time.Time `json:"at"`

	Outcome string `json:"outcome"`
	Old     string `json:"old,omitempty"`
	Now     string `json:"now,omitempty"` // as read last
	Detail  string `json:"detail,omitempty"`
}

// settingCodes are the codes of the health point; an outcome without one is well.
var settingCodes = map[string]string{
	underWay: "SETTING_UNDER_WAY", "not_taken": "SETTING_NOT_TAKEN", "unsure": "SETTING_UNSURE", "interrupted": "SETTING_UNSURE",
	"refused": "SETTING_REFUSED", "not_asked": "SETTING_REFUSED",
}

// resumeSettings takes up what was set last. Of a change that was under way when
// the agent ended nobody knows what became.
func (l *Loop) resumeSettings() {
	if body := l.Outbox.Get(settingsKey); body != nil {
		if err := json.Unmarshal(body, &l.changes); err != nil {
			l.Log.Error("changes of meters' settings not resumed", "err", err)
		}
	}
	for _, m := range l.Config.Meters {
		i := l.settingOf(m.ID)
		if i < 0 && len(m.Writes) > 0 {
			l.SetHealth(meter.HealthPoint{ID: setPoint + m.ID, State: meter.HealthOK})
		}
		if i < 0 {
			continue
		}
		if c := &l.changes[i]; c.Outcome == underWay {
			c.Outcome, c.Detail = "interrupted", "the agent ended meanwhile; read it with lvagent meter list"
			l.toldSetting(*c)
			continue
		}
		l.SetHealth(l.changes[i].point())
	}
}

func (l *Loop) settingOf(id string) int {
	return slices.IndexFunc(l.changes, func(c SettingChange) bool { return c.Meter == id })
}

// BeginSetting records that a setting is about to be changed. There is one change
// of a meter at a time.
func (l *Loop) BeginSetting(ctx context.Context, c SettingChange) (err error) {
	switch {
	case c.By == "" || len(c.By) > mostBy:
		return fmt.Errorf("set %s of meter %s: say who you are, in %d letters at most", c.Setting, c.Meter, mostBy)
	case len(c.Why) > mostWhy:
		return fmt.Errorf("set %s of meter %s: say why in %d letters at most", c.Setting, c.Meter, mostWhy)
	}
	asked := l.Ask(ctx, func(l *Loop) {
		i := l.settingOf(c.Meter)
		if i >= 0 && l.changes[i].Outcome == underWay {
			err = fmt.Errorf("set %s of meter %s: %s has begun to change it and has no answer yet", c.Setting, c.Meter, l.changes[i].By)
			return
		}
		if i < 0 {
			i = len(l.changes)
			l.changes = append(l.changes, SettingChange{})
		}
		c.At, c.Outcome = l.Wall(), underWay
		l.changes[i] = c
		l.toldSetting(c)
	})
	if asked != nil {
		return asked
	}
	return err
}

// EndSetting records what has come of the change that was begun.
func (l *Loop) EndSetting(ctx context.Context, c SettingChange) error {
	return l.Ask(ctx, func(l *Loop) {
		if i := l.settingOf(c.Meter); i >= 0 {
			c.At = l.changes[i].At
			l.changes[i] = c
		}
		l.toldSetting(c)
	})
}

// toldSetting says what has become of a change: to the log, in the audit chain, as
// a health point.
func (l *Loop) toldSetting(c SettingChange) {
	l.Log.Warn("setting of a meter", "meter", c.Meter, "setting", c.Setting, "from", c.Old, "to", c.New, "now", c.Now,
		"outcome", c.Outcome, "by", c.By, "why", c.Why, "detail", c.Detail)
	l.record([]failsafe.Decision{{Kind: failsafe.DecidedSetting, Meter: c.Meter, Command: c.Setting, Rule: c.Outcome,
		By: c.By, Why: c.Why, From: c.Old, To: c.New, Now: c.Now}}, l.Now(), l.Wall())
	body, err := json.Marshal(l.changes)
	if err != nil {
		l.Log.Error("changes of meters' settings not kept", "err", err)
		return
	}
	l.Outbox.Store(true, nil, outbox.Kept{Key: settingsKey, Value: body})
	l.SetHealth(c.point())
}

func (c *SettingChange) point() meter.HealthPoint {
	p := meter.HealthPoint{ID: setPoint + c.Meter, State: meter.HealthOK, Code: settingCodes[c.Outcome]}
	if p.Code != "" {
		p.State = meter.HealthDegraded
	}
	from := ""
	if c.Old != "" {
		from = " from " + c.Old
	}
	p.Detail = fmt.Sprintf("%s%s to %s by %s at %s: %s", c.Setting, from, c.New, c.By, c.At.UTC().Format(time.RFC3339), c.Outcome)
	if c.Now != "" && c.Now != c.New {
		p.Detail += ", it is " + c.Now
	}
	if c.Detail != "" {
		p.Detail += "; " + c.Detail
	}
	return p
}
