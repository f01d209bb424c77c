package buffer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

var (
	errBefore = errors.New("disk failed before the commit")
	errAfter  = errors.New("disk failed after the commit")
)

// model is what a store should hold, in plain maps.
type model struct {
	t     *rapid.T
	dir   string
	path  string
	opt   Options
	s     *Store
	files int

	next    map[string]uint64
	acked   map[string]uint64
	records map[string]map[uint64]Entry // what must be stored
	full    bool                        // the disk was full: acknowledged records may go
	below   int                         // rank of what the full disk has to store
	state   map[string]string
	minute  int
	dropped uint64
}

func (m *model) open() {
	s, r, err := OpenOrReplace(m.path, m.opt, noon)
	if err != nil || r != nil {
		m.t.Fatalf("open: %+v, %v", r, err)
	}
	m.s = s
}

// batch draws something to commit.
func (m *model) batch() Batch {
	streams := []string{"alarm/W1", "live/W1", "live/W2", "hh/W1", "hh/W2"}
	classes := []Class{alarms, live, live, hours, hours}
	b := Batch{At: noon}
	for range rapid.IntRange(0, 6).Draw(m.t, "appends") {
		i := rapid.IntRange(0, len(streams)-1).Draw(m.t, "stream")
		m.minute++
		size := rapid.SampledFrom([]int{0, 1, 10, 40, 300}).Draw(m.t, "size")
		b.Append = append(b.Append, entry(streams[i], classes[i], m.minute, string(make([]byte, size))))
	}
	for range rapid.IntRange(0, 2).Draw(m.t, "acks") {
		name := rapid.SampledFrom(append(streams, "gap", "nobody")).Draw(m.t, "ack of")
		b.Ack = append(b.Ack, Ack{name, uint64(rapid.IntRange(0, int(m.next[name])+2).Draw(m.t, "to"))})
	}
	for range rapid.IntRange(0, 2).Draw(m.t, "puts") {
		p := Put{Key: rapid.SampledFrom([]string{"a", "b"}).Draw(m.t, "key")}
		if rapid.Bool().Draw(m.t, "set") {
			p.Value = []byte(fmt.Sprint(m.minute))
		}
		b.Put = append(b.Put, p)
	}
	return b
}

// commit commits, and does the same to the maps. What was dropped it learns from
// the store, and holds against the rules.
func (m *model) commit(b Batch) {
	if err := m.s.Commit(b); err != nil {
		m.t.Fatalf("commit: %v", err)
	}
	m.committed(b)
}

func (m *model) committed(b Batch) {
	for _, p := range b.Put {
		if p.Value == nil {
			delete(m.state, p.Key)
		} else {
			m.state[p.Key] = string(p.Value)
		}
	}
	for _, a := range b.Ack {
		m.acked[a.Stream] = max(m.acked[a.Stream], min(a.N, max(m.next[a.Stream], 1)-1))
		maps.DeleteFunc(m.records[a.Stream], func(n uint64, e Entry) bool {
			return n <= m.acked[a.Stream] && m.opt.Classes[e.Class].Keep == 0
		})
	}
	for _, e := range b.Append {
		m.append(e)
	}
	// The records that tell are at the end of their stream.
	var drops []Gap
	told, err := m.s.Read("gap", max(1, m.next["gap"]), nil, 1000)
	if err != nil {
		m.t.Fatalf("read gap: %v", err)
	}
	for _, r := range told {
		var g Gap
		if err := json.Unmarshal(r.Body, &g); err != nil {
			m.t.Fatalf("gap %d: %v", r.N, err)
		}
		if r.N != max(1, m.next["gap"]) {
			m.t.Fatalf("gap %d: want %d", r.N, max(1, m.next["gap"]))
		}
		m.append(r.Entry)
		drops = append(drops, g)
	}
	m.drop(drops)
}

func (m *model) append(e Entry) {
	if m.next[e.Stream] == 0 {
		m.next[e.Stream] = 1
		m.records[e.Stream] = map[uint64]Entry{}
	}
	m.records[e.Stream][m.next[e.Stream]] = e
	m.next[e.Stream]++
}

// drop takes out what the store said it dropped, and asks whether that was there,
// needed, and told once.
func (m *model) drop(drops []Gap) {
	seen := map[string]bool{}
	needed := m.over() != nil
	m.forget(func(stream string, n uint64) bool { return needed || m.full })
	for _, g := range drops {
		switch full := g.Why == WhyFull; {
		case full && !m.full:
			m.t.Fatalf("%+v was dropped, but the disk was not full", g)
		case full && m.opt.Classes[state(m.s, g.Stream).Class].DropRank >= m.below:
			m.t.Fatalf("%+v was dropped for what matters no more", g)
		case !full && !needed:
			m.t.Fatalf("%+v was dropped, but no limit was passed", g)
		case !m.full && seen[g.Stream]: // on a full disk room is made step by step
			m.t.Fatalf("two records tell of %s", g.Stream)
		}
		seen[g.Stream] = true
		for n := g.From; n <= g.To; n++ {
			e, ok := m.records[g.Stream][n]
			if !ok {
				m.t.Fatalf("%+v tells of %d, which was not there", g, n)
			}
			if n <= m.acked[g.Stream] {
				m.t.Fatalf("%+v tells of %d, which was acknowledged", g, n)
			}
			if e.At.Before(g.Since) || e.At.After(g.Until) {
				m.t.Fatalf("%+v tells of %d, which is of %v", g, n, e.At)
			}
			delete(m.records[g.Stream], n)
			m.dropped++
		}
	}
}

// forget takes out acknowledged records that the store has no more. May says
// whether it was allowed to.
func (m *model) forget(may func(stream string, n uint64) bool) {
	for _, st := range m.s.Streams(nil) {
		for n := range m.records[st.Name] {
			if n < st.First && n <= m.acked[st.Name] {
				if !may(st.Name, n) {
					m.t.Fatalf("%s %d was acknowledged and is gone without need", st.Name, n)
				}
				delete(m.records[st.Name], n)
			}
		}
	}
}

// tidy does the same to the maps that Tidy does.
func (m *model) tidy(at time.Time) {
	expired := func(e Entry) bool { return e.At.Before(at.Add(-m.opt.Classes[e.Class].Keep)) }
	for more := true; more; {
		var err error
		if more, err = m.s.Tidy(at); err != nil && !errors.Is(err, errBefore) {
			m.t.Fatalf("tidy: %v", err)
		}
	}
	m.forget(func(stream string, n uint64) bool { return expired(m.records[stream][n]) || m.full })
}

// over says, by the maps, whether a limit is passed that a class is under; it is
// nil if none is.
func (m *model) over() func(Class) bool {
	records := make([]int, len(m.opt.Classes))
	var all int64
	for _, rs := range m.records {
		for _, e := range rs {
			records[e.Class]++
			all += int64(len(e.Body))
		}
	}
	classOver := func(c Class) bool {
		l := m.opt.Classes[c].MaxRecords
		return all > m.opt.MaxBytes || l > 0 && records[c] > l
	}
	for c := range m.opt.Classes {
		if classOver(Class(c)) {
			return classOver
		}
	}
	return nil
}

// check compares store and maps.
func (m *model) check() {
	checkStore(m.t, m.s)
	for _, st := range m.s.Streams(nil) {
		if st.Next != m.next[st.Name] || st.Count != len(m.records[st.Name]) || st.Acked != max(m.acked[st.Name], st.First-1) {
			m.t.Fatalf("%s is %+v, want next %d, acknowledged %d and %d records", st.Name, st, m.next[st.Name], m.acked[st.Name], len(m.records[st.Name]))
		}
		from := uint64(rapid.IntRange(0, int(st.Next)+1).Draw(m.t, "from"))
		most := rapid.IntRange(0, 5).Draw(m.t, "most")
		got, err := m.s.Read(st.Name, from, nil, most)
		if err != nil {
			m.t.Fatalf("read: %v", err)
		}
		want := slices.Sorted(maps.Keys(m.records[st.Name]))
		want = slices.DeleteFunc(want, func(n uint64) bool { return n < from })
		want = want[:min(len(want), most)]
		if len(got) != len(want) {
			m.t.Fatalf("%s from %d: %d records, want %v", st.Name, from, len(got), want)
		}
		for i, r := range got {
			e := m.records[st.Name][r.N]
			if r.N != want[i] || string(r.Body) != string(e.Body) || !r.At.Equal(e.At) || r.G != 1 {
				m.t.Fatalf("%s: got %+v, want %d %+v", st.Name, r, want[i], e)
			}
		}
	}
	for _, key := range []string{"a", "b"} {
		got, err := m.s.Get(key)
		if want, ok := m.state[key]; err != nil || string(got) != want || (got != nil) != ok {
			m.t.Fatalf("Get(%s) = %q, %v, want %q", key, got, err, want)
		}
	}
	// Only records that tell may be over a limit, and only those of the last commit.
	if over := m.over(); over != nil {
		for name, rs := range m.records {
			if name != "gap" && len(rs) > 0 && over(state(m.s, name).Class) {
				m.t.Fatalf("%s has records left, with its class or all over the limit", name)
			}
		}
	}
}

// crash copies the files as they are now, as if the machine had died, and goes on
// with the copy.
func (m *model) crash() {
	m.files++
	to := filepath.Join(m.dir, fmt.Sprint("queue", m.files, ".db"))
	for _, suffix := range []string{"", generationSuffix} {
		file, err := os.ReadFile(m.path + suffix)
		if err == nil {
			err = os.WriteFile(to+suffix, file, 0o600)
		}
		if err != nil {
			m.t.Fatalf("copy: %v", err)
		}
	}
	copySegments(m.t, m.path, to)
	closeAndCheck(m.t, m.s)
	m.path = to
	m.open()
}

func copySegments(t fataler, from, to string) {
	t.Helper()
	if err := os.RemoveAll(segmentsOf(to)); err != nil {
		t.Fatalf("copy: %v", err)
	}
	if _, err := os.Stat(segmentsOf(from)); err != nil {
		return
	}
	if err := os.CopyFS(segmentsOf(to), os.DirFS(segmentsOf(from))); err != nil {
		t.Fatalf("copy: %v", err)
	}
}

// failAt returns a fault that fails step n, counted from 0, and no other.
func failAt(n int, err error) func(string) error {
	return func(string) error {
		if n--; n == -1 {
			return err
		}
		return nil
	}
}

func TestModel(t *testing.T) {
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		opt := testOptions()
		opt.Classes[alarms].MaxRecords = rapid.SampledFrom([]int{0, 3}).Draw(t, "alarms")
		opt.Classes[live].MaxRecords = rapid.SampledFrom([]int{0, 1, 7, 40}).Draw(t, "live")
		opt.Classes[hours].MaxRecords = rapid.SampledFrom([]int{0, 5}).Draw(t, "hours")
		opt.Classes[gaps].MaxRecords = rapid.SampledFrom([]int{5, 30}).Draw(t, "gaps")
		opt.MaxBytes = rapid.SampledFrom([]int64{800, 5000, 100_000}).Draw(t, "octets")
		opt.Chunk = rapid.SampledFrom([]int64{1, 100, 1000}).Draw(t, "chunk")
		for c := range opt.Classes {
			opt.Classes[c].Keep = rapid.SampledFrom([]time.Duration{0, 10 * time.Minute, time.Hour}).Draw(t, "keep")
		}
		m := &model{
			t: t, dir: dir, opt: opt, path: filepath.Join(dir, fmt.Sprint("run", run, ".db")),
			next: map[string]uint64{}, acked: map[string]uint64{}, records: map[string]map[uint64]Entry{}, state: map[string]string{},
		}
		m.files = run * 1000
		m.open()
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(*rapid.T) { m.commit(m.batch()) },
			"commit that fails, then again": func(*rapid.T) {
				b := m.batch()
				m.s.commitTx = func(tx *bolt.Tx) error { return errors.Join(errBefore, tx.Rollback()) }
				err := m.s.Commit(b)
				if m.s.commitTx = (*bolt.Tx).Commit; err != nil && !errors.Is(err, errBefore) {
					m.t.Fatalf("commit: %v", err)
				}
				m.check()
				m.commit(b)
			},
			"commit that lands with an error": func(*rapid.T) {
				fail := true
				m.s.commitTx = func(tx *bolt.Tx) error {
					err := tx.Commit()
					if fail {
						fail = false
						err = errors.Join(err, errAfter)
					}
					return err
				}
				m.commit(m.batch())
				m.s.commitTx = (*bolt.Tx).Commit
			},
			"tidy": func(*rapid.T) {
				m.tidy(noon.Add(time.Duration(m.minute+rapid.IntRange(0, 90).Draw(m.t, "later")) * time.Minute))
			},
			"tidy that fails": func(*rapid.T) {
				m.s.fault = failAt(rapid.IntRange(0, 8).Draw(m.t, "step"), errBefore)
				m.tidy(noon.Add(time.Duration(m.minute) * time.Minute))
				m.s.fault = nil
			},
			"commit on a full disk": func(t *rapid.T) {
				if opt.Classes[gaps].MaxRecords < 30 || opt.MaxBytes < 100_000 || state(m.s, "gap").Count > 15 {
					t.Skip("records that tell would have to go, and the model learns from them")
				}
				left := rapid.IntRange(1, 3).Draw(m.t, "times")
				m.s.commitTx = func(tx *bolt.Tx) error {
					if left--; left >= 0 {
						return errors.Join(syscall.ENOSPC, tx.Rollback())
					}
					return tx.Commit()
				}
				b := m.batch()
				m.full, m.below = true, m.s.least(&b)
				err := m.s.Commit(b)
				m.s.commitTx = (*bolt.Tx).Commit
				if err != nil && !errors.Is(err, syscall.ENOSPC) {
					m.t.Fatalf("commit: %v", err)
				}
				if err != nil { // nothing of it is stored
					m.commit(b)
				} else {
					m.committed(b)
				}
				m.full = false
			},
			"open again": func(*rapid.T) {
				closeAndCheck(m.t, m.s)
				m.open()
			},
			"crash": func(*rapid.T) { m.crash() },
			"":      func(*rapid.T) { m.check() },
		})
		closeAndCheck(t, m.s)
	})
}
