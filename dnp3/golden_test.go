package dnp3_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lvagent/dnp3"
)

var update = flag.Bool("update", false, "write what the outstation answers into testdata")

// Each file of testdata is a conversation: lines with -> are fragments of the
// master, <- what the outstation sends; => and <= are the same in link frames.
// "set" is a new value of a point, "wait", "drop" and "connect" say what they
// do. What follows a # is for the reader.
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d conversations, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(want) {
				t.Errorf("the outstation answers otherwise:\n%s", diff(string(want), got))
			}
		})
	}
}

// diff shows the lines that differ.
func diff(want, got string) string {
	var b strings.Builder
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var lw, lg string
		if i < len(w) {
			lw = w[i]
		}
		if i < len(g) {
			lg = g[i]
		}
		if lw != lg {
			fmt.Fprintf(&b, "line %d\n  want %s\n  got  %s\n", i+1, lw, lg)
		}
	}
	return b.String()
}

// play carries the script out and returns it with the answers as they are. A
// comment behind an answer is kept when the octets are.
func play(t *testing.T, script string) string {
	t.Helper()
	config := small()
	var r *rig
	var out strings.Builder
	lines := strings.Split(strings.TrimSuffix(script, "\n"), "\n")
	comments := map[string][]string{}
	for _, line := range lines {
		if strings.HasPrefix(line, "<") {
			octets, comment, _ := strings.Cut(line, "#")
			octets = strings.TrimSpace(octets)
			comments[octets] = append(comments[octets], comment)
		}
	}
	answer := func(arrow string, octets []byte) {
		line := arrow + " " + spaced(octets)
		if c := comments[line]; len(c) > 0 {
			comments[line] = c[1:]
			if c[0] != "" {
				fmt.Fprintf(&out, "%s  #%s\n", line, c[0])
				return
			}
		}
		fmt.Fprintln(&out, line)
	}
	for i, line := range lines {
		code, _, _ := strings.Cut(line, "#")
		fields := strings.Fields(code)
		if len(fields) > 0 && (fields[0] == "<-" || fields[0] == "<=") {
			continue
		}
		fmt.Fprintln(&out, line)
		if len(fields) == 0 {
			continue
		}
		if r == nil && fields[0] != "master" {
			r = newRig(t, config)
		}
		raw := false
		switch fields[0] {
		case "master": // settings of the master, before all else
			configure(t, &config.Masters[0], fields[1:])
			continue
		case "connect":
			r.connect()
		case "drop":
			r.drop()
		case "wait":
			d, err := time.ParseDuration(fields[1])
			if err != nil {
				t.Fatalf("line %d: %v", i+1, err)
			}
			r.wait(d)
		case "set":
			r.change(change(t, fields[1:], r.wall()))
		case "->", "=>":
			octets, err := hex.DecodeString(strings.Join(fields[1:], ""))
			if err != nil {
				t.Fatalf("line %d: %v", i+1, err)
			}
			if raw = fields[0] == "=>"; raw {
				r.raw(octets)
			} else {
				r.send(octets)
			}
		default:
			t.Fatalf("line %d: %s is not known", i+1, fields[0])
		}
		if raw {
			for _, f := range r.links() {
				answer("<=", f)
			}
			continue
		}
		for _, f := range r.fragments() {
			answer("<-", f)
		}
	}
	return out.String()
}

func spaced(octets []byte) string {
	return string(bytes.TrimSpace(fmt.Appendf(nil, "% x", octets)))
}

func configure(t *testing.T, m *dnp3.Master, words []string) {
	t.Helper()
	for _, w := range words {
		key, v, _ := strings.Cut(w, "=")
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		switch key {
		case "unsolicited":
			m.Unsolicited = n != 0
		case "retries":
			m.UnsolicitedRetries = n
		case "fragment":
			m.MostFragment = n
		case "events":
			for i := range m.Events {
				m.Events[i] = n
			}
		default:
			t.Fatalf("%s is not known", key)
		}
	}
}

// change is "analog 300 241.5 01", or a text for an octet string.
func change(t *testing.T, words []string, wall int64) dnp3.Change {
	t.Helper()
	types := map[string]dnp3.Type{"binary": dnp3.BinaryInput, "double": dnp3.DoubleBitInput, "output": dnp3.BinaryOutput,
		"counter": dnp3.Counter, "analog": dnp3.AnalogInput, "setpoint": dnp3.AnalogOutput, "text": dnp3.OctetString}
	kind, known := types[words[0]]
	index, err := strconv.Atoi(words[1])
	flags, errFlags := strconv.ParseUint(words[3], 16, 8)
	if !known || err != nil || errFlags != nil {
		t.Fatalf("set %v: %v %v", words, err, errFlags)
	}
	c := dnp3.Change{Type: kind, Index: uint16(index), Flags: dnp3.Flags(flags), Time: wall}
	if kind == dnp3.OctetString {
		c.Octets = words[2]
	} else if c.Number, err = strconv.ParseFloat(words[2], 64); err != nil {
		t.Fatal(err)
	}
	return c
}
