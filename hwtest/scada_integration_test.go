//go:build integration

package hwtest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lvagent/agent/message"
)

// Every command of the page for control centres does what it says, against a real
// agent and a real broker.
func TestScadaPage(t *testing.T) {
	s := newSubstation(t)
	s.do(func() { s.beats = true })
	folder := t.TempDir()
	host, port, _ := strings.Cut(s.broker.addr, ":")
	run := func(block string) string {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "bash", "-euc", block)
		cmd.Dir, cmd.WaitDelay = folder, time.Second
		cmd.Env = append(os.Environ(), "BROKER="+host, "PORT="+port, "AGENT=bench-1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v of\n%s\n%s", err, block, out)
		}
		return string(out)
	}
	if err := os.WriteFile(filepath.Join(folder, "records.py"), []byte(blocks(t, "python")[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "records.jsonl")
	collected := make(chan string, 1) // by the historian, which is there before the agent
	steps := []struct{ part, says string }{
		{"-t 'lv/v1/+/up/#' -v", "lv/v1/bench-1/up/status {"},
		{"-i historian", ""},
		{"python3 records.py", "20 records, 0 twice"},
		{"cmd/resend", `"stage":"completed"`},
		{"cmd/birth", `"ways":[`},
		{"lv/v1/_all/cmd/heartbeat", ""},
	}
	page := blocks(t, "sh")
	if len(page) != len(steps) {
		t.Fatalf("%d blocks on the page, want %d: nobody says what the others must do", len(page), len(steps))
	}
	go func() { collected <- run(page[1]) }()
	eventually(t, "the historian", 10*time.Second, func() bool { // its session is there when the shell has its file open
		_, err := os.Stat(file)
		return err == nil
	})
	s.startAgent()
	began := time.Now()
	eventually(t, "a first record of each way", 40*time.Second, func() bool { return s.every(began) })
	for i, step := range steps {
		if !strings.Contains(page[i], step.part) {
			t.Fatalf("block %d has no %q:\n%s", i, step.part, page[i])
		}
		var out string
		if i == 1 {
			out = <-collected
		} else {
			out = run(page[i])
		}
		if !strings.Contains(out, step.says) || strings.Contains(out, "missing:") || strings.Contains(out, "NOT the same") {
			t.Errorf("no %q from\n%s\n%s", step.says, page[i], out)
		}
	}

	// The script sees what is twice, what is missing and what was altered.
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var day []string // of one way
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"s":"hh/W1"`) {
			day = append(day, line)
		}
	}
	if len(day) < 2 {
		t.Fatalf("%d records of W1", len(day))
	}
	day = day[:2]
	var hash [32]byte
	copy(hash[:], sha(day))
	first := number(day[0])
	d := message.Digest{Way: "W1", Start: began, End: began, Stream: "hh/W1", From: first, To: first + uint64(len(day)) - 1, Count: uint64(len(day)), Hash: hash}
	digest := string(message.Seal(nil, message.AppendDigest(nil, "bench-1", &d), message.DigestStream, 1, 1)) + "\n"
	for _, tt := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"whole, in another order, one twice", []string{day[1], digest, day[0], day[1]}, "the same"},
		{"one missing", []string{digest, day[0]}, "NOT the same: have 1 of 2"},
		{"one altered", []string{digest, day[0], strings.Replace(day[1], `"clock":"assumed"`, `"clock":"synced"`, 1)}, "NOT the same: have 2 of 2"},
	} {
		if err := os.WriteFile(file, []byte(strings.Join(tt.lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := run("python3 records.py < records.jsonl"); !strings.Contains(out, tt.want) || !slices.Contains(strings.Fields(out), "digest:") {
			t.Errorf("%s: no %q in %s", tt.name, tt.want, out)
		}
	}
	if _, err := s.agent.Stop(10 * time.Second); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func sha(lines []string) []byte {
	h := sha256.New()
	for _, l := range lines {
		fmt.Fprint(h, l)
	}
	return h.Sum(nil)
}

// number is the n of a record.
func number(line string) (n uint64) {
	_, after, _ := strings.Cut(line, `"n":`)
	fmt.Sscanf(after, "%d", &n) // 0 is no number: the digest would not fit
	return n
}
