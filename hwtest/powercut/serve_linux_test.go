package powercut

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The file system runs as a process of its own: this test's binary once more.
const childServes = "POWERCUT_SERVE"

func TestMain(m *testing.M) {
	if folder := os.Getenv(childServes); folder != "" {
		if err := Serve(filepath.Join(folder, "below"), filepath.Join(folder, "mount"), filepath.Join(folder, "log"), os.Stdout, os.Stdin); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// mounted starts the file system; end stops it and returns what was done on it.
func mounted(t *testing.T) (mount string, end func() Log) {
	t.Helper()
	folder := t.TempDir()
	mount = filepath.Join(folder, "mount")
	for _, f := range []string{"below", "mount"} {
		if err := os.Mkdir(filepath.Join(folder, f), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childServes+"="+folder)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the power-cut file system says %q, %v: see above for what it needs; child %v", line, err, child.Wait())
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := child.Wait(); err != nil {
			t.Errorf("the power-cut file system ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return mount, func() Log {
		t.Helper()
		stop()
		log, err := ReadLog(filepath.Join(folder, "log"))
		if err != nil {
			t.Fatal(err)
		}
		return log
	}
}

// What was flushed is there after every cut; what was not is sometimes all there,
// sometimes not at all, sometimes in part and sometimes torn within a block. A
// name that was not flushed may be missing, and a rename leaves one of the two.
func TestWhatACutLeaves(t *testing.T) {
	mount, end := mounted(t)
	old, new := bytes.Repeat([]byte("a"), 4*block), bytes.Repeat([]byte("b"), 4*block)
	path := filepath.Join(mount, "file")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	flushNames := func() {
		d, err := os.Open(mount)
		if err == nil {
			err = errors.Join(d.Sync(), d.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Write(old); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	flushNames()
	if _, err := f.WriteAt(new, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path+".new", old, 0o600), os.Rename(path+".new", path+".renamed")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	log := end()
	seen := map[string]int{}
	for seed := range uint64(200) {
		folder := t.TempDir()
		if err := log.Cut(len(log), rand.New(rand.NewPCG(seed, 1)), folder); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(folder, "file"))
		if err != nil || len(got) != len(old) {
			t.Fatalf("seed %d: %d octets of a file that was flushed, %v", seed, len(got), err)
		}
		whole, torn := 0, false
		for i := 0; i < len(got); i += block {
			switch b := got[i : i+block]; {
			case bytes.Equal(b, new[:block]):
				whole++
			case !bytes.Equal(b, old[:block]):
				torn = true
			}
		}
		switch {
		case torn:
			seen["torn"]++
		case whole == 0:
			seen["nothing"]++
		case whole == 4:
			seen["all"]++
		default:
			seen["some blocks"]++
		}
		_, before := os.Stat(filepath.Join(folder, "file.new"))
		_, after := os.Stat(filepath.Join(folder, "file.renamed"))
		switch {
		case before == nil && after == nil:
			t.Fatalf("seed %d: both names are there", seed)
		case before == nil:
			seen["the old name"]++
		case after == nil:
			seen["the new name"]++
		default:
			seen["no name"]++
		}
	}
	for _, what := range []string{"torn", "nothing", "all", "some blocks", "the old name", "the new name", "no name"} {
		if seen[what] == 0 {
			t.Errorf("no cut left %s: %v", what, seen)
		}
	}
}
