package agent

import (
	"fmt"
	"log/slog"
	"slices"
	"syscall"
	"testing"
	"time"

	"lvagent/configs"
	"lvagent/failsafe/relay"
	"lvagent/failsafe/relay/relaytest"
)

// P22: what an input says is said once, when it has been steady; that it can't be
// read only after it failed for a while.
func TestInputsAreDebounced(t *testing.T) {
	const bounce = 200 * time.Millisecond
	type at struct {
		after time.Duration
		high  bool
		fails bool
	}
	for _, tt := range []struct {
		name     string
		inverted bool
		says     []at
		want     []string
	}{
		{"steady from the start", false, []at{{}}, []string{"200ms inactive"}},
		{"active from the start", false, []at{{high: true}}, []string{"200ms active"}},
		{"inverted", true, []at{{}}, []string{"200ms active"}},
		{"closes", false, []at{{}, {time.Second, true, false}}, []string{"200ms inactive", "1.2s active"}},
		{"a bounce too short to count", false, []at{{}, {time.Second, true, false}, {1100 * time.Millisecond, false, false}}, []string{"200ms inactive"}},
		{"bounces, then closes", false, []at{{}, {time.Second, true, false}, {1100 * time.Millisecond, false, false}, {1200 * time.Millisecond, true, false}},
			[]string{"200ms inactive", "1.4s active"}},
		{"fails for a moment", false, []at{{}, {time.Second, false, true}, {5 * time.Second, false, false}}, []string{"200ms inactive"}},
		{"fails", false, []at{{}, {time.Second, false, true}}, []string{"200ms inactive", "5.9s unreadable"}},
		{"never could be read", false, []at{{0, false, true}}, []string{"5s unreadable"}},
		{"fails and is back", false, []at{{}, {time.Second, false, true}, {8 * time.Second, true, false}},
			[]string{"200ms inactive", "5.9s unreadable", "8.2s active"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := relaytest.NewKernel()
			chip := k.Add("gpiochip0", "board", "")
			now, failing := time.Duration(0), false
			k.Refuse = func(op relaytest.Op) error {
				if failing && op == relaytest.Get {
					return syscall.EIO
				}
				return nil
			}
			var told []string
			in := newInput(&configs.Input{ID: "x", Inverted: tt.inverted, Debounce: bounce},
				relay.NewInput(k, relay.Address{Chip: "gpiochip0", Line: "0"}, relay.NoPull),
				func(_ string, active, readable bool) {
					word := map[bool]string{true: "active", false: "inactive"}[active]
					if !readable {
						word = "unreadable"
					}
					told = append(told, fmt.Sprint(now, " ", word))
				}, slog.New(slog.DiscardHandler))
			for ; now <= 10*time.Second; now += readInputs {
				for _, s := range tt.says {
					if now >= s.after {
						chip.Rest(0, s.high)
						failing = s.fails
					}
				}
				in.read(now)
			}
			if !slices.Equal(told, tt.want) {
				t.Errorf("told %q, want %q", told, tt.want)
			}
		})
	}
}
