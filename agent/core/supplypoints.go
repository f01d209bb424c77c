package core

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/meter"
)

// supplyPointsKey is where it is kept which group each supply point is in.
const supplyPointsKey = "supply_points"

// mostSupplyPoints is far more than a substation has customers with charge points.
const mostSupplyPoints = 2000

// supplyPoint says in which group a customer's supply point is (R15, R16). Its
// number is personal data, and there are few enough of them to try all: what is
// kept is a hash that only this device's key leads to.
type supplyPoint struct {
	Hash  string    `json:"hash"`
	Group string    `json:"group"`
	Since time.Time `json:"since"`
}

// SupplyPointView is an entry for people on site. Its name is the begin of the
// hash: enough to tell entries apart, and nothing to anybody else.
type SupplyPointView struct {
	Name    string    `json:"name"`
	Group   string    `json:"group"`
	Since   time.Time `json:"since"`
	Expires time.Time `json:"expires"`
}

// keyed is the hash of a text under the device's key, for one purpose.
func (l *Loop) keyed(purpose string, text []byte) string {
	mac := hmac.New(sha256.New, l.Secret[:])
	mac.Write([]byte(purpose))
	mac.Write([]byte{0})
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil))
}

func (l *Loop) hashOf(number string) string { return l.keyed("supply point", []byte(number)) }

func (l *Loop) resumeSupplyPoints() {
	body := l.Outbox.Get(supplyPointsKey)
	if body == nil {
		return
	}
	if err := json.Unmarshal(body, &l.supplied); err != nil {
		l.Log.Error("supply points not resumed", "err", err)
		l.supplied = nil
	}
}

// forgetSupplyPoints erases what was kept for long enough, and what is of a group
// that is not here any more.
func (l *Loop) forgetSupplyPoints(wall time.Time, clock meter.Clock) {
	if !clock.Trusted() || len(l.supplied) == 0 {
		return
	}
	l.eraseSupplyPoints("kept for long enough", func(s *supplyPoint) bool {
		return wall.Sub(s.Since) >= l.Config.Supply.Keep ||
			!slices.ContainsFunc(l.Config.Groups, func(g configs.Group) bool { return g.ID == s.Group })
	})
}

// eraseSupplyPoints erases the entries that match, and returns how many.
func (l *Loop) eraseSupplyPoints(why string, match func(*supplyPoint) bool) int {
	n := len(l.supplied)
	l.supplied = slices.DeleteFunc(l.supplied, func(s supplyPoint) bool { return match(&s) })
	if n -= len(l.supplied); n > 0 {
		l.Log.Info("supply points erased", "count", n, "why", why)
		l.keepSupplyPoints()
	}
	return n
}

func (l *Loop) keepSupplyPoints() {
	body, err := json.Marshal(l.supplied)
	if err != nil {
		l.Log.Error("supply points not kept", "err", err)
		return
	}
	l.Outbox.Store(true, nil, outbox.Kept{Key: supplyPointsKey, Value: body})
}

// target turns a command's target into the engine's, and its body into the hash
// by which it is known: a keyed one where the body holds personal data. Where the
// target is not taken at all the command is refused.
func (l *Loop) target(c *message.Command, t *message.Target) (at failsafe.Target, hash string, ok bool) {
	hash = hex.EncodeToString(c.Hash[:])
	if len(t.MPANs) == 0 {
		at = failsafe.Target{Way: t.Way, Groups: t.Groups}
		for _, p := range t.Phases {
			at.Phases[p] = true
		}
		return at, hash, true
	}
	if !l.Config.Supply.Targets {
		l.refuse(c, "NOT_ENABLED", "supply points are no targets here (supply_points.targets); name a way or groups")
		return at, "", false
	}
	for i, number := range t.MPANs {
		known := l.hashOf(number)
		n := slices.IndexFunc(l.supplied, func(s supplyPoint) bool { return s.Hash == known })
		switch {
		case n < 0:
			at.Absent = append(at.Absent, fmt.Sprintf("mpans[%d]", i))
		case !slices.Contains(at.Groups, l.supplied[n].Group):
			at.Groups = append(at.Groups, l.supplied[n].Group)
		}
	}
	return at, l.keyed("command", c.Canonical), true
}

// Refusals of orders about supply points.
var (
	errNoGroup     = errors.New("there is no such group")
	errNoClock     = errors.New("the clock is not set, so nobody could say when to erase it")
	errNotANumber  = errors.New("not 13 digits of which the last checks the others")
	errTooManyHere = fmt.Errorf("more than %d", mostSupplyPoints)
)

// AddSupplyPoints notes in which group supply points are. One that is known moves
// there, and its time begins anew.
func (l *Loop) AddSupplyPoints(ctx context.Context, group string, numbers []string) (err error) {
	asked := l.Ask(ctx, func(l *Loop) {
		switch {
		case !slices.ContainsFunc(l.Config.Groups, func(g configs.Group) bool { return g.ID == group }):
			err = fmt.Errorf("add supply points to %s: %w", group, errNoGroup)
			return
		case !l.Clock().Clock.Trusted():
			err = fmt.Errorf("add supply points to %s: %w", group, errNoClock)
			return
		}
		next := slices.Clone(l.supplied)
		for i, number := range numbers {
			if !message.ValidMPAN(number) {
				err = fmt.Errorf("add supply points to %s: number %d of %d: %w", group, i+1, len(numbers), errNotANumber)
				return
			}
			entry := supplyPoint{Hash: l.hashOf(number), Group: group, Since: l.Wall().UTC().Truncate(time.Second)}
			next = slices.DeleteFunc(next, func(s supplyPoint) bool { return s.Hash == entry.Hash })
			next = append(next, entry)
		}
		if len(next) > mostSupplyPoints {
			err = fmt.Errorf("add supply points to %s: %w", group, errTooManyHere)
			return
		}
		l.supplied = next
		l.Log.Info("supply points added", "group", group, "count", len(numbers))
		l.keepSupplyPoints()
	})
	return errors.Join(asked, err)
}

// SupplyPoints lists the entries.
func (l *Loop) SupplyPoints(ctx context.Context) (views []SupplyPointView, err error) {
	views = []SupplyPointView{}
	err = l.Ask(ctx, func(l *Loop) {
		for _, s := range l.supplied {
			views = append(views, SupplyPointView{Name: s.Hash[:min(len(s.Hash), 12)], Group: s.Group, Since: s.Since, Expires: s.Since.Add(l.Config.Supply.Keep)})
		}
	})
	return views, err
}

// EraseSupplyPoints erases entries: those of a group, those of numbers, or all.
func (l *Loop) EraseSupplyPoints(ctx context.Context, group string, numbers []string, all bool) (n int, err error) {
	err = l.Ask(ctx, func(l *Loop) {
		hashes := make([]string, 0, len(numbers))
		for _, number := range numbers {
			hashes = append(hashes, l.hashOf(number))
		}
		n = l.eraseSupplyPoints("asked for on site", func(s *supplyPoint) bool {
			return all || group != "" && s.Group == group || slices.Contains(hashes, s.Hash)
		})
	})
	return n, err
}
