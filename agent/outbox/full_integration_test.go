//go:build integration && linux

package outbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lvagent/agent/message"
	"lvagent/buffer"
)

const childFull = "OUTBOX_TEST_TMPFS"

// TestFullDisk fills a real file system, which only a child process sees: what
// waits in memory is stored by what it is worth, live readings go for alarms and
// audit records, each loss is told, and with room again all goes on.
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv(childFull); dir != "" {
		fullDisk(t, dir)
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	child.Env = append(os.Environ(), childFull+"="+t.TempDir())
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func fullDisk(t *testing.T, dir string) {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatalf("mount: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	o := open(t, dir)
	o.opts.NoSync = false
	if err := o.store.Load().Close(); err != nil {
		t.Fatal(err)
	}
	if err := o.Open(); err != nil {
		t.Fatal(err)
	}
	body := func(i int) []byte { return fmt.Appendf(nil, `{"i":%d,"x":%q}`, i, strings.Repeat("x", 900)) }
	put := func(stream string, i int) { o.Store(false, []Record{{Stream: stream, At: t0, Body: body(i)}}) }
	turn := func() bool {
		ok := o.commit()
		for ok && o.tidy() {
		}
		return ok
	}
	live, alarm, audit, half := message.LiveStream("W1"), message.AlarmStream("W1"), message.AuditStream, message.HalfHourStream("W1")
	lives := 0
	for fits := true; fits; {
		for range 20 {
			put(live, lives)
			lives++
		}
		fits = turn()
	}
	if h := o.Health(); !strings.Contains(h.Failing, "no space left") {
		t.Fatalf("health %+v", h)
	}
	if err := os.WriteFile(filepath.Join(dir, "foreign"), make([]byte, 8<<20), 0o600); !buffer.Full(err) {
		t.Fatalf("foreign file: %v", err)
	}
	// Live readings alone do not fit, and neither does a state that may speak of
	// them.
	o.Store(false, nil, Kept{Key: "state", Value: []byte("early")})
	if turn() {
		t.Error("live readings are stored on a full disk")
	}
	if v := o.Get("state"); v != nil {
		t.Errorf("state %s is stored beside live readings that are not", v)
	}
	// They wait in memory, and go on coming; what is worth more is stored all the
	// same.
	const n = 100
	for i := range n {
		put(live, lives)
		lives++
		put(alarm, i)
		put(half, i)
		o.Store(false, []Record{{Stream: audit, At: t0, Body: fmt.Appendf(nil, `{"record":{"i":%d}}`, i)}}, Kept{Key: "state", Value: fmt.Append(nil, i)})
		turn()
	}
	count := func(stream string) int {
		for _, st := range o.store.Load().Streams(nil) {
			if st.Name == stream && st.First == 1 {
				return st.Count
			}
		}
		return -1
	}
	for _, stream := range []string{alarm, audit, half} {
		if got := count(stream); got != n {
			t.Errorf("%s: %d of %d stored", stream, got, n)
		}
	}

	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=40m"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); !turn(); {
		if time.Now().After(end) {
			t.Fatalf("there is room again, and still: %+v", o.Health())
		}
	}
	if v := o.Get("state"); string(v) != fmt.Sprint(n-1) || o.Health().Failing != "" {
		t.Errorf("with room: state %s, health %+v", v, o.Health())
	}
	told, stored := 0, 0
	gaps, err := o.Read(message.GapStream, 1, nil, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gaps {
		var gap struct {
			Stream, Why string
			Count       int
		}
		if err := json.Unmarshal(g.Body, &gap); err != nil {
			t.Fatal(err)
		}
		if gap.Stream != live {
			t.Errorf("a gap of %s: %s", gap.Stream, bytes.TrimSpace(g.Body))
		}
		told += gap.Count
	}
	for _, st := range o.store.Load().Streams(nil) {
		if st.Name == live {
			stored = st.Count
		}
	}
	if stored+told != lives || told == 0 {
		t.Errorf("%d live readings stored, %d told of, of %d", stored, told, lives)
	}
	t.Logf("%d live readings, of them %d dropped and told of in %d gap records", lives, told, len(gaps))
	if err := o.store.Load().Close(); err != nil {
		t.Fatal(err)
	}
}
