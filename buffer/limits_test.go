package buffer

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// left lists what a store holds, as "stream first-last".
func left(s *Store) (all []string) {
	for _, st := range s.Streams(nil) {
		if st.Count > 0 {
			all = append(all, fmt.Sprintf("%s %d-%d", st.Name, st.First, st.Next-1))
		}
	}
	return all
}

// told lists the gaps that the store's own records tell of, as "stream from-to".
func told(t *testing.T, s *Store) (all []string) {
	t.Helper()
	for _, r := range mustRead(t, s, "gap", 1, 1000) {
		var g Gap
		if err := json.Unmarshal(r.Body, &g); err != nil {
			t.Fatal(err)
		}
		if g.Count != int(g.To-g.From+1) || g.Why != WhyQuota || !g.At.Equal(noon) {
			t.Errorf("gap %+v: want its count, why %s and the batch's time", g, WhyQuota)
		}
		all = append(all, fmt.Sprintf("%s %d-%d", g.Stream, g.From, g.To))
	}
	return all
}

func TestLimits(t *testing.T) {
	ten := strings.Repeat("x", 10)
	// Live readings of two ways, taken in turn at minutes 0 to 7.
	var turns []Entry
	for i := range 8 {
		turns = append(turns, entry(fmt.Sprint("live/W", i%2), live, i, ten))
	}
	mixed := append([]Entry{entry("alarm", alarms, 0, ten), entry("hh", hours, 1, strings.Repeat("x", 150))}, turns...)
	tests := []struct {
		name   string
		limit  func(*Options)
		append []Entry
		left   []string
		told   []string
	}{
		{"exactly at a limit of records", func(o *Options) { o.Classes[live].MaxRecords = 8 }, turns,
			[]string{"live/W0 1-4", "live/W1 1-4"}, nil},
		{"one record over", func(o *Options) { o.Classes[live].MaxRecords = 7 }, turns,
			[]string{"live/W0 2-4", "live/W1 1-4", "gap 1-1"}, []string{"live/W0 1-1"}},
		{"three over: the oldest of the class, over its streams", func(o *Options) { o.Classes[live].MaxRecords = 5 }, turns,
			[]string{"live/W0 3-4", "live/W1 2-4", "gap 1-2"}, []string{"live/W0 1-2", "live/W1 1-1"}},
		{"exactly at a limit of octets", func(o *Options) { o.Classes[live].MaxBytes = 80 }, turns,
			[]string{"live/W0 1-4", "live/W1 1-4"}, nil},
		{"one octet over", func(o *Options) { o.Classes[live].MaxBytes = 79 }, turns,
			[]string{"live/W0 2-4", "live/W1 1-4", "gap 1-1"}, []string{"live/W0 1-1"}},
		{"a limit of another class", func(o *Options) { o.Classes[hours].MaxRecords = 1 }, turns,
			[]string{"live/W0 1-4", "live/W1 1-4"}, nil},
		{"an old record stays behind a newer one of its stream", func(o *Options) { o.Classes[live].MaxRecords = 2 },
			[]Entry{entry("a", live, 5, ten), entry("a", live, 0, ten), entry("b", live, 3, ten)},
			[]string{"a 1-2", "gap 1-1"}, []string{"b 1-1"}},
		{"a record larger than its limit", func(o *Options) { o.Classes[live].MaxBytes = 9 },
			[]Entry{entry("a", live, 0, ten)}, []string{"gap 1-1"}, []string{"a 1-1"}},
		{"all together exactly at the limit", func(o *Options) { o.MaxBytes = 240 }, mixed,
			[]string{"alarm 1-1", "hh 1-1", "live/W0 1-4", "live/W1 1-4"}, nil},
		{"one octet over: the lowest rank goes first, whatever its age", func(o *Options) { o.MaxBytes = 239 }, mixed,
			[]string{"alarm 1-1", "hh 1-1", "live/W0 2-4", "live/W1 2-4", "gap 1-2"}, nil},
		{"far over: the next rank when the lowest is empty", func(o *Options) { o.MaxBytes = 100 }, mixed,
			[]string{"alarm 1-1", "gap 1-3"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := testOptions()
			tt.limit(&o)
			if o.MaxBytes > 0 {
				// Bodies that tell are 5 octets here, so that the sums can be followed.
				o.Tell = func(g Gap) Entry { return Entry{Stream: "gap", Class: gaps, At: g.At, Body: []byte("-gap-")} }
			}
			s := mustOpen(t, storePath(t), o)
			mustCommit(t, s, Batch{Append: tt.append, At: noon})
			if o.MaxBytes > 0 {
				if got := s.Stats().Bytes; got > o.MaxBytes {
					t.Errorf("%d octets, limit %d", got, o.MaxBytes)
				}
			} else if got := told(t, s); !reflect.DeepEqual(got, tt.told) {
				t.Errorf("told of %v, want %v", got, tt.told)
			}
			if got := left(s); !reflect.DeepEqual(got, tt.left) {
				t.Errorf("left %v, want %v", got, tt.left)
			}
		})
	}
}

func TestSlackMakesOneGapOfManyDrops(t *testing.T) {
	o := testOptions()
	o.Classes[live].MaxRecords = 64
	s := mustOpen(t, storePath(t), o)
	for i := range 64 + 20 {
		mustCommit(t, s, Batch{Append: []Entry{entry("live", live, i, "x")}, At: noon})
	}
	// 20 too many: each drop makes room for 2 beyond need.
	if got := state(s, "gap").Count; got != 7 {
		t.Errorf("%d records tell of 20 drops, want 7", got)
	}
	if got := state(s, "live"); got.Count < 62 || got.Count > 64 {
		t.Errorf("live = %+v, want 62 to 64 records", got)
	}
	if st := s.Stats(); st.Dropped != state(s, "live").First-1 {
		t.Errorf("stats count %d drops, want %d", st.Dropped, state(s, "live").First-1)
	}
}

// A class full of records that tell of drops loses some too, and tells of that.
func TestGapsOfGaps(t *testing.T) {
	o := testOptions()
	o.Classes[live].MaxRecords = 1
	o.Classes[gaps].MaxRecords = 4
	s := mustOpen(t, storePath(t), o)
	for i := range 200 {
		mustCommit(t, s, Batch{Append: []Entry{entry("live", live, i, "x")}, At: noon})
		if st := state(s, "gap"); st.Count > 4 {
			t.Fatalf("commit %d: gap = %+v, limit 4", i, st)
		}
	}
	// Every number that is gone is either told of by a record still there, or
	// was told of by one which a record still there tells of.
	var gapsTold [][2]uint64
	for _, r := range mustRead(t, s, "gap", 1, 100) {
		var g Gap
		if err := json.Unmarshal(r.Body, &g); err != nil {
			t.Fatal(err)
		}
		if g.Stream == "gap" {
			gapsTold = append(gapsTold, [2]uint64{g.From, g.To})
		}
	}
	st := state(s, "gap")
	if len(gapsTold) == 0 || gapsTold[len(gapsTold)-1][1] != st.First-1 {
		t.Errorf("gap = %+v, told of %v: the newest run must end at First-1", st, gapsTold)
	}
}

func TestRecordsThatTellGoLast(t *testing.T) {
	o := testOptions()
	o.Classes[live].MaxRecords = 1
	o.Tell = func(g Gap) Entry { // in the class that is full
		e := tellJSON(g)
		e.Class = live
		return e
	}
	path := storePath(t)
	s := mustOpen(t, path, o)
	mustCommit(t, s, Batch{Append: []Entry{entry("live", live, 0, "x"), entry("live", live, 1, "y")}, At: noon})
	if got, want := left(s), []string{"gap 1-1"}; !reflect.DeepEqual(got, want) {
		t.Fatalf("left %v, want %v", got, want)
	}
	// Also after opening again, the store knows which stream tells.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.Classes[live].MaxRecords = 3
	s = mustOpen(t, path, o)
	mustCommit(t, s, Batch{Append: []Entry{
		entry("live", live, 60, "x"), entry("live", live, 61, "y"), entry("live", live, 62, "z"),
	}, At: noon})
	if got, want := left(s), []string{"live 5-5", "gap 1-2"}; !reflect.DeepEqual(got, want) {
		t.Errorf("left %v, want %v: the record that tells is the oldest but must stay", got, want)
	}
}

// A record that tells of more may be larger; the limit holds all the same.
func TestRecordsThatTellGrow(t *testing.T) {
	o := testOptions()
	o.MaxBytes = 100
	o.Tell = func(g Gap) Entry {
		return Entry{Stream: "gap", Class: gaps, At: g.At, Body: make([]byte, 4*g.Count)}
	}
	s := mustOpen(t, storePath(t), o)
	var b Batch
	for i := range 20 {
		b.Append = append(b.Append, entry("live", live, i, strings.Repeat("x", 10)))
	}
	mustCommit(t, s, b)
	if st := s.Stats(); st.Bytes > 100 || state(s, "live").Count == 0 {
		t.Errorf("stats = %+v, live = %+v, want at most 100 octets and some records left", st, state(s, "live"))
	}
}

func TestAStreamThatMovesCountsInItsNewClass(t *testing.T) {
	o := testOptions()
	o.Classes[live].MaxRecords = 5
	o.Classes[hours].MaxRecords = 4
	s := mustOpen(t, storePath(t), o)
	for i := range 4 {
		mustCommit(t, s, Batch{Append: []Entry{entry("x", live, i, "x")}})
	}
	mustCommit(t, s, Batch{Append: []Entry{
		entry("x", hours, 4, "x"), entry("y", live, 5, "y"), entry("y", live, 6, "y"), entry("y", live, 7, "y"),
	}, At: noon})
	if got, want := left(s), []string{"x 2-5", "y 1-3", "gap 1-1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("left %v, want %v", got, want)
	}
}

func TestWithoutTellDropsAreCounted(t *testing.T) {
	o := testOptions()
	o.Tell = nil
	o.Classes[live].MaxRecords = 3
	s := mustOpen(t, storePath(t), o)
	for i := range 10 {
		mustCommit(t, s, Batch{Append: []Entry{entry("live", live, i, "x")}})
	}
	if st := s.Stats(); st.Dropped != 7 || st.Records != 3 {
		t.Errorf("stats = %+v, want 7 dropped, 3 left", st)
	}
}

func TestALimitMadeSmallerHoldsAfterTheNextCommit(t *testing.T) {
	path := storePath(t)
	s := mustOpen(t, path, testOptions())
	for i := range 20 {
		mustCommit(t, s, Batch{Append: []Entry{entry("live", live, i, "x")}})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o := testOptions()
	o.Classes[live].MaxRecords = 5
	s = mustOpen(t, path, o)
	mustCommit(t, s, Batch{Append: []Entry{entry("hh", hours, 20, "x")}, At: noon})
	if st := state(s, "live"); st.First != 16 || st.Count != 5 {
		t.Errorf("live = %+v, want the newest 5", st)
	}
	if got, want := told(t, s), []string{"live 1-15"}; !reflect.DeepEqual(got, want) {
		t.Errorf("told of %v, want %v", got, want)
	}
}

func TestBadTell(t *testing.T) {
	o := testOptions()
	o.Classes[live].MaxRecords = 1
	o.Tell = func(Gap) Entry { return Entry{} }
	s := mustOpen(t, storePath(t), o)
	mustCommit(t, s, Batch{Append: []Entry{entry("live", live, 0, "x")}})
	if err := s.Commit(Batch{Append: []Entry{entry("live", live, 1, "x")}}); err == nil {
		t.Error("a drop that cannot be told was made")
	}
	s.opt.Tell = func(Gap) Entry { panic("our own bug") }
	func() {
		defer func() {
			if p := recover(); p != "our own bug" {
				t.Errorf("panic = %v, want that of Tell", p)
			}
		}()
		s.Commit(Batch{Append: []Entry{entry("live", live, 1, "x")}})
	}()
	s.opt.Tell = tellJSON
	if got, want := left(s), []string{"live 1-1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("left %v, want %v", got, want)
	}
	mustCommit(t, s, Batch{Append: []Entry{entry("live", live, 1, "x")}, At: noon})
	if got, want := left(s), []string{"live 2-2", "gap 1-1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("left %v, want %v", got, want)
	}
}
