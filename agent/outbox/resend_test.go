package outbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/ledger"
	"lvagent/agent/message"
	"lvagent/agent/uplink"
	"lvagent/configs"
)

// half stores half-hour i of a way, and returns its body.
func half(o *Outbox, way string, i int, flags string) []byte {
	start := t0.Add(time.Duration(i) * 30 * time.Minute)
	end := start.Add(30 * time.Minute)
	body := fmt.Appendf(nil, `{"v":1,"agent":"S1","way":%q,"rev":0,"start":%q,"end":%q,"coverage":1,"samples":1,"bad":0,"flags":[%s],"N":null}`,
		way, start.Format(time.RFC3339), end.Format(time.RFC3339), flags)
	o.Store(true, []Record{{Stream: message.HalfHourStream(way), At: end, Body: body}})
	return body
}

// pass gives the owner time to commit.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

func answers(t *testing.T, o *Outbox) (all []string) {
	t.Helper()
	for _, r := range read(t, o, message.AckStream) {
		var a struct{ ID, Stage, Code string }
		if err := json.Unmarshal(r.Body, &a); err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.TrimSpace(a.ID+" "+a.Stage+" "+a.Code))
	}
	return all
}

// repeats returns the stream that a request is carried out as.
func repeats(o *Outbox) *uplink.Stream {
	for _, st := range o.Streams(nil) {
		if isRepeat(st.Name) {
			return &st
		}
	}
	return nil
}

// send sends what a repeated stream holds from its first record on, most at a
// time, and acknowledges it.
func send(t *testing.T, o *Outbox, st *uplink.Stream, most int) (sent []string) {
	t.Helper()
	for n := st.First; n < st.Next; {
		page, err := o.Read(st.Name, n, nil, most)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			sent = append(sent, string(message.Seal(nil, r.Body, r.Stream, r.N, r.G)))
			o.Ack(st.Name, r.N)
			n = r.N + 1
		}
	}
	return sent
}

func TestResend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		o := open(t, folder)
		stop := run(t, o)
		var first []string // as they were sent the first time
		for i := range 20 {
			body := half(o, "W1", i, "")
			first = append(first, string(message.Seal(nil, body, "hh/W1", uint64(i+1), 1)))
		}
		pass(2 * time.Second)
		o.Ack("hh/W1", 15)
		pass(2 * time.Second)

		o.Resend(Resend{ID: "a", Stream: "hh/W1", G: 1, From: 3, To: 18})
		pass(2 * time.Second)
		st := repeats(o)
		if st == nil || st.First != 3 || st.Next != 16 {
			t.Fatalf("repeats %+v, want 3 to 15: what was never sent has its own turn first", st)
		}
		if got := send(t, o, st, 4); !slices.Equal(got, first[2:15]) {
			t.Errorf("sent %q, want %q", got, first[2:15])
		}
		// A connection is lost, the agent restarts: it goes on where it was.
		pass(2 * time.Second)
		stop()
		o = open(t, folder)
		stop = run(t, o)
		o.Ack("hh/W1", 20)
		pass(2 * time.Second)
		if st = repeats(o); st == nil || st.First != 16 || st.Next != 19 {
			t.Fatalf("repeats %+v after a restart, want 16 to 18", st)
		}
		if got := send(t, o, st, 4); !slices.Equal(got, first[15:18]) {
			t.Errorf("sent %q, want %q", got, first[15:18])
		}
		pass(2 * time.Second)
		if st := repeats(o); st != nil {
			t.Errorf("still repeats %+v", st)
		}
		if got, want := answers(t, o), []string{"a received", "a completed"}; !slices.Equal(got, want) {
			t.Errorf("answers %q, want %q", got, want)
		}
		done := read(t, o, message.AckStream)[1].Body
		if want := `"detail":{"stream":"hh/W1","g":1,"from":3,"to":18,"sent":16,"missing":[]}`; !bytes.Contains(done, []byte(want)) {
			t.Errorf("answer %s, want %s", done, want)
		}
		stop()
	})
}

func TestResendByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir())
		defer run(t, o)()
		for i := range 20 {
			half(o, "W1", i, "")
		}
		pass(2 * time.Second)
		o.Ack("hh/W1", 20)
		o.Resend(Resend{ID: "a", Stream: "hh/W1", Since: t0.Add(90 * time.Minute), Until: t0.Add(180 * time.Minute)})
		pass(2 * time.Second)
		if st := repeats(o); st == nil || st.First != 3 || st.Next != 7 {
			t.Errorf("repeats %+v, want 3 to 6", st)
		}
	})
}

func TestResendIsRefused(t *testing.T) {
	tests := []struct {
		name string
		ask  Resend
		want string
	}{
		{"no such stream", Resend{Stream: "hh/W9", From: 1, To: 2}, "NO_STREAM"},
		{"a number that is yet to come", Resend{Stream: "hh/W1", From: 1, To: 6}, "RANGE"},
		{"a store that is yet to come", Resend{Stream: "hh/W1", G: 2, From: 1, To: 2}, "RANGE"},
		{"a time in which nothing was due", Resend{Stream: "hh/W1", Since: t0.Add(31 * time.Minute), Until: t0.Add(59 * time.Minute)}, "RANGE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := open(t, t.TempDir())
				defer run(t, o)()
				for i := range 5 {
					half(o, "W1", i, "")
				}
				pass(2 * time.Second)
				tt.ask.ID = "a"
				o.Resend(tt.ask)
				pass(2 * time.Second)
				if got := answers(t, o); len(got) != 1 || got[0] != "a rejected "+tt.want {
					t.Errorf("answers %q, want %s", got, tt.want)
				}
			})
		})
	}
}

// What a store that broke had sent is not here any more: whoever asks for it, by
// number or by time, is told so, and so is whoever asks the ledger. What it had
// not sent is there under a new number.
func TestResendAfterTheStoreBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		o := open(t, folder)
		stop := run(t, o)
		for i := range 6 {
			half(o, "W1", i, "")
		}
		half(o, "W2", 0, "")
		pass(2 * time.Second)
		o.Ack("hh/W1", 4)
		o.Ack("hh/W2", 1)
		pass(2 * time.Second)
		stop()
		damage(t, folder)
		o = open(t, folder)
		o.wall = func() time.Time { return t0.Add(9 * time.Hour) }
		defer run(t, o)()
		pass(2 * time.Second) // half-hours 4 and 5 are carried over as 1 and 2
		half(o, "W1", 6, "")
		pass(2 * time.Second)
		o.Ack("hh/W1", 3)
		pass(2 * time.Second)

		since, until := t0, t0.Add(2*time.Hour) // the first four are due by then
		for _, ask := range []Resend{
			{ID: "by number", Stream: "hh/W1", G: 1, From: 1, To: 4},
			{ID: "of no store", Stream: "hh/W1", From: 2, To: 6},
			{ID: "by time", Stream: "hh/W1", Since: since, Until: until},
			{ID: "across", Stream: "hh/W1", Since: since, Until: t0.Add(4 * time.Hour)},
			{ID: "no more stream", Stream: "hh/W2", From: 1, To: 1},
			{ID: "here", Stream: "hh/W1", From: 1, To: 2},
		} {
			o.Resend(ask)
			pass(2 * time.Second)
			if st := repeats(o); st != nil {
				send(t, o, st, 8)
			}
			pass(2 * time.Second)
		}
		want := []string{"by number received", "by number completed", "of no store rejected STORE_REPLACED", "by time rejected STORE_REPLACED",
			"across received", "across completed", "no more stream rejected STORE_REPLACED", "here received", "here completed"}
		if got := answers(t, o); !slices.Equal(got, want) {
			t.Fatalf("answers %q, want %q", got, want)
		}
		detail := map[string]string{
			"by number": `"sent":0,"missing":[{"from":1,"to":4,"reason":"STORE_REPLACED"}]`,
			"across":    `"from":1,"to":3,"sent":3,"missing":[{"from":0,"to":0,"reason":"STORE_REPLACED"}]`,
			"here":      `"sent":2,"missing":[]`,
		}
		for _, r := range read(t, o, message.AckStream) {
			for id, text := range detail {
				if bytes.Contains(r.Body, []byte(`"id":"`+id+`"`)) && bytes.Contains(r.Body, []byte("completed")) && !bytes.Contains(r.Body, []byte(text)) {
					t.Errorf("answer %s, want %s", r.Body, text)
				}
			}
		}

		slots, _, err := o.Ledger("W1", t0, t0.Add(7*30*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range slots {
			got = append(got, strings.TrimSpace(fmt.Sprint(s.State, " ", s.Reason)))
		}
		replaced := "replaced STORE_REPLACED"
		if want := []string{replaced, replaced, replaced, replaced, "acknowledged", "acknowledged", "acknowledged"}; !slices.Equal(got, want) {
			t.Errorf("ledger %q, want %q", got, want)
		}
	})
}

func TestResendsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir())
		defer run(t, o)()
		half(o, "W1", 0, "")
		pass(2 * time.Second)
		o.Ack("hh/W1", 1)
		for i := range mostResends + 3 {
			o.Resend(Resend{ID: fmt.Sprint(i), Stream: "hh/W1", From: 1, To: 1})
		}
		o.Resend(Resend{ID: "0", Stream: "hh/W1", From: 1, To: 1})
		pass(2 * time.Second)
		// The one asked twice is refused too where it comes before the first is taken.
		refused := 0
		for _, a := range answers(t, o) {
			if strings.HasSuffix(a, "rejected TOO_MANY") && !strings.HasPrefix(a, "0 ") {
				refused++
			}
		}
		if refused != 3 {
			t.Errorf("%d of 19 refused, want 3: %q", refused, answers(t, o))
		}
		for range mostResends {
			st := repeats(o)
			if st == nil {
				t.Fatal("one was forgotten")
			}
			send(t, o, st, 8)
			pass(2 * time.Second)
		}
		if st := repeats(o); st != nil {
			t.Errorf("repeats %+v when all are done", st)
		}
	})
}

// What is not there any more is named, with the reason.
func TestResendOfWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := configs.Default()
		cfg.Site.ID, cfg.Buffer.Path, cfg.Buffer.Limits.HalfHours = "S1", t.TempDir(), 10
		o := newOutbox(t, &cfg)
		defer run(t, o)()
		for i := range 8 {
			half(o, "W1", i, "")
			pass(time.Second)
		}
		o.Ack("hh/W1", 4)
		pass(2 * time.Second)
		for i := 8; i < 18; i++ { // 1 to 4 leave without a word, 5 to 8 are told of
			half(o, "W1", i, "")
			pass(time.Second)
		}
		o.Ack("hh/W1", 18)
		o.Resend(Resend{ID: "a", Stream: "hh/W1", From: 2, To: 10})
		pass(2 * time.Second)
		if got := send(t, o, repeats(o), 3); len(got) != 2 {
			t.Errorf("sent %q, want 9 and 10", got)
		}
		pass(2 * time.Second)
		all := read(t, o, message.AckStream)
		want := `"sent":2,"missing":[{"from":2,"to":4,"reason":"NOT_KEPT"},`
		if got := all[len(all)-1].Body; !bytes.Contains(got, []byte(want)) || !bytes.Contains(got, []byte(`"to":8,"reason":"QUOTA"}]`)) {
			t.Errorf("answer %s, want %s and up to 8 for QUOTA", got, want)
		}
		// And none of the range is there.
		o.Resend(Resend{ID: "b", Stream: "hh/W1", From: 1, To: 3})
		pass(2 * time.Second)
		if st := repeats(o); st != nil {
			if got := send(t, o, st, 3); len(got) != 0 {
				t.Errorf("sent %q, want none", got)
			}
		}
		pass(2 * time.Second)
		if got := answers(t, o); got[len(got)-1] != "b completed" {
			t.Errorf("answers %q, want b completed", got)
		}
	})
}

// newOutbox is open with another configuration.
func newOutbox(t *testing.T, cfg *configs.Config) *Outbox {
	t.Helper()
	o := New(cfg, func() time.Time { return t0 }, slog.New(slog.DiscardHandler), true)
	if err := o.Open(); err != nil {
		t.Fatal(err)
	}
	return o
}

// A digest covers a UTC day: each record is in exactly one, and a consumer can
// compute the hash from what it received.
func TestDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		o := open(t, folder)
		stop := run(t, o)
		var sealed []string
		store := func(way string, from, to int) {
			for i := from; i < to; i++ {
				flags := ""
				if i == 3 {
					flags = `"NO_DATA","COMM_LOSS"`
				}
				body := half(o, way, i, flags)
				if way == "W1" {
					sealed = append(sealed, string(message.Seal(nil, body, "hh/W1", uint64(i+1), 1)))
				}
			}
			pass(2 * time.Second)
		}
		// t0 is 17:00: the day has 14 periods left.
		store("W1", 0, 13)
		if got := read(t, o, message.DigestStream); len(got) != 0 {
			t.Errorf("digest before the day's end: %s", bodies(got))
		}
		store("W1", 13, 14)
		stop()
		o = open(t, folder)
		stop = run(t, o)
		// Two days missed are two digests.
		store("W1", 14, 14+48+48+5)
		pass(5 * time.Second)
		store("W2", 0, 15)
		stop()
		o = open(t, folder)
		defer run(t, o)()
		got := read(t, o, message.DigestStream)
		if len(got) != 4 {
			t.Fatalf("%d digests, want 3 of W1 and 1 of W2: %s", len(got), bodies(got))
		}
		next := uint64(1)
		for i, r := range got[:3] {
			var d struct {
				Way, Date, Stream, Hash string
				From, To, Count         uint64
				Values                  uint64
				Reasons                 map[string]uint64
			}
			if err := json.Unmarshal(r.Body, &d); err != nil {
				t.Fatal(err)
			}
			sum := sha256.New()
			for _, s := range sealed[d.From-1 : d.To] {
				sum.Write([]byte(s + "\n"))
			}
			date := t0.AddDate(0, 0, i).Format(time.DateOnly)
			if d.Way != "W1" || d.Date != date || d.From != next || d.Count != d.To-d.From+1 || d.Hash != "sha256:"+hex.EncodeToString(sum.Sum(nil)) {
				t.Errorf("digest %d is %s, want of %s from %d, with the hash of what was sent", i, r.Body, date, next)
			}
			if i == 0 && (d.Values != 13 || d.Reasons[string(ledger.MeterOffline)] != 1 || len(d.Reasons) != 1) {
				t.Errorf("digest %s, want 13 values and METER_OFFLINE once", r.Body)
			}
			next = d.To + 1
		}
		if next != 14+48+48+1 {
			t.Errorf("digests go up to %d, want the ends of three days", next-1)
		}
	})
}

// What a period came to can be asked of a running agent.
func TestLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir())
		defer run(t, o)()
		o.wall = func() time.Time { return t0.Add(5 * time.Hour) }
		for i := range 6 {
			half(o, "W1", i, "")
		}
		pass(2 * time.Second)
		o.Ack("hh/W1", 4)
		pass(2 * time.Second)
		slots, _, err := o.Ledger("W1", t0.Add(-time.Hour), t0.Add(4*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range slots {
			got = append(got, strings.TrimSpace(fmt.Sprint(s.State, " ", s.Reason)))
		}
		want := []string{"never BEFORE_START", "never BEFORE_START", "acknowledged", "acknowledged", "acknowledged", "acknowledged",
			"waiting", "waiting", "never AGENT_DOWN", "never AGENT_DOWN"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// damage makes the store in folder one that cannot be opened, with its records whole.
func damage(t *testing.T, folder string) {
	t.Helper()
	path := filepath.Join(folder, "records.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(whole[:8192]) // both meta pages
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
}
