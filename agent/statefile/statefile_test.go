package statefile

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func reopen(t *testing.T, base string) (*File, [][]byte, bool) {
	t.Helper()
	f, contents, broken, err := Open(base)
	if err != nil {
		t.Fatal(err)
	}
	return f, contents, broken
}

func TestNewestStateWins(t *testing.T) {
	base := filepath.Join(t.TempDir(), "failsafe")
	for _, body := range []string{"one", "two", "three", "four"} {
		f, _, _ := reopen(t, base)
		if err := f.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
		_, contents, broken := reopen(t, base)
		if broken || string(contents[0]) != body {
			t.Fatalf("newest = %q, broken %v, want %q", contents[0], broken, body)
		}
	}
}

// Whatever becomes of the file written last, the one before it is still there.
func TestATornFileLeavesTheOther(t *testing.T) {
	base := filepath.Join(t.TempDir(), "failsafe")
	f, _, _ := reopen(t, base)
	for _, body := range []string{"the state before", "the newest state"} {
		if err := f.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	newest := f.name(2)
	whole, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if err := os.WriteFile(newest, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		_, contents, broken := reopen(t, base)
		if !broken || len(contents) != 1 || string(contents[0]) != "the state before" {
			t.Fatalf("cut at octet %d: %q, broken %v", n, contents, broken)
		}
		bad := bytes.Clone(whole)
		bad[n] ^= 0x40
		if err := os.WriteFile(newest, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, contents, _ := reopen(t, base); len(contents) > 0 && string(contents[0]) != "the newest state" && string(contents[0]) != "the state before" {
			t.Fatalf("octet %d changed: took %q", n, contents[0])
		}
	}
}

func TestSeedStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device.seed")
	first, err := Seed(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Seed(path)
	if err != nil || again != first || first == [32]byte{} {
		t.Errorf("seed of the second start = %x, %v; want %x", again, err, first)
	}
}

// A folder that can't be written is tried again until it can, and nothing is
// said to be stored before it is.
func TestSaverTriesAgain(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "later")
	synctest.Test(t, func(t *testing.T) {
		f, _, _, err := Open(filepath.Join(folder, "failsafe"))
		if err != nil {
			t.Fatal(err)
		}
		var newest, stored atomic.Uint64
		s := NewSaver(f, "state", slog.New(slog.DiscardHandler), func(v uint64) { newest.Store(v); stored.Add(1) })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); s.Run(ctx) }()
		s.Save(1, []byte("one"))
		s.Save(2, []byte("two"))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := stored.Load(); n != 0 {
			t.Errorf("%d states stored without a folder", n)
		}
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n, v := stored.Load(), newest.Load(); n != 1 || v != 2 {
			t.Errorf("%d states stored, the last is %d; want the newest only", n, v)
		}
		s.Save(3, []byte("three"))
		cancel()
		<-ended
	})
	if _, contents, _ := reopen(t, filepath.Join(folder, "failsafe")); string(contents[0]) != "three" {
		t.Errorf("stored at the end: %q, want three", contents[0])
	}
}
