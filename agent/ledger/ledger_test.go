package ledger

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"lvagent/agent/message"
)

var t0 = time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)

func at(period int) time.Time { return t0.Add(time.Duration(period) * 30 * time.Minute) }

func TestReason(t *testing.T) {
	tests := []struct {
		name         string
		samples, bad int
		flags        []string
		want         Reason
		partial      bool
	}{
		{"a value", 1800, 0, nil, "", false},
		{"a value of part of the period", 900, 0, []string{"PARTIAL", "INVALID", "RESTART"}, "", true},
		{"a meter that did not answer", 0, 1800, []string{"NO_DATA", "COMM_LOSS"}, MeterOffline, false},
		{"a meter that answered nonsense", 0, 1800, []string{"NO_DATA"}, NotMeasured, false},
		{"a meter that was mute after a restart", 0, 900, []string{"NO_DATA", "COMM_LOSS", "RESTART"}, MeterOffline, false},
		{"an agent that did not run", 0, 0, []string{"NO_DATA", "RESTART"}, AgentDown, false},
		{"a first start", 0, 0, []string{"NO_DATA", "BOOT"}, AgentDown, false},
		{"a clock set forward", 0, 0, []string{"NO_DATA", "CLOCK_STEP"}, ClockStep, false},
		{"a clock that was not set", 0, 0, []string{"NO_DATA", "CLOCK_UNSYNCED"}, ClockUnsynced, false},
		{"no cause known", 0, 0, []string{"NO_DATA"}, NotMeasured, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := Head{Samples: tt.samples, Bad: tt.bad, Flags: tt.flags}
			if got := h.Reason(); got != tt.want || h.Partial() != tt.partial {
				t.Errorf("reason %q, partial %v, want %q, %v", got, h.Partial(), tt.want, tt.partial)
			}
		})
	}
}

func TestRead(t *testing.T) {
	h, err := Read([]byte(`{"way":"W1","start":"2026-11-24T17:00:00Z","end":"2026-11-24T17:30:00Z","rev":1,"coverage":0.5,"samples":9,"bad":1,"flags":["PARTIAL"],"N":{"i":1}}`))
	if err != nil || h.Way != "W1" || !h.Start.Equal(t0) || h.Rev != 1 || h.Coverage != 0.5 || h.Samples != 9 || h.Bad != 1 || len(h.Flags) != 1 {
		t.Errorf("head = %+v, %v", h, err)
	}
	for _, bad := range []string{"", "{}", `{"way":"W1"}`, `{"way":"W1","start":"2026-11-24T17:00:00Z","end":"2026-11-24T17:00:00Z"}`, `[1]`} {
		if _, err := Read([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestSlots(t *testing.T) {
	rec := func(period int, n uint64) Record {
		return Record{Head: Head{Way: "W1", Start: at(period), End: at(period + 1), Coverage: 1, Samples: 1}, N: n, G: 1, Acked: n <= 2}
	}
	span := Span{Way: "W1", From: t0, To: at(4), Period: 30 * time.Minute, Now: at(100), First: 1, OldestTime: at(1)}
	tests := []struct {
		name    string
		span    func(*Span)
		records []Record
		gaps    []Gap
		want    string // of each slot: state, reason, why
	}{
		{"all there", nil, []Record{rec(0, 1), rec(1, 2), rec(2, 3), rec(3, 4)}, nil,
			"[acknowledged  ] [acknowledged  ] [waiting  ] [waiting  ]"},
		{"one that was dropped, by when it was due", nil, []Record{rec(0, 1), rec(2, 3), rec(3, 4)}, []Gap{{From: 2, To: 2, Why: "QUOTA", Since: at(2), Until: at(2)}},
			"[acknowledged  ] [dropped DROPPED QUOTA] [waiting  ] [waiting  ]"},
		{"one that was torn, by its number", nil, []Record{rec(0, 1), rec(2, 3), rec(3, 4)}, []Gap{{From: 2, To: 2, Why: "TORN", T: at(9)}},
			"[acknowledged  ] [dropped DROPPED TORN] [waiting  ] [waiting  ]"},
		{"one that never got a number", nil, []Record{rec(0, 1), rec(2, 2), rec(3, 3)}, []Gap{{Why: "STORE_FAILED", T: at(9)}},
			"[acknowledged  ] [dropped DROPPED STORE_FAILED] [acknowledged  ] [waiting  ]"},
		{"a gap of other numbers", nil, []Record{rec(0, 11), rec(2, 12), rec(3, 13)}, []Gap{{From: 2, To: 2, Why: "TORN", T: at(9)}},
			"[waiting  ] [never NOT_MADE ] [waiting  ] [waiting  ]"},
		{"before the first record of all", func(s *Span) { s.OldestTime = at(3) }, []Record{rec(2, 1), rec(3, 2)}, nil,
			"[never BEFORE_START ] [never BEFORE_START ] [acknowledged  ] [acknowledged  ]"},
		{"before a store that replaced another", func(s *Span) { s.Successor, s.OldestTime = true, at(3) }, []Record{rec(2, 1), rec(3, 2)}, []Gap{{From: 5, To: 5, Why: "STORE_REPLACED", Since: at(2), Until: at(2)}},
			"[replaced STORE_REPLACED ] [dropped DROPPED STORE_REPLACED] [acknowledged  ] [acknowledged  ]"},
		{"before what is kept", func(s *Span) { s.First, s.OldestTime = 7, at(3) }, []Record{rec(2, 7), rec(3, 8)}, nil,
			"[retired  ] [retired  ] [waiting  ] [waiting  ]"},
		{"the agent does not run any more", nil, []Record{rec(0, 1), rec(1, 2)}, nil,
			"[acknowledged  ] [acknowledged  ] [never AGENT_DOWN ] [never AGENT_DOWN ]"},
		{"not over yet", func(s *Span) { s.Now = at(3).Add(59 * time.Second) }, []Record{rec(0, 1), rec(1, 2)}, nil,
			"[acknowledged  ] [acknowledged  ] [pending  ] [pending  ]"},
		{"a way without records", func(s *Span) { s.OldestTime = time.Time{} }, nil, nil,
			"[never BEFORE_START ] [never BEFORE_START ] [never BEFORE_START ] [never BEFORE_START ]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := span
			if tt.span != nil {
				tt.span(&s)
			}
			got := ""
			for _, slot := range Slots(s, tt.records, tt.gaps) {
				got += fmt.Sprintf(" [%s %s %s]", slot.State, slot.Reason, slot.Why)
			}
			if got != " "+tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// The highest revision of a period counts.
func TestSlotsTakeTheHighestRevision(t *testing.T) {
	records := []Record{
		{Head: Head{Start: t0, End: at(1), Rev: 1}, N: 2},
		{Head: Head{Start: t0, End: at(1), Flags: []string{"NO_DATA"}}, N: 1},
	}
	got := Slots(Span{From: t0, To: at(1), Period: 30 * time.Minute, Now: at(9)}, records, nil)
	if len(got) != 1 || got[0].N != 2 || got[0].Reason != "" {
		t.Errorf("got %+v, want record 2", got)
	}
}

func TestSum(t *testing.T) {
	body := []byte(`{"way":"W1","start":"2026-11-24T17:00:00Z","end":"2026-11-24T17:30:00Z","flags":["PARTIAL"]}`)
	s := NewSum("W1", "hh/W1", t0, t0.Add(24*time.Hour))
	s.Add(7, 1, body)
	s.Add(9, 1, []byte("rubbish"))
	d := s.Digest()
	published := string(message.Seal(nil, body, "hh/W1", 7, 1)) + "\n" + `{"g":1,"s":"hh/W1","n":9,"corrupt":true}` + "\n"
	if d.From != 7 || d.To != 9 || d.Count != 2 || d.Values != 1 || d.Partial != 1 || d.Hash != sha256.Sum256([]byte(published)) {
		t.Errorf("digest %+v, want 7 to 9, two records, one value, and the hash of %q", d, published)
	}
	if len(d.Reasons) != 1 || d.Reasons[0] != (message.ReasonCount{Reason: string(Unreadable), Count: 1}) {
		t.Errorf("reasons %v", d.Reasons)
	}
	if d := NewSum("W1", "hh/W1", t0, t0).Digest(); d.From != 0 || d.Count != 0 || d.Hash != sha256.Sum256(nil) {
		t.Errorf("digest of nothing: %+v", d)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"way":"W1","start":"2026-11-24T17:00:00Z","end":"2026-11-24T17:30:00Z","flags":["NO_DATA"],"n":1,"N":null}`))
	f.Add([]byte(`{"flags":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		h, err := Read(body)
		if err == nil && (h.Way == "" || !h.End.After(h.Start)) {
			t.Errorf("%q is %+v", body, h)
		}
		h.Reason()
		ReadGap(body)
	})
}
