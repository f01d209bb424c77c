package alarm

import "time"

// Flood notices that more alarms are raised at a site than anybody can read. It
// has one owner. The zero value has the defaults.
type Flood struct {
	Most   int           // raises within Within; default 10
	Within time.Duration // default 10 min

	raised [mostFlood]time.Duration // the last ones, in a ring
	n      int                      // raises so far
	on     bool
	count  int // raises of the flood that is on
}

// mostFlood bounds Flood.Most.
const mostFlood = 128

func (f *Flood) most() int { return min(orInt(f.Most, 10), mostFlood-1) }

// Raise takes in a raise and reports whether it is one of a flood.
func (f *Flood) Raise(now time.Duration) bool {
	f.raised[f.n%mostFlood] = now
	f.n++
	if !f.on && f.lately(f.most()+1, now) {
		f.on, f.count = true, f.most()
	}
	if f.on {
		f.count++
	}
	return f.on
}

// lately reports whether the last k raises were all within Within.
func (f *Flood) lately(k int, now time.Duration) bool {
	return f.n >= k && now-f.raised[(f.n-k)%mostFlood] <= or(f.Within, 10*time.Minute)
}

// On reports whether there is a flood at now, and of how many raises. It is over
// when half as many came within the time that it takes for one to begin.
func (f *Flood) On(now time.Duration) (raises int, on bool) {
	if f.on && !f.lately(f.most()/2+1, now) {
		f.on = false
	}
	return f.count, f.on
}
