package agent

import (
	"errors"
	"log/slog"
	"slices"
	"testing"

	"lvagent/agent/poll"
	"lvagent/failsafe"
	"lvagent/failsafe/relay"
)

// bus queues jobs until the test runs them.
type bus struct{ jobs []poll.Job }

func (b *bus) Do(j poll.Job) bool { b.jobs = append(b.jobs, j); return true }

// A limit that waited for a link is not carried out when a newer one is there:
// a stale raise must never reach an output.
func TestOnlyTheNewestLimitIsCarriedOut(t *testing.T) {
	b := &bus{}
	var wrote []milliamps
	var answers []failsafe.Feedback
	a := &actuator{
		group: "G1", bus: b, log: slog.New(slog.DiscardHandler),
		apply: func(limit milliamps) (relay.Outcome, error) {
			wrote = append(wrote, limit)
			return relay.Outcome{Limit: limit}, nil
		},
		answer: func(f failsafe.Feedback) { answers = append(answers, f) },
	}
	a.output("G1", 96_000)
	b.jobs[0].Down(errors.New("link is down"))
	a.output("G1", 24_000)
	a.output("G1", 10_000)
	if len(b.jobs) != 1 {
		t.Fatalf("%d jobs wait, want one", len(b.jobs))
	}
	if err := b.jobs[0].Do(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(wrote, []milliamps{10_000}) {
		t.Errorf("wrote %v, want the newest only", wrote)
	}
	want := []failsafe.Feedback{{Group: "G1", Told: 96_000}, {Group: "G1", Told: 10_000, Limit: 10_000, OK: true}}
	if !slices.Equal(answers, want) {
		t.Errorf("answers = %v, want %v", answers, want)
	}
	a.output("G1", 96_000)
	if len(b.jobs) != 2 {
		t.Error("a limit after the answer was not queued")
	}
}
