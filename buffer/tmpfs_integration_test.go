//go:build integration && linux

package buffer

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const childTmpfs = "BUFFER_TEST_TMPFS"

// TestFilledDisk fills a real file system, which only a child process sees, with
// live readings, half-hours and a foreign file, and goes on with alarms: those
// fit, the ring of acknowledged records goes first, then live readings, then
// half-hours, each in order and told of, and all goes on when there is room.
func TestFilledDisk(t *testing.T) {
	if dir := os.Getenv(childTmpfs); dir != "" {
		fillDisk(t, dir)
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestFilledDisk$", "-test.v")
	child.Env = append(os.Environ(), childTmpfs+"="+t.TempDir())
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func fillDisk(t *testing.T, dir string) {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Fatalf("mount: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	o := ringOptions()
	o.NoSync, o.Chunk = false, 64<<10
	path := filepath.Join(dir, "queue.db")
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	filler := strings.Repeat("x", 900)
	var hh, lv, al uint64 // committed
	commit := func(b Batch) error {
		b.At = noon
		err := s.Commit(b)
		for err == nil {
			more, e := s.Tidy(noon)
			if e != nil && !Full(e) { // it goes on without
				t.Fatalf("tidy: %v", e)
			}
			if e != nil || !more {
				break
			}
		}
		return err
	}
	// A ring of acknowledged half-hours, half-hours that wait, and live readings.
	for hh < 1500 {
		var b Batch
		for range 10 {
			hh++
			b.Append = append(b.Append, entry("hh", hours, int(hh), filler))
		}
		if hh <= 1000 {
			b.Ack = []Ack{{"hh", hh - 10}} // of the batches before
		}
		if err := commit(b); err != nil {
			t.Fatalf("half-hour %d: %v", hh, err)
		}
	}
	for err == nil {
		var b Batch
		for range 10 {
			b.Append = append(b.Append, entry("live", live, int(lv), filler))
		}
		if err = commit(b); err == nil {
			lv += 10
		}
	}
	if !Full(err) {
		t.Fatalf("live readings ended with %v", err)
	}
	// The segment in which the ring ends has waiting records too, and stays.
	if st := state(s, "hh"); st.Acked != 990 || st.First < 900 {
		t.Errorf("hh = %+v, want the ring gone, and what waits there", st)
	}
	if lv < 2000 {
		t.Errorf("only %d live readings fitted", lv)
	}
	foreign := filepath.Join(dir, "foreign")
	if err := os.WriteFile(foreign, make([]byte, 8<<20), 0o600); !Full(err) {
		t.Fatalf("foreign file: %v, want a full disk", err)
	}

	// Alarms fit one by one, and each batch that does is there.
	alarm := func() error {
		err := commit(Batch{Append: []Entry{entry("alarm", alarms, int(al), filler)}})
		if err == nil {
			al++
		}
		return err
	}
	for al < 1000 {
		if err := alarm(); err != nil {
			t.Fatalf("alarm %d: %v", al, err)
		}
	}
	there, told := account(t, s, "live", lv)
	if there+told != int(lv) || told == 0 {
		t.Errorf("%d live readings there, %d told of, of %d", there, told, lv)
	}
	if st := state(s, "hh"); there > 0 && (st.Acked != 990 || st.Next != hh+1) {
		t.Errorf("hh = %+v although there were live readings to drop", st)
	}
	// To the very end: half-hours follow, and then it is an error.
	for err = nil; err == nil; {
		err = alarm()
	}
	if !Full(err) {
		t.Fatalf("alarm %d: %v", al, err)
	}
	if there, told := account(t, s, "live", lv); there != 0 || told != int(lv) {
		t.Errorf("%d live readings there, %d told of, of %d, when not even alarms fit", there, told, lv)
	}
	if there, told := account(t, s, "hh", hh); there+told != 510 {
		t.Errorf("%d half-hours there, %d told of, of 510", there, told)
	}
	if st := state(s, "alarm"); st.First != 1 || st.Next != al+1 {
		t.Errorf("alarm = %+v, want all %d", st, al)
	}
	t.Logf("%d live readings, %d half-hours, %d alarms", lv, hh, al)

	// There is room again: the store opens, holds what it held, and goes on.
	if err := errors.Join(os.Remove(foreign), syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=12m")); err != nil {
		t.Fatal(err)
	}
	if err := alarm(); err != nil {
		t.Errorf("with room: %v", err)
	}
	closeAndCheck(t, s)
	if s, err = Open(path, o); err != nil {
		t.Fatal(err)
	}
	checkStore(t, s)
	if err := errors.Join(alarm(), commit(Batch{Append: []Entry{entry("hh", hours, int(hh), filler)}})); err != nil {
		t.Errorf("opened again: %v", err)
	}
	if st := state(s, "alarm"); st.First != 1 || st.Next != al+1 {
		t.Errorf("alarm = %+v, want all %d", st, al)
	}
	closeAndCheck(t, s)
}
