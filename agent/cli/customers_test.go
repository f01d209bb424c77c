package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestOptOutAndSupplyPointsAreUsedRightly(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		exit int
		want string
	}{
		{"a group without an event", []string{"optout", "G1"}, 2, "name the event too"},
		{"no agent", []string{"optout", "G1", "e", "--config", "no-such-file"}, 1, "cannot be read"},
		{"the register alone", []string{"mpan"}, 0, "Available Commands"},
		{"no group", []string{"mpan", "add"}, 2, "accepts 1 arg"},
		{"two kinds of erasure", []string{"mpan", "erase", "--all", "--group", "G1"}, 1, "exclude each other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if got := Main(t.Context(), tt.args, &out, &errs); got != tt.exit || !strings.Contains(out.String()+errs.String(), tt.want) {
				t.Errorf("exit %d, %q %q; want %d, %q", got, out.String(), errs.String(), tt.exit, tt.want)
			}
		})
	}
}

// A line that is no supply point is told by its place, not by what is in it.
func TestReadNumbers(t *testing.T) {
	got, err := readNumbers(strings.NewReader("2012345678906\n\n 10 1234 5678 903 \r\n"))
	if err != nil || strings.Join(got, ",") != "2012345678906,1012345678903" {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := readNumbers(strings.NewReader("2012345678906\n2012345678907\n")); err == nil || strings.Contains(err.Error(), "12345") || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("refused with %v", err)
	}
}

func TestPrintCommands(t *testing.T) {
	at := time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	printCommands(&out, []request{{ID: "flex", Class: "commercial", Stage: "active", Limit: "16 A", Groups: []string{"G2"}, OptedOut: []string{"G1"}, Start: at, End: at.Add(time.Hour)}})
	if want := "flex     commercial  active  16 A   2026-11-24T17:00:00Z  2026-11-24T18:00:00Z  G2 (not G1: opted out)"; !strings.Contains(out.String(), want) {
		t.Errorf("printed\n%s", out.String())
	}
}
