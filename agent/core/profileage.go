package core

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"lvagent/agent/outbox"
	"lvagent/failsafe"
	"lvagent/meter"
)

// profileOld is the condition of failsafe profiles that nobody has looked at for
// longer than a year and a month; they go on holding.
const (
	profileOld    = "PROFILE_OLD"
	profileOldKey = "profile_age"
	profileFresh  = 400 * 24 * time.Hour
)

// profileAge is since when the site's failsafe profiles are what they are.
type profileAge struct {
	Hash  string    `json:"hash"`
	Since time.Time `json:"since"`
}

// watchProfile raises and clears PROFILE_OLD. Without a date in the site file
// profiles are as old as their first use here.
func (l *Loop) watchProfile(wall time.Time, clock meter.Clock) {
	if !clock.Trusted() {
		return
	}
	if l.profile.Hash == "" {
		l.resumeProfile(wall)
	}
	edge := meter.Clear
	if !l.profile.Since.IsZero() && wall.Sub(l.profile.Since) > profileFresh {
		edge = meter.Raise
	}
	l.alarms.condition(l, failsafe.Condition{Kind: profileOld, Edge: edge}, wall)
}

// resumeProfile finds out since when the profiles are in use.
func (l *Loop) resumeProfile(wall time.Time) {
	var all []any
	for i := range l.Config.Groups {
		if g := &l.Config.Groups[i]; len(g.Profile) > 0 {
			all = append(all, g.ID, g.Profile)
		}
	}
	if len(all) == 0 {
		l.profile = profileAge{Hash: "none"}
		return
	}
	text, err := json.Marshal(all)
	if err != nil {
		text = fmt.Append(nil, all) // numbers that are none; the file's check refuses them
	}
	sum := sha256.Sum256(text)
	now := profileAge{Hash: hex.EncodeToString(sum[:8]), Since: wall}
	if day, err := time.ParseInLocation(time.DateOnly, l.Config.Failsafe.ProfileDate, l.place); err == nil {
		now.Since = day
		l.profile = now
		return
	}
	var was profileAge
	if body := l.Outbox.Get(profileOldKey); body != nil {
		if err := json.Unmarshal(body, &was); err != nil {
			l.Log.Error("age of the failsafe profiles not read", "err", err)
		}
	}
	if was.Hash == now.Hash {
		now.Since = was.Since
	}
	l.profile = now
	body, err := json.Marshal(now)
	if err != nil {
		l.Log.Error("age of the failsafe profiles not kept", "err", err)
		return
	}
	l.Outbox.Store(false, nil, outbox.Kept{Key: profileOldKey, Value: body})
}
