package bench

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func rec(stream string, g, n int, more string) string {
	return fmt.Sprintf(`{"v":1,"agent":"A","way":"W1","s":%q,"g":%d,"n":%d%s}`, stream, g, n, more)
}

func hh(n, period int) string {
	at := time.Date(2026, 11, 24, 17, 0, 10*period, 0, time.UTC)
	return rec("hh/W1", 1, n, fmt.Sprintf(`,"start":%q,"end":%q`, at.Format(time.RFC3339), at.Add(10*time.Second).Format(time.RFC3339)))
}

func TestLedger(t *testing.T) {
	type counts struct{ records, lost, duplicates, conflicts, disorder, explained, holes, garbled int }
	tests := []struct {
		name string
		in   []string
		want counts
	}{
		{"nothing", nil, counts{}},
		{"one after the other", []string{hh(1, 0), hh(2, 1), hh(3, 2)}, counts{records: 3}},
		{"one lost in the middle", []string{hh(1, 0), hh(3, 2)}, counts{records: 2, lost: 1, holes: 1}},
		{"the first lost", []string{hh(2, 1), hh(3, 2)}, counts{records: 2, lost: 1}},
		{"again after a reconnect", []string{hh(1, 0), hh(2, 1), hh(1, 0), hh(2, 1), hh(3, 2)}, counts{records: 3, duplicates: 2}},
		{"again with another content", []string{hh(1, 0), hh(1, 1)}, counts{records: 1, duplicates: 1, conflicts: 1}},
		{"late one", []string{hh(1, 0), hh(3, 2), hh(2, 1)}, counts{records: 3, disorder: 1}},
		{"an array of history", []string{" [" + hh(1, 0) + "," + hh(2, 1) + "]"}, counts{records: 2}},
		{"a period without record", []string{hh(1, 0), hh(2, 2)}, counts{records: 2, holes: 1}},
		{"another generation counts anew", []string{rec("live/W1", 1, 1, ""), rec("live/W1", 2, 1, "")}, counts{records: 2}},
		{"another stream counts apart", []string{rec("live/W1", 1, 1, ""), rec("live/W2", 1, 2, "")}, counts{records: 2, lost: 1}},
		{
			"a gap explains what it names",
			[]string{rec("live/W1", 1, 5, ""), rec("gap", 1, 1, `,"stream":"live/W1","from":2,"to":3,"count":2,"why":"QUOTA"`)},
			counts{records: 2, lost: 2, explained: 2},
		},
		{
			"a gap of another generation explains nothing",
			[]string{rec("live/W1", 2, 3, ""), rec("gap", 1, 1, `,"stream":"live/W1","from":1,"to":2,"count":2,"why":"QUOTA"`)},
			counts{records: 2, lost: 2},
		},
		{"a neutral current, N, beside the number, n", []string{rec("hh/W1", 1, 1, `,"T":{"s":1},"N":{"i":{"rms":61.2},"derived":false}`)}, counts{records: 1}},
		{"not JSON", []string{"{", "[{]"}, counts{garbled: 2}},
		{"no number", []string{`{"s":"hh/W1","n":0}`}, counts{garbled: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLedger()
			for _, m := range tt.in {
				_, _ = l.Add([]byte(m)) // counted as garbled
			}
			got := counts{records: l.Records, duplicates: l.Duplicates, conflicts: l.Conflicts, disorder: l.Disorder, holes: l.Holes(), garbled: l.Garbled}
			got.lost, got.explained = l.Lost()
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// Whatever is left out and whatever comes twice, records and lost ones add up
// to the highest number.
func TestLedgerAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOfN(rapid.IntRange(1, 40), 1, 60).Draw(t, "numbers")
		l := NewLedger()
		highest := 0
		for _, n := range numbers {
			if _, err := l.Add([]byte(hh(n, n))); err != nil {
				t.Fatal(err)
			}
			highest = max(highest, n)
		}
		lost, _ := l.Lost()
		if l.Records+lost != highest || l.Records+l.Duplicates != len(numbers) {
			t.Fatalf("%d records, %d lost, %d again; highest %d, sent %d", l.Records, lost, l.Duplicates, highest, len(numbers))
		}
	})
}

func TestLedgerCountsAlarms(t *testing.T) {
	l := NewLedger()
	for i, edge := range []string{"raise", "clear", "raise"} {
		if _, err := l.Add([]byte(rec("alarm/W1", 1, i+1, fmt.Sprintf(`,"id":"W1.L1.i.hi","edge":%q`, edge)))); err != nil {
			t.Fatal(err)
		}
	}
	if l.Raised != 2 || l.Cleared != 1 {
		t.Errorf("raised %d, cleared %d, want 2 and 1", l.Raised, l.Cleared)
	}
}
