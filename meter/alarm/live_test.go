package alarm

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// carries is L1's current at a time, and whether an alarm stands.
type carries struct {
	at     time.Duration
	i      int64
	active bool
}

func each(from, to, step time.Duration, i int64, active bool) (out []carries) {
	for t := from; t <= to; t += step {
		out = append(out, carries{t, i, active})
	}
	return out
}

func join(parts ...[]carries) (out []carries) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func (c carries) reading() meter.Reading {
	r := reading(c.at)
	r.Phase[meter.L1].I.Value = meter.Milliamps(c.i)
	return r
}

// sent tells what went out: "-3s" is of before the alarm, "3s" of its time.
func sent(t *testing.T, cfg LiveConfig, in []carries) (got []string) {
	t.Helper()
	l := NewLive(cfg)
	for _, c := range in {
		r := c.reading()
		for _, x := range l.Add(&r, begin.Add(c.at), c.active, "W3.L1.i.hi") {
			if !x.T.Equal(begin.Add(x.Reading.At)) || x.Alarm != "W3.L1.i.hi" {
				t.Errorf("%v: at %v, alarm %q", x.Reading.At, x.T, x.Alarm)
			}
			name := x.Reading.At.String()
			if x.Before {
				name = "pre " + name
			}
			got = append(got, name)
		}
	}
	return got
}

func TestLive(t *testing.T) {
	short := LiveConfig{Before: 3 * s, Heartbeat: 4 * s, Tail: 6 * s}
	tests := []struct {
		name string
		cfg  LiveConfig
		in   []carries
		want []string
	}{
		{"no alarm", short, each(0, 100*s, s, 1, false), nil},
		{"those before first, as far back as asked", short, join(each(0, 9*s, s, 1, false), each(10*s, 10*s, s, 1, true)), []string{"pre 7s", "pre 8s", "pre 9s", "10s"}},
		{"fewer before than asked", short, join(each(0, s, s, 1, false), each(2*s, 2*s, s, 1, true)), []string{"pre 0s", "pre 1s", "2s"}},
		{"none before", short, each(0, 0, s, 1, true), []string{"0s"}},
		{"before is measured in time, not in readings", short, join(each(0, 0, s, 1, false), each(50*s, 50*s, s, 1, true)), []string{"50s"}},
		{"heartbeat while nothing moves", short, each(0, 9*s, s, 1, true), []string{"0s", "4s", "8s"}},
		{"one milliamp below the deadband", short, []carries{{0, 0, true}, {s, 999, true}}, []string{"0s"}},
		{"the deadband", short, []carries{{0, 0, true}, {s, 1_000, true}}, []string{"0s", "1s"}},
		{"the deadband downwards", short, []carries{{0, 5_000, true}, {s, 4_000, true}}, []string{"0s", "1s"}},
		{"drift adds up from what was sent", short, []carries{{0, 0, true}, {s, 600, true}, {2 * s, 1_200, true}, {3 * s, 1_800, true}}, []string{"0s", "2s"}},
		{"the deadband is 1 % of the rating", LiveConfig{Rating: 300_000}, []carries{{0, 0, true}, {s, 2_999, true}, {2 * s, 3_000, true}}, []string{"0s", "2s"}},
		{"cap: quick polls go out once a second", LiveConfig{}, join(each(0, 0, s, 0, true), []carries{{400 * ms, 9_000, true}, {499 * ms, 9_000, true}, {500 * ms, 18_000, true}, {s, 27_000, true}, {1500 * ms, 36_000, true}}), []string{"0s", "500ms", "1.5s"}},
		{"cap: polls that are not exact are let through", LiveConfig{Heartbeat: ms}, []carries{{0, 0, true}, {990 * ms, 0, true}, {2010 * ms, 0, true}, {2990 * ms, 0, true}}, []string{"0s", "990ms", "2.01s", "2.99s"}},
		{"cap: those before are thinned too", LiveConfig{Poll: 250 * ms, Before: 3 * s}, join(each(0, 2750*ms, 250*ms, 0, false), each(3*s, 3*s, s, 0, true)), []string{"pre 0s", "pre 500ms", "pre 1.5s", "pre 2.5s", "3s"}},
		{"tail after the clear", short, join(each(0, 0, s, 0, true), each(s, 20*s, s, 0, false)), []string{"0s", "1s", "5s"}},
		{"the tail's last second", short, join(each(0, 0, s, 0, true), each(s, s, s, 0, false), []carries{{7 * s, 9_000, false}}), []string{"0s", "1s", "7s"}},
		{"a millisecond after the tail", short, join(each(0, 0, s, 0, true), each(s, s, s, 0, false), []carries{{7*s + ms, 9_000, false}}), []string{"0s", "1s"}},
		{"raised in the tail: no reading twice, none before", short, join(each(0, 0, s, 0, true), each(s, 3*s, s, 0, false), each(4*s, 4*s, s, 0, true)), []string{"0s", "1s", "4s"}},
		{"raised after the tail: none twice", LiveConfig{Before: 9 * s, Heartbeat: 4 * s, Tail: 2 * s}, join(each(0, 0, s, 0, true), each(s, 5*s, s, 0, false), each(6*s, 6*s, s, 0, true)), []string{"0s", "1s", "pre 2s", "pre 3s", "pre 4s", "pre 5s", "6s"}},
		{"a change that the cap held back", LiveConfig{Heartbeat: 20 * s}, []carries{{0, 0, true}, {100 * ms, 0, false}, {s, 0, false}, {2 * s, 0, false}}, []string{"0s", "1s"}},
		{"an older reading is ignored", short, []carries{{5 * s, 0, false}, {4 * s, 0, false}, {6 * s, 0, true}}, []string{"pre 5s", "6s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := sent(t, tt.cfg, tt.in); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("sent\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

// Each quantity of each phase has its deadband, and so has a value that comes or goes.
func TestLiveMoves(t *testing.T) {
	const db = 690_000 // 3 A at 230 V
	tests := []struct {
		name   string
		change func(r *meter.Reading)
		want   bool
	}{
		{"nothing", func(*meter.Reading) {}, false},
		{"V", func(r *meter.Reading) { r.Phase[1].V.Value += 1_000 }, true},
		{"V, less", func(r *meter.Reading) { r.Phase[1].V.Value += 999 }, false},
		{"I", func(r *meter.Reading) { r.Phase[2].I.Value += 3_000 }, true},
		{"I, less", func(r *meter.Reading) { r.Phase[2].I.Value += 2_999 }, false},
		{"P", func(r *meter.Reading) { r.Phase[0].P.Value -= db }, true},
		{"P, less", func(r *meter.Reading) { r.Phase[0].P.Value -= db - 1 }, false},
		{"Q", func(r *meter.Reading) { r.Phase[0].Q.Value += db }, true},
		{"Q, less", func(r *meter.Reading) { r.Phase[0].Q.Value += db - 1 }, false},
		{"N", func(r *meter.Reading) { r.Neutral.Value += 3_000 }, true},
		{"N, less", func(r *meter.Reading) { r.Neutral.Value += 2_999 }, false},
		{"a value goes", func(r *meter.Reading) { r.Phase[0].Q = meter.Sample[meter.Millivars]{Reason: meter.Sentinel} }, true},
		{"a value becomes suspect", func(r *meter.Reading) { r.Phase[0].Q.Quality = meter.Suspect }, false},
		{"the smallest number", func(r *meter.Reading) { r.Phase[0].P.Value = -1 << 63 }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLive(LiveConfig{Rating: 300_000})
			r := reading(0)
			r.Phase[0].P.Value = 2
			l.Add(&r, begin, true, "A")
			r.At = s
			tt.change(&r)
			if got := len(l.Add(&r, begin.Add(s), true, "A")) == 1; got != tt.want {
				t.Errorf("sent = %v, want %v", got, tt.want)
			}
			r.At = 10*s - ms
			if got := len(l.Add(&r, begin.Add(r.At), true, "A")); got != 0 {
				t.Errorf("sent %d the same again, want none", got)
			}
		})
	}
}

// A message belongs to the alarm that stands, in the tail to the last one.
func TestLiveNamesTheAlarm(t *testing.T) {
	l := NewLive(LiveConfig{Heartbeat: s})
	var got []string
	for k, name := range []string{"", "A", "B", "", ""} {
		r := reading(time.Duration(k) * s)
		for _, x := range l.Add(&r, begin, name != "", name) {
			got = append(got, fmt.Sprintf("%v %s", x.Reading.At, x.Alarm))
		}
	}
	if want := []string{"0s A", "1s A", "2s B", "3s B", "4s B"}; !reflect.DeepEqual(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// Whatever happens: nothing goes out twice or out of order, none without an
// alarm near, none faster than the cap, and while an alarm stands there is never
// a silence longer than a heartbeat and a poll.
func TestLivePromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := LiveConfig{Poll: rapid.SampledFrom([]time.Duration{100 * ms, s, 5 * s}).Draw(t, "poll"), Heartbeat: 4 * s, Before: 10 * s, Tail: 7 * s}
		l := NewLive(cfg)
		var stamps []time.Duration
		var last, sentAt, clearAt time.Duration = -1, -1 << 40, -1 << 40
		was, now := false, time.Duration(0)
		for range rapid.IntRange(10, 150).Draw(t, "readings") {
			now += max(ms, cfg.Poll+time.Duration(rapid.Int64Range(-int64(cfg.Poll)/5, int64(cfg.Poll)/5).Draw(t, "jitter")))
			active := was
			if rapid.IntRange(0, 9).Draw(t, "turns") == 0 {
				active = !was
			}
			r := carries{at: now, i: rapid.Int64Range(0, 3_000).Draw(t, "i")}.reading()
			starts := active && !was
			if was && !active {
				clearAt = now
			}
			out := l.Add(&r, begin.Add(now), active, "A")
			for k, x := range out {
				if x.Reading.At <= last {
					t.Fatalf("%v after %v", x.Reading.At, last)
				}
				if x.Before != (k < len(out)-1) || x.Before && !starts {
					t.Fatalf("reading of %v at %v: before %v", x.Reading.At, now, x.Before)
				}
				if now-x.Reading.At > cfg.Before {
					t.Fatalf("reading of %v at %v: too old", x.Reading.At, now)
				}
				last = x.Reading.At
				stamps = append(stamps, last)
			}
			if len(out) > 0 {
				sentAt = now
				if !active && now > clearAt+cfg.Tail {
					t.Fatalf("sent at %v, %v after the clear", now, now-clearAt)
				}
			}
			if starts && len(out) == 0 && now > clearAt+cfg.Tail {
				t.Fatalf("nothing at the raise at %v", now)
			}
			if active && now-sentAt > cfg.Heartbeat+s {
				t.Fatalf("silent for %v at %v", now-sentAt, now)
			}
			was = active
		}
		// The cap: over any stretch, one a second, one more for the reading that
		// raises, and one for the rounding at the ends.
		for a := range stamps {
			for b := a; b < len(stamps); b++ {
				most := int((stamps[b]-stamps[a])/s) + 3
				if n := b - a + 1; n > most {
					t.Fatalf("%d readings from %v to %v, at most %d: %v", n, stamps[a], stamps[b], most, stamps)
				}
			}
		}
	})
}

func TestLiveAllocatesNothing(t *testing.T) {
	l := NewLive(LiveConfig{})
	r, n := reading(0), 0
	if a := testing.AllocsPerRun(1000, func() {
		r.At += s
		r.Phase[0].I.Value ^= 0x1000
		n += len(l.Add(&r, begin, int(r.At/s)%200 > 100, "A"))
	}); a != 0 {
		t.Errorf("%v allocations a reading, want 0", a)
	}
	if n < 500 {
		t.Errorf("%d readings chosen: the test does not reach the sending", n)
	}
}

// Every reading from shortly before an alarm to a while after is kept, once, and
// not more often than asked.
func TestKept(t *testing.T) {
	cfg := LiveConfig{Before: 3 * s, Heartbeat: 4 * s, Tail: s, KeepAfter: 4 * s}
	fast := cfg
	fast.Poll = 250 * ms
	tests := []struct {
		name string
		cfg  LiveConfig
		in   []carries
		want []string
	}{
		{"no alarm", cfg, each(0, 50*s, s, 1, false), nil},
		{"before, during and after", cfg, join(each(0, 9*s, s, 1, false), each(10*s, 11*s, s, 1, true), each(12*s, 30*s, s, 1, false)),
			[]string{"7s", "8s", "9s", "10s", "11s", "12s", "13s", "14s", "15s"}},
		{"a second alarm meanwhile: none twice", cfg, join(each(0, 9*s, s, 1, false), each(10*s, 10*s, s, 1, true), each(11*s, 12*s, s, 1, false), each(13*s, 13*s, s, 1, true), each(14*s, 30*s, s, 1, false)),
			[]string{"7s", "8s", "9s", "10s", "11s", "12s", "13s", "14s", "15s", "16s", "17s"}},
		{"a second alarm soon after: none twice", cfg, join(each(0, 0, s, 1, true), each(s, 5*s, s, 1, false), each(6*s, 6*s, s, 1, true)),
			[]string{"0s", "1s", "2s", "3s", "4s", "5s", "6s"}},
		{"quick polls are thinned", fast, join(each(0, 2750*ms, 250*ms, 1, false), each(3*s, 3250*ms, 250*ms, 1, true)),
			[]string{"0s", "1s", "2s", "3s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLive(tt.cfg)
			var got []string
			for _, c := range tt.in {
				r := c.reading()
				l.Add(&r, begin.Add(c.at), c.active, "A")
				for _, k := range l.Kept() {
					got = append(got, k.Reading.At.String())
				}
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("kept\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

// A budget is shared: each of the ways in alarm has an equal part of it, and all
// together never more than it allows.
func TestBudgetIsSharedFairly(t *testing.T) {
	const ways, most = 40, 10
	b := &Budget{PerSecond: most, Burst: 100}
	var all []*Live
	for range ways {
		all = append(all, NewLive(LiveConfig{Budget: b, Heartbeat: ms}))
	}
	sent, before := make([]int, ways), 0
	for now := time.Duration(0); now < 700*s; now += s {
		active := now >= 100*s && now < 500*s
		total := 0
		for w, l := range all {
			r := carries{at: now + time.Duration(w)*ms, i: int64(now/s) % 2 * 50_000}.reading()
			for _, x := range l.Add(&r, begin.Add(now), active, "A") {
				switch {
				case x.Before:
					before++
				case now > 100*s: // the first one of each way tells of the raise
					sent[w]++
					total++
				}
			}
		}
		if now > 110*s && total > 2*most {
			t.Fatalf("%d readings at %v, at most %d a second", total, now, most)
		}
	}
	if before != 100 {
		t.Errorf("%d readings from before, want the whole burst of 100", before)
	}
	sum := 0
	for w, n := range sent {
		sum += n
		if n < 95 || n > 120 {
			t.Errorf("way %d sent %d, want a fortieth of %d a second in 460 s", w, n, most)
		}
	}
	if sum > 460*most+ways {
		t.Errorf("%d readings in 460 s, at most %d a second", sum, most)
	}
	if b.live != 0 {
		t.Errorf("%d ways counted after the alarms", b.live)
	}
}

// A way alone is not slowed down by a budget.
func TestBudgetOfOneWay(t *testing.T) {
	want := sent(t, LiveConfig{Before: 3 * s, Heartbeat: ms}, join(each(0, 9*s, s, 1, false), each(10*s, 60*s, s, 1, true)))
	got := sent(t, LiveConfig{Before: 3 * s, Heartbeat: ms, Budget: &Budget{}}, join(each(0, 9*s, s, 1, false), each(10*s, 60*s, s, 1, true)))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("sent\n got %q\nwant %q", got, want)
	}
}
