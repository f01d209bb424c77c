package socket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// agent answers what the test told it to.
type agent struct {
	got     Override
	shelved Shelve
	acked   Ack
}

func (a *agent) Settings(context.Context, string) ([]Setting, error) { return nil, nil }

func (a *agent) Set(_ context.Context, o Set) (SetAnswer, error) {
	return SetAnswer{Outcome: o.Setting}, nil
}

func (a *agent) Force(context.Context, Force) error { return nil }

func (a *agent) Forced(context.Context) ([]byte, error) { return []byte(`{}`), nil }

func (a *agent) SiteFile(_ context.Context, o SiteFile) (SiteFileAnswer, error) {
	return SiteFileAnswer{Code: o.Op}, nil
}

func (a *agent) OptOut(_ context.Context, o OptOut) (Answer, error) {
	if o.By == "" {
		return Answer{}, errors.New("optout: say who you are")
	}
	return Answer{ID: "local-2", Stage: "completed", Groups: []string{o.Group}}, nil
}

func (a *agent) AddSupplyPoints(context.Context, SupplyPoints) error { return nil }

func (a *agent) SupplyPoints(context.Context) ([]byte, error) { return []byte(`[]`), nil }

func (a *agent) EraseSupplyPoints(_ context.Context, o SupplyPoints) (int, error) {
	return len(o.Numbers), nil
}

func (a *agent) Topology(context.Context, Topology) error { return nil }

func (a *agent) Shelve(_ context.Context, o Shelve) error {
	if a.shelved = o; o.Alarm == "" {
		return errors.New("shelve: no such alarm")
	}
	return nil
}

func (a *agent) Ack(_ context.Context, o Ack) error { a.acked = o; return nil }

func (a *agent) Status(context.Context) ([]byte, error) { return []byte(`{"agent":"S1"}`), nil }

func (a *agent) Report(_ context.Context, name string) ([]byte, error) {
	if name != "pq" {
		return nil, errors.New("no such report")
	}
	return []byte(`{"ways":[]}`), nil
}

func (a *agent) Ledger(_ context.Context, way string, day time.Time) ([]byte, error) {
	return fmt.Appendf(nil, `{"way":%q,"day":%q}`, way, day.Format(time.DateOnly)), nil
}

func (a *agent) Audit(_ context.Context, from uint64) ([]byte, error) {
	return fmt.Appendf(nil, `{"records":[],"next":%d}`, from), nil
}

func (a *agent) Journal(context.Context) ([]byte, error) { return []byte(`{"folder":"x"}`), nil }

func (a *agent) Fairness(_ context.Context, day string) ([]byte, error) {
	return fmt.Appendf(nil, `{"date":%q}`, day), nil
}

func (a *agent) Records(_ context.Context, stream string, from uint64) ([]byte, error) {
	return fmt.Appendf(nil, `{"stream":%q,"next":%d}`, stream, from), nil
}

func (a *agent) Drill(_ context.Context, by, why string) ([]byte, error) {
	return fmt.Appendf(nil, `{"by":%q,"why":%q}`, by, why), nil
}

func (a *agent) DrillStop(context.Context) ([]byte, error) { return []byte(`{}`), nil }

func (a *agent) LastDrill(context.Context) ([]byte, error) { return []byte(`{}`), nil }

func (a *agent) Override(_ context.Context, o Override) (Answer, error) {
	a.got = o
	if o.By == "" {
		return Answer{}, errors.New("override: say who you are and why")
	}
	return Answer{ID: "local-1", Stage: "active", Groups: []string{"G1"}}, nil
}

// serve opens a socket that is left behind by an agent that was killed.
func serve(t *testing.T, a Agent) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), Name)
	old, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false)
	old.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, path, a, a.(Alarms)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for {
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return path
		}
	}
}

func TestAskAndOverride(t *testing.T) {
	a := &agent{}
	path := serve(t, a)
	if got, err := Call(t.Context(), path, "report/pq", nil); err != nil || !bytes.Contains(got, []byte("ways")) {
		t.Errorf("report = %s, %v", got, err)
	}
	if got, err := Call(t.Context(), path, "report/x", nil); err == nil {
		t.Errorf("a report that there is none of = %s", got)
	}
	if got, err := Call(t.Context(), path, "status", nil); err != nil || !bytes.Contains(got, []byte("S1")) {
		t.Errorf("status = %s, %v", got, err)
	}
	want := Override{Target: "W3", Kind: "limit", Amps: 16, For: "30m", By: "T. Ester", Why: "jointing"}
	got, err := Call(t.Context(), path, "override", want)
	if err != nil || a.got != want || !bytes.Contains(got, []byte(`"stage":"active"`)) {
		t.Errorf("override: agent got %+v, answer %s, %v", a.got, got, err)
	}
	if _, err := Call(t.Context(), path, "override", Override{Target: "W3"}); err == nil || !strings.Contains(err.Error(), "who you are") {
		t.Errorf("refusal = %v, want the agent's own words", err)
	}
	shelve, ack := Shelve{Alarm: "W3.L1.i.hi", For: "2h", By: "T. Ester", Why: "jointing"}, Ack{Alarm: "W3.L1.i.hi", By: "T. Ester"}
	if _, err := Call(t.Context(), path, "shelve", shelve); err != nil || a.shelved != shelve {
		t.Errorf("shelve: agent got %+v, %v", a.shelved, err)
	}
	if _, err := Call(t.Context(), path, "shelve", Shelve{}); err == nil || !strings.Contains(err.Error(), "no such alarm") {
		t.Errorf("refusal = %v, want the agent's own words", err)
	}
	if _, err := Call(t.Context(), path, "ack", ack); err != nil || a.acked != ack {
		t.Errorf("ack: agent got %+v, %v", a.acked, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket is open to %v, %v; want owner and group", info.Mode(), err)
	}
}

func TestWhatIsNoRequest(t *testing.T) {
	path := serve(t, &agent{})
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	for _, body := range []string{"", "{", `{"kind":1}`, `{"target":"W1","extra":1}`, strings.Repeat("[", 2<<20)} {
		resp, err := client.Post("http://agent/override", "application/json", strings.NewReader(body))
		if err != nil {
			continue // cut off while it was still sending
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%.20q: status %d, want 400", body, resp.StatusCode)
		}
	}
}

func TestNoAgent(t *testing.T) {
	_, err := Call(t.Context(), filepath.Join(t.TempDir(), Name), "status", nil)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "does it run") {
		t.Errorf("= %v, want what to look at next", err)
	}
}
