// Package socket is the agent's local socket: what the commands on the device
// itself say to the running agent (R12b).
//
// It is HTTP over a Unix socket that only the agent's user and group can open;
// who can open it acts with the authority of somebody on site. It decides
// nothing: requests go to the core loop.
package socket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Name is the socket's file in the agent's folder.
const Name = "agent.sock"

// most is the largest request or answer.
const most = 1 << 20

// lastAnswer is how long a stop waits for requests under way.
const lastAnswer = 2 * time.Second

// Override is a person's override on site.
type Override struct {
	Target string  `json:"target"` // a way or a group
	Kind   string  `json:"kind"`   // hold_off, limit, release, clear
	Amps   float64 `json:"amps,omitempty"`
	For    string  `json:"for,omitempty"`
	By     string  `json:"by"`
	Why    string  `json:"why"`
}

// Answer is what became of an override.
type Answer struct {
	ID     string   `json:"id"`
	Stage  string   `json:"stage"`
	Code   string   `json:"code,omitempty"`
	Groups []string `json:"groups,omitempty"`
}

// Agent is what the socket asks.
type Agent interface {
	// Status returns the state of everything as a JSON object.
	Status(context.Context) ([]byte, error)
	// Report returns one of the agent's reports, such as pq, as a JSON object.
	Report(ctx context.Context, name string) ([]byte, error)
	// Ledger returns what became of each period of a UTC day, of one way or of all
	// where way is empty, as a JSON object.
	Ledger(ctx context.Context, way string, day time.Time) ([]byte, error)
	// Audit returns a page of stored audit records, from number from on, as a JSON
	// object.
	Audit(ctx context.Context, from uint64) ([]byte, error)
	// Journal brings the journal of decisions to the disk, and says where it is, as
	// a JSON object.
	Journal(ctx context.Context) ([]byte, error)
	// Fairness returns what was withheld from whom on a UTC day, or today, as a JSON
	// object.
	Fairness(ctx context.Context, day string) ([]byte, error)
	// Records returns a page of the stored records of a stream, from number from on,
	// as a JSON object.
	Records(ctx context.Context, stream string, from uint64) ([]byte, error)
	// Drill begins a rehearsal of a loss of the centre, DrillStop ends it, LastDrill
	// tells of the one that runs or was the last, each as a JSON object.
	Drill(ctx context.Context, by, why string) ([]byte, error)
	DrillStop(ctx context.Context) ([]byte, error)
	LastDrill(ctx context.Context) ([]byte, error)
	// Override carries out a local override.
	Override(context.Context, Override) (Answer, error)
	Customers
}

// Serve answers on the socket at path until ctx ends. A socket left behind by
// an agent that was killed is replaced.
func Serve(ctx context.Context, path string, a Agent, alarms Alarms) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("open socket %s: %w", path, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("open socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return fmt.Errorf("open socket %s: %w", path, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		body, err := a.Status(r.Context())
		reply(w, json.RawMessage(body), err)
	})
	mux.HandleFunc("GET /report/{name}", func(w http.ResponseWriter, r *http.Request) {
		body, err := a.Report(r.Context(), r.PathValue("name"))
		reply(w, json.RawMessage(body), err)
	})
	mux.HandleFunc("GET /ledger/{day}/{way}", func(w http.ResponseWriter, r *http.Request) {
		day, err := time.Parse(time.DateOnly, r.PathValue("day"))
		if err != nil {
			http.Error(w, "ledger: "+err.Error(), http.StatusBadRequest)
			return
		}
		body, err := a.Ledger(r.Context(), r.PathValue("way"), day)
		reply(w, json.RawMessage(body), err)
	})
	mux.HandleFunc("GET /audit/{from}", func(w http.ResponseWriter, r *http.Request) {
		from, err := strconv.ParseUint(r.PathValue("from"), 10, 64)
		if err != nil {
			http.Error(w, "audit: "+err.Error(), http.StatusBadRequest)
			return
		}
		body, err := a.Audit(r.Context(), from)
		reply(w, json.RawMessage(body), err)
	})
	mux.HandleFunc("GET /fairness/{day}", func(w http.ResponseWriter, r *http.Request) {
		body, err := a.Fairness(r.Context(), r.PathValue("day"))
		reply(w, json.RawMessage(body), err)
	})
	mux.HandleFunc("GET /records/{from}/{stream...}", func(w http.ResponseWriter, r *http.Request) {
		from, err := strconv.ParseUint(r.PathValue("from"), 10, 64)
		if err != nil {
			http.Error(w, "records: "+err.Error(), http.StatusBadRequest)
			return
		}
		body, err := a.Records(r.Context(), r.PathValue("stream"), from)
		reply(w, json.RawMessage(body), err)
	})
	mux.HandleFunc("POST /drill", func(w http.ResponseWriter, r *http.Request) {
		var o struct{ By, Why string }
		if decode(w, r, "drill", &o) {
			body, err := a.Drill(r.Context(), o.By, o.Why)
			reply(w, json.RawMessage(body), err)
		}
	})
	mux.HandleFunc("POST /drill/stop", func(w http.ResponseWriter, r *http.Request) {
		body, err := a.DrillStop(r.Context())
		reply(w, json.RawMessage(body), err)
	})
	mux.HandleFunc("GET /drill", func(w http.ResponseWriter, r *http.Request) {
		body, err := a.LastDrill(r.Context())
		reply(w, json.RawMessage(body), err)
	})
	mux.HandleFunc("POST /journal", func(w http.ResponseWriter, r *http.Request) {
		body, err := a.Journal(r.Context())
		reply(w, json.RawMessage(body), err)
	})
	mux.HandleFunc("POST /override", func(w http.ResponseWriter, r *http.Request) {
		var o Override
		if decode(w, r, "override", &o) {
			answer, err := a.Override(r.Context(), o)
			reply(w, answer, err)
		}
	})
	serveAlarms(mux, alarms)
	serveCustomers(mux, a)
	s := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 8 << 10}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		// Whoever had the agent stop or start anew gets the answer first.
		patience, cancel := context.WithTimeout(context.Background(), lastAnswer)
		defer cancel()
		if s.Shutdown(patience) != nil {
			s.Close()
		}
	})
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve socket %s: %w", path, err)
	}
	<-closed
	return nil
}

func reply(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // whoever asked has hung up if this fails
}

// Call asks the agent that runs at path. An empty request is a GET.
func Call(ctx context.Context, path, what string, request any) ([]byte, error) {
	client := http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}},
	}
	defer client.CloseIdleConnections()
	method, body := http.MethodGet, []byte(nil)
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			return nil, fmt.Errorf("ask agent: %w", err)
		}
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://agent/"+what, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask agent: %w", err)
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask agent at %s: %w; does it run, and may you open the socket?", path, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return nil, fmt.Errorf("ask agent: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("agent: %s", bytes.TrimSpace(answer))
	}
	return answer, nil
}
