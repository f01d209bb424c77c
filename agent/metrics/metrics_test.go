package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func scrape(t *testing.T, numbers func(context.Context, *Writer) error) (code int, body string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- ServeOn(ctx, l, numbers) }()
	resp, err := http.Get("http://" + l.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(text)
}

var line = regexp.MustCompile(`^([a-z_]+)(\{([a-z]+="([^"\\]|\\.)*",?)+\})? [0-9.e+-]+$`)

// All values of a name stand together behind its type, whatever the order in
// which they were written, and labels with anything in them stay one label.
func TestFormat(t *testing.T) {
	code, body := scrape(t, func(_ context.Context, w *Writer) error {
		for _, way := range []string{"W1", `W"2\`, "W\n3"} {
			w.Gauge("lvagent_way_amperes", 1.5, "way", way, "phase", "L1")
			w.Counter("lvagent_polls_total", 7, "way", way)
		}
		w.Gauge("lvagent_up", 1)
		return nil
	})
	if code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	current, seen := "", map[string]bool{}
	for _, l := range strings.Split(strings.TrimSpace(body), "\n") {
		if name, ok := strings.CutPrefix(l, "# TYPE lvagent"); ok {
			name, _, _ = strings.Cut(name, " ")
			current = "lvagent" + name
			if seen[current] {
				t.Errorf("%s has two groups", current)
			}
			seen[current] = true
			continue
		}
		if !strings.HasPrefix(l, "lvagent") {
			continue // of the process and of Go
		}
		m := line.FindStringSubmatch(l)
		if m == nil || m[1] != current {
			t.Errorf("%q in the group of %q", l, current)
		}
	}
	for _, want := range []string{`lvagent_way_amperes{way="W1",phase="L1"} 1.5`, `lvagent_polls_total{way="W\"2\\"} 7`, `way="W\n3"`, "lvagent_up 1", "process_resident_memory_bytes", "go_goroutines"} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is not in\n%s", want, body)
		}
	}
}

func TestNumbersThatCannotBeHad(t *testing.T) {
	code, body := scrape(t, func(context.Context, *Writer) error { return errors.New("ask core loop: context canceled") })
	if code != http.StatusServiceUnavailable || strings.Contains(body, "lvagent_") {
		t.Errorf("%d %s", code, body)
	}
}
