package outbox

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"lvagent/agent/message"
	"lvagent/agent/uplink"
	"lvagent/buffer"
)

// In whatever order records were due, a seek finds exactly those that were due in
// the time that was asked for; where that is more pieces than a request may have,
// all of them and what is between some.
func TestSeekFindsWhatWasDue(t *testing.T) {
	folder, stores := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		stores++
		s, err := buffer.Open(filepath.Join(folder, fmt.Sprint(stores)), buffer.Options{
			NoSync: true, Classes: []buffer.Limit{{Name: "all", MaxRecords: 10_000, Keep: time.Hour}}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		// Runs in order, as they come of a salvage and of a clock that is set back.
		var due []int
		for range rapid.IntRange(0, 400).Draw(t, "runs") {
			at := rapid.IntRange(0, 9).Draw(t, "at")
			for i := range rapid.IntRange(1, 5).Draw(t, "long") {
				due = append(due, at+i)
			}
		}
		var b buffer.Batch
		for _, at := range due {
			b.Append = append(b.Append, buffer.Entry{Stream: "hh/W1", At: t0.Add(time.Duration(at) * time.Minute), Body: []byte("x")})
		}
		if len(due) > 0 {
			if err := s.Commit(b); err != nil {
				t.Fatal(err)
			}
		}
		since := rapid.IntRange(0, 15).Draw(t, "since")
		until := rapid.IntRange(since, 15).Draw(t, "until")
		state := buffer.StreamState{Name: "hh/W1", First: 1, Next: 1}
		if all := s.Streams(nil); len(all) > 0 {
			state = all[0]
		}
		k := newSeek(Resend{Since: t0.Add(time.Duration(since) * time.Minute), Until: t0.Add(time.Duration(until) * time.Minute)}, 1, &state)
		for done := false; !done; {
			if done, err = k.step(s); err != nil {
				t.Fatal(err)
			}
		}
		if len(k.spans) > mostSpans {
			t.Fatalf("%d spans", len(k.spans))
		}
		last := uint64(0)
		for _, sp := range k.spans {
			if sp.from <= last || sp.to < sp.from {
				t.Fatalf("spans %v", k.spans)
			}
			last = sp.to
		}
		pieces, in := 0, false
		for i, at := range due {
			n := uint64(i + 1)
			found := slices.ContainsFunc(k.spans, func(sp span) bool { return sp.from <= n && n <= sp.to })
			want := since <= at && at <= until
			if want && !in {
				pieces++
			}
			in = want
			if want && !found {
				t.Fatalf("record %d, due at %d, not found for %d to %d: %v", n, at, since, until, k.spans)
			}
		}
		sum, want := uint64(0), 0
		for _, sp := range k.spans {
			sum += sp.to - sp.from + 1
		}
		for _, at := range due {
			if since <= at && at <= until {
				want++
			}
		}
		if pieces <= mostSpans && sum != uint64(want) {
			t.Fatalf("%d found, %d were due: %v", sum, want, k.spans)
		}
	})
}

// Records that were carried over from an older store stand among newer ones. A
// request by time sends them all, and nothing else; the ledger knows them all.
func TestResendByTimeOfWhatWasCarriedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const old = 450
		folder := t.TempDir()
		o := open(t, folder)
		stop := run(t, o)
		for i := range old {
			half(o, "W1", i, "")
		}
		pass(2 * time.Second)
		stop()
		damage(t, folder)
		o = open(t, folder)
		o.wall = func() time.Time { return t0.Add(1000 * time.Hour) }
		for i := range 3 {
			half(o, "W1", old+i, "") // before the older store is looked at: they get numbers in its midst
		}
		stop = run(t, o)
		pass(5 * time.Second)
		all := read(t, o, "hh/W1")
		if len(all) != old+3 {
			t.Fatalf("%d records", len(all))
		}
		at := slices.IndexFunc(all, func(r uplink.Record) bool { return !bytes.Contains(r.Body, []byte("salvaged")) })
		if at <= 0 || at > old-10 {
			t.Fatalf("the first new record is the %dth, want it among the older ones", at+1)
		}
		o.Ack("hh/W1", old+3)
		pass(2 * time.Second)

		slots, _, err := o.Ledger("W1", t0, t0.Add((old+3)*30*time.Minute))
		if err != nil || len(slots) != old+3 {
			t.Fatalf("%d slots, %v", len(slots), err)
		}
		for _, s := range slots {
			if s.State != "acknowledged" {
				t.Errorf("%s is %s", s.Start, s.State)
			}
		}

		o.Resend(Resend{ID: "a", Stream: "hh/W1", Since: t0.Add(50 * time.Hour), Until: t0.Add(old * 30 * time.Minute)})
		pass(2 * time.Second)
		sent := send(t, o, repeats(o), 8)
		stop() // half way through a restart
		if want := old - 99; len(sent) != want {
			t.Errorf("%d records sent, want %d", len(sent), want)
		}
		o = open(t, folder)
		defer run(t, o)()
		pass(2 * time.Second)
		if got := answers(t, o); !slices.Equal(got, []string{"a received", "a completed"}) {
			t.Errorf("answers %q", got)
		}
		done := read(t, o, message.AckStream)[1].Body
		if want := fmt.Appendf(nil, `"sent":%d,"missing":[]`, old-99); !bytes.Contains(done, want) {
			t.Errorf("answer %s, want %s", done, want)
		}
	})
}

// What is noted as missing never overlaps what was noted before, is in order, and
// keeps the reason that came first.
func TestMissingRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 40
		r := &repeat{From: 1, To: most, Next: 1, Missing: []message.Range{{Reason: storeReplaced}}}
		why := [most + 1]string{}
		for range rapid.IntRange(0, 12).Draw(t, "times") {
			from := rapid.Uint64Range(1, most).Draw(t, "from")
			to := rapid.Uint64Range(from, most+5).Draw(t, "to")
			reason := rapid.SampledFrom([]string{notKept, torn, notAsked}).Draw(t, "why")
			r.miss(from, to, reason)
			for n := from; n <= min(to, most); n++ {
				if why[n] == "" {
					why[n] = reason
				}
			}
		}
		got := [most + 1]string{}
		last := uint64(0)
		for _, m := range r.Missing[1:] {
			if m.From <= last || m.To < m.From {
				t.Fatalf("ranges %v", r.Missing)
			}
			last = m.To
			for n := m.From; n <= m.To; n++ {
				got[n] = m.Reason
			}
		}
		if got != why {
			t.Fatalf("%v: got %q, want %q", r.Missing, got, why)
		}
		for n := uint64(1); n <= most; n++ {
			from, to := r.asked(n)
			for at := n; at < min(from, most+1); at++ {
				if why[at] != notAsked {
					t.Fatalf("%d passed over as not asked", at)
				}
			}
			for at := from; at <= to; at++ {
				if why[at] == notAsked {
					t.Fatalf("%d within %d to %d was not asked", at, from, to)
				}
			}
		}
	})
}
