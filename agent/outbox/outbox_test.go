package outbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/message/schematest"
	"lvagent/agent/uplink"
	"lvagent/configs"
)

var t0 = time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)

func wall() time.Time { return t0 }

func open(t *testing.T, folder string) *Outbox {
	t.Helper()
	cfg := configs.Default()
	cfg.Site.ID, cfg.Buffer.Path = "S1", folder
	o := New(&cfg, wall, slog.New(slog.DiscardHandler), true)
	if err := o.Open(); err != nil {
		t.Fatal(err)
	}
	return o
}

// run starts the owner and returns what ends it.
func run(t *testing.T, o *Outbox) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); o.Run(ctx) }()
	return func() { cancel(); <-done }
}

func record(stream string, i int) []Record {
	return []Record{{Stream: stream, At: t0, Body: fmt.Appendf(nil, `{"i":%d}`, i)}}
}

func read(t *testing.T, o *Outbox, stream string) []uplink.Record {
	t.Helper()
	records, err := o.Read(stream, 1, nil, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stream, "/") { // those of ways the tests make up themselves
		for _, r := range records {
			if err := schematest.CheckRecord(stream, r.Body); err != nil {
				t.Error(err)
			}
		}
	}
	return records
}

func TestRecordsAndStateSurvive(t *testing.T) {
	folder := t.TempDir()
	o := open(t, folder)
	stop := run(t, o)
	o.Store(true, record("hh/W1", 1), Kept{"windows", []byte("open")})
	o.Store(false, record("hh/W1", 2))
	o.Ack("hh/W1", 0)
	stop()
	o = open(t, folder)
	defer run(t, o)()
	if got := read(t, o, "hh/W1"); len(got) != 2 || got[0].N != 1 || got[1].N != 2 || string(got[1].Body) != `{"i":2}` {
		t.Errorf("records after the restart = %v", got)
	}
	if got := o.Get("windows"); string(got) != "open" {
		t.Errorf("kept state = %q", got)
	}
}

// What the broker has is not sent again, also not after a restart, but kept.
func TestAckedRecordsAreKeptAndNotSent(t *testing.T) {
	folder := t.TempDir()
	o := open(t, folder)
	stop := run(t, o)
	for i := range 5 {
		o.Store(false, record("hh/W1", i))
	}
	stop()
	o = open(t, folder)
	stop = run(t, o)
	o.Ack("hh/W1", 3)
	stop()
	o = open(t, folder)
	defer run(t, o)()
	if got := o.Streams(nil); len(got) != 1 || got[0].First != 4 || got[0].Next != 6 || o.Backlog() != 2 {
		t.Errorf("to be sent: %v, %d in all, want 4 and 5", got, o.Backlog())
	}
	if got := read(t, o, "hh/W1"); len(got) != 5 || got[0].N != 1 {
		t.Errorf("kept: %v, want 1 to 5", got)
	}
}

// Without a store records wait; what could not wait is told once there is one,
// and no alarm goes before a live reading.
func TestAStoreThatComesLate(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "later")
	if err := os.WriteFile(folder, []byte("in the way"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := open(t, folder)
	if o.Health().Failing == "" {
		t.Fatal("a store in a file that is no folder works")
	}
	o.Store(true, record(message.AlarmStream("W1"), 0))
	for i := range mostWaiting + 9 {
		o.Store(false, record(message.LiveStream("W1"), i))
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, o)()
	o = open(t, folder)
	defer run(t, o)()
	if got := read(t, o, message.AlarmStream("W1")); len(got) != 1 {
		t.Errorf("%d alarms kept, want 1", len(got))
	}
	gaps := read(t, o, message.GapStream)
	want := `"stream":"live/W1","from":0,"to":0,"count":10,"why":"STORE_FAILED"`
	if len(gaps) != 1 || !bytes.Contains(gaps[0].Body, []byte(want)) {
		t.Errorf("gaps = %s, want one with %s", bodies(gaps), want)
	}
}

// stored says whether the store keeps anything under key.
func stored(t *testing.T, o *Outbox, key string) bool {
	t.Helper()
	v, err := o.store.Load().Get(key)
	if err != nil {
		t.Fatal(err)
	}
	return v != nil
}

func bodies(records []uplink.Record) (all string) {
	for _, r := range records {
		all += string(r.Body) + "\n"
	}
	return all
}

func TestTwoAgentsOnOneStore(t *testing.T) {
	folder := t.TempDir()
	o := open(t, folder)
	defer run(t, o)()
	cfg := configs.Default()
	cfg.Site.ID, cfg.Buffer.Path = "S1", folder
	second := New(&cfg, wall, slog.New(slog.DiscardHandler), true)
	second.opts.OpenTimeout = 50 * time.Millisecond
	if err := second.Open(); err == nil {
		t.Error("the second agent got the store")
	}
}

func TestABrokenStoreIsSetAside(t *testing.T) {
	folder := t.TempDir()
	o := open(t, folder)
	stop := run(t, o)
	o.Store(true, record("hh/W1", 1))
	stop()
	if err := os.WriteFile(filepath.Join(folder, "records.db"), []byte("not a store"), 0o600); err != nil {
		t.Fatal(err)
	}
	o = open(t, folder)
	stop = run(t, o)
	defer stop()
	if o.Health().Replaced == "" {
		t.Error("the broken store was not set aside")
	}
	o.Store(true, record("hh/W1", 2))
	for len(read(t, o, "hh/W1")) == 0 {
		<-o.Wake()
	}
	if got := read(t, o, "hh/W1"); len(got) != 1 || got[0].N != 1 || got[0].G != 2 {
		t.Errorf("first record of the new store = %+v, want n 1, g 2", got)
	}
}

// What a broken store still holds is carried over, numbered anew, and what it
// does not is told.
func TestABrokenStoreIsCarriedOver(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(whole []byte) []byte
		least int
	}{
		{"meta pages gone", func(b []byte) []byte { clear(b[:8192]); return b }, 500},
		{"of another version", func(b []byte) []byte {
			return bytes.Replace(b, []byte("format\x00\x00\x00\x02"), []byte("format\x00\x00\x00\x07"), -1)
		}, 500},
		{"torn in the middle", func(b []byte) []byte { return b[:len(b)/2] }, 0},
		{"empty", func([]byte) []byte { return nil }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			o := open(t, folder)
			stop := run(t, o)
			for i := range 500 {
				o.Store(false, record("hh/W1", i))
			}
			stop()
			path := filepath.Join(folder, "records.db")
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tt.spoil(whole), 0o600); err != nil {
				t.Fatal(err)
			}
			o = open(t, folder)
			if o.Health().Replaced == "" {
				t.Fatal("the damage was not noticed")
			}
			stop = run(t, o)
			o.Store(true, record("hh/W1", -1))
			stop() // in the middle: the rest goes on at the next start
			o = open(t, folder)
			defer run(t, o)()
			for end := time.Now().Add(10 * time.Second); stored(t, o, salvageKey); {
				if time.Now().After(end) {
					t.Fatal("still carrying over after 10 s")
				}
				time.Sleep(time.Millisecond)
			}
			records := read(t, o, "hh/W1")
			found := 0
			for i, r := range records {
				if r.N != uint64(i+1) || r.G != 2 {
					t.Fatalf("record %d has n %d, g %d", i, r.N, r.G)
				}
				if bytes.Contains(r.Body, []byte(`"salvaged":{"g":1,"n":`)) {
					found++
				}
			}
			told, unknown := 0, false
			for _, g := range read(t, o, message.GapStream) {
				var gap struct {
					Stream, Why string
					Count       int
				}
				if err := json.Unmarshal(g.Body, &gap); err != nil {
					t.Fatal(err)
				}
				if gap.Why != "STORE_REPLACED" {
					t.Errorf("gap: %s", g.Body)
				}
				told += gap.Count
				unknown = unknown || gap.Stream == "*"
			}
			if unknown {
				told = max(told, 500-found)
			}
			if found < tt.least || found+told != 500 || len(records) != found+1 {
				t.Errorf("%d records carried over and %d told of, of 500; %d in all", found, told, len(records))
			}
		})
	}
}
