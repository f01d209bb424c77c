package trial

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const before, after = "site: {id: A}\n", "site: {id: A, name: new}\n"

func site(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(file, []byte(before), 0o640); err != nil {
		t.Fatal(err)
	}
	return file
}

func open(t *testing.T, file string) *Bench {
	t.Helper()
	b, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func fine(string) error { return nil }

func begin(t *testing.T, b *Bench) {
	t.Helper()
	if err := b.Begin(Trial{ID: "c1", By: "ann", Within: time.Minute}, []byte(after), fine); err != nil {
		t.Fatal(err)
	}
}

// tidy says that nothing of a trial is left.
func tidy(t *testing.T, file string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "site.yaml" && e.Name() != "site.yaml.before" {
			t.Errorf("%s is left behind", e.Name())
		}
	}
}

func TestConfirmed(t *testing.T) {
	file := site(t)
	b := open(t, file)
	begin(t, b)
	if now, left, runs := b.Now(); !runs || now.From != Hash([]byte(before)) || now.To != Hash([]byte(after)) || left > time.Minute || left < 50*time.Second {
		t.Errorf("now %+v, %v, %v", now, left, runs)
	}
	if read(t, file) != before || read(t, b.Path()) != after {
		t.Error("the site file is touched before it is confirmed")
	}
	if err := b.Begin(Trial{}, []byte("x"), fine); !errors.Is(err, ErrRuns) {
		t.Errorf("a second trial: %v", err)
	}
	if err := b.Confirm("bob"); err != nil {
		t.Fatal(err)
	}
	if read(t, file) != after || read(t, b.Before()) != before {
		t.Errorf("site file %q, before %q", read(t, file), read(t, b.Before()))
	}
	if now, ended := b.Ended(); !ended || now.Outcome != Confirmed || now.EndedBy != "bob" {
		t.Errorf("ended %+v, %v", now, ended)
	}
	if err := b.RollBack(RolledBack, ""); !errors.Is(err, ErrNone) {
		t.Errorf("roll back what is confirmed: %v", err)
	}
	b = open(t, file) // it outlives a restart until it is told
	if now, ended := b.Ended(); !ended || now.Outcome != Confirmed {
		t.Errorf("ended %+v, %v after a restart", now, ended)
	}
	if err := b.Told(); err != nil {
		t.Fatal(err)
	}
	tidy(t, file)
}

func TestRolledBack(t *testing.T) {
	for _, how := range []Outcome{NotConfirmed, RolledBack, StartFailed, Restarted} {
		t.Run(string(how), func(t *testing.T) {
			file := site(t)
			b := open(t, file)
			begin(t, b)
			if how == Restarted {
				b = open(t, file)
			} else if err := b.RollBack(how, "ann"); err != nil {
				t.Fatal(err)
			}
			if err := b.Confirm(""); !errors.Is(err, ErrNone) {
				t.Errorf("confirm what is over: %v", err)
			}
			if now, ended := b.Ended(); !ended || now.Outcome != how || now.ID != "c1" {
				t.Errorf("ended %+v, %v", now, ended)
			}
			if err := b.Told(); err != nil {
				t.Fatal(err)
			}
			if read(t, file) != before {
				t.Errorf("site file %q", read(t, file))
			}
			tidy(t, file)
			begin(t, b) // and again
		})
	}
}

func TestRefused(t *testing.T) {
	file := site(t)
	b := open(t, file)
	no := errors.New("no")
	if err := b.Begin(Trial{}, []byte(after), func(string) error { return no }); !errors.Is(err, no) {
		t.Errorf("begin: %v", err)
	}
	if _, _, runs := b.Now(); runs {
		t.Error("what was refused is on trial")
	}
	tidy(t, file)
	if err := errors.Join(b.Confirm(""), b.RollBack(RolledBack, "")); !errors.Is(err, ErrNone) {
		t.Errorf("nothing is on trial: %v", err)
	}
}

// Whatever step fails, or is the last before the power goes, the site file is the
// old one or, once somebody confirms, the old or the new one, whole; and the next
// start knows which, and leaves nothing behind.
func TestEveryStep(t *testing.T) {
	killed := errors.New("killed")
	var steps []string
	for n := 0; ; n++ {
		file := site(t)
		b := open(t, file)
		left, hit := n, ""
		b.step = func(name string) error {
			if left--; left < 0 {
				if hit == "" {
					hit = name
				}
				return killed // and nothing after it happens
			}
			return nil
		}
		err := b.Begin(Trial{ID: "c1", Within: time.Minute}, []byte(after), fine)
		confirming := err == nil
		if confirming {
			err = b.Confirm("ann")
		}
		if confirmed := confirming && err == nil; confirmed && read(t, file) != after {
			t.Errorf("step %d %s: confirmed, and the site file is %q", n, hit, read(t, file))
		}
		if hit == "" {
			break
		}
		steps = append(steps, hit)
		text := read(t, file)
		if text != before && !(confirming && text == after) {
			t.Errorf("step %d %s: site file %q", n, hit, text)
		}
		again, err := Open(file)
		if err != nil {
			t.Fatalf("step %d %s: %v", n, hit, err)
		}
		if read(t, file) != text {
			t.Errorf("step %d %s: the next start changed the site file", n, hit)
		}
		ended, is := again.Ended()
		switch {
		case is && (ended.Outcome == Confirmed) != (text == after):
			t.Errorf("step %d %s: outcome %s with site file %q", n, hit, ended.Outcome, text)
		case !is && text == after:
			t.Errorf("step %d %s: nobody is told that it was confirmed", n, hit)
		}
		if err := again.Told(); err != nil {
			t.Error(err)
		}
		tidy(t, file)
		begin(t, again)
	}
	for _, want := range []string{"write trial", "renamed state", "adopt", "adopted", "rename before"} {
		if !slices.Contains(steps, want) {
			t.Errorf("step %q was never hit: %s", want, strings.Join(steps, ", "))
		}
	}
}

// A state that makes no sense ends the trial, and no start.
func TestDamagedState(t *testing.T) {
	file := site(t)
	begin(t, open(t, file))
	if err := os.WriteFile(file+".trial.json", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); err == nil {
		t.Error("no word of the damage")
	}
	if b := open(t, file); read(t, file) != before {
		t.Errorf("site file %q", read(t, file))
	} else if _, err := os.Stat(b.Path()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(fmt.Sprint("the trial is left: ", err))
	}
	tidy(t, file)
}
