package buffer

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

const childCrash = "BUFFER_TEST_CRASH"

// TestKilledWhileCommitting kills a process that commits, at random moments, and
// looks whether everything it was told to be on disk is there. This proves the
// order of writes against the death of the process, not of the machine.
func TestKilledWhileCommitting(t *testing.T) {
	if path := os.Getenv(childCrash); path != "" {
		commitForEver(t, path)
		return
	}
	path := storePath(t)
	dice := rand.New(rand.NewPCG(1, 2))
	var taken uint64 // acknowledged, as reported
	next := map[string]uint64{}
	for round := range 20 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilledWhileCommitting$")
		child.Env = append(os.Environ(), childCrash+"="+path)
		child.Stderr = os.Stderr
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(stdout)
		after := dice.IntN(12) // commits until the kill
		reported := 0
		for killed := false; ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				break // the last line may be cut short
			}
			f := strings.Fields(line)
			if len(f) != 4 || f[0] != "committed" {
				t.Fatalf("round %d: child says %q", round, line)
			}
			next["a"], next["b"], taken = number(t, f[1]), number(t, f[2]), number(t, f[3])
			reported++
			if reported > after && !killed {
				killed = true
				time.AfterFunc(time.Duration(dice.IntN(3000))*time.Microsecond, func() { child.Process.Kill() })
			}
		}
		child.Wait()

		s, r, err := OpenOrReplace(path, crashOptions(), noon)
		if err != nil || r != nil {
			t.Fatalf("round %d: open: %+v, %v", round, r, err)
		}
		var total uint64
		for _, name := range []string{"a", "b"} {
			st := state(s, name)
			if st.Next < next[name] {
				t.Errorf("round %d: %s goes up to %d, but %d was reported", round, name, st.Next-1, next[name]-1)
			}
			if name == "a" && st.First <= taken {
				t.Errorf("round %d: %+v, but %d was reported as taken", round, st, taken)
			}
			total += st.Next - 1
		}
		for _, rec := range mustRead(t, s, "a", 0, 1000) {
			if want := fmt.Sprint("a ", rec.N, strings.Repeat(".", 500)); string(rec.Body) != want {
				t.Errorf("round %d: record %d holds %.20q", round, rec.N, rec.Body)
			}
		}
		// State and records of one batch are there together.
		if got, err := s.Get("total"); err != nil || number(t, string(got)) != total {
			t.Errorf("round %d: total is %q, %v, but there are %d records", round, got, err, total)
		}
		closeAndCheck(t, s)
	}
	if next["a"] < 100 {
		t.Errorf("the children committed %d records in all: too few to say anything", next["a"])
	}
}

func number(t *testing.T, text string) uint64 {
	t.Helper()
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func crashOptions() Options {
	o := testOptions()
	o.NoSync = false
	o.Classes[live].MaxRecords = 60
	return o
}

// commitForEver is the child: it appends, acknowledges and puts, and says what
// Commit has returned for.
func commitForEver(t *testing.T, path string) {
	s, err := Open(path, crashOptions())
	if err != nil {
		t.Fatal(err)
	}
	for {
		a, b := state(s, "a"), state(s, "b")
		a.Next, b.Next = max(a.Next, 1), max(b.Next, 1)
		batch := Batch{At: noon}
		for i := range a.Next%3 + 1 {
			batch.Append = append(batch.Append, entry("a", hours, int(a.Next+i), fmt.Sprint("a ", a.Next+i, strings.Repeat(".", 500))))
		}
		for i := range b.Next%2 + 1 {
			batch.Append = append(batch.Append, entry("b", live, int(b.Next+i), strings.Repeat("b", 5000)))
		}
		if a.Count > 50 {
			batch.Ack = []Ack{{"a", a.First + 30}}
		}
		total := a.Next + b.Next - 2 + uint64(len(batch.Append))
		batch.Put = []Put{{"total", fmt.Append(nil, total)}}
		if err := s.Commit(batch); err != nil {
			t.Fatal(err)
		}
		a, b = state(s, "a"), state(s, "b")
		fmt.Println("committed", a.Next, b.Next, a.First-1)
	}
}
