// Package page is the local status page: what somebody in the substation sees on
// a phone, without a network beyond the RTU's.
//
// It reads. It changes nothing but what an operator orders by name, with a reason
// and an end: an override, an acknowledgement. Where there are accounts it shows
// nothing to anybody else. It decides nothing: orders go to the core loop, which
// records them.
//
// Requirements: R12b (override on site), R16 (repair).
package page

import (
	"bytes"
	"context"
	"crypto/tls"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"lvagent/agent/socket"
)

//go:embed index.html page.css page.js
var files embed.FS

// Agent is what the page asks.
type Agent interface {
	// Snapshot returns what the page shows now, as a JSON object.
	Snapshot(context.Context) ([]byte, error)
	// History returns the last half-hours of each way, as a JSON object.
	History(context.Context) ([]byte, error)
	// Local reports whether the substation's switch is at Local.
	Local(context.Context) bool
	Override(context.Context, socket.Override) (socket.Answer, error)
	Ack(context.Context, socket.Ack) error
}

// Config says where the page is and for whom.
type Config struct {
	Listen   string
	Cert     string // file; empty: HTTP, on loopback only
	Key      string
	Names    []string // further names by which the page is opened
	Accounts []Account
	Now      func() time.Duration // monotonic
	Log      *slog.Logger
}

// Bounds.
const (
	every       = time.Second // a live update
	mostViewers = 24          // live at once
	mostBody    = 4 << 10
	historyAge  = time.Minute
)

// Server is the page.
type Server struct {
	cfg   Config
	agent Agent
	door  *door // nil: no accounts; anybody on this machine may look
	feed  *feed

	history struct {
		sync.Mutex
		body []byte
		at   time.Duration
	}
}

// New makes the page of an agent.
func New(cfg Config, a Agent) (*Server, error) {
	s := &Server{cfg: cfg, agent: a, feed: newFeed(a, cfg.Log)}
	if len(cfg.Accounts) > 0 {
		d, err := newDoor(cfg.Accounts, cfg.Now)
		if err != nil {
			return nil, fmt.Errorf("status page: %w", err)
		}
		s.door = d
	}
	return s, nil
}

// Run serves the page until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	l, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("open status page: %w", err)
	}
	return s.Serve(ctx, l)
}

// Serve serves the page on l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	if s.cfg.Cert != "" {
		srv.TLSConfig = &tls.Config{
			MinVersion: tls.VersionTLS12,
			// Read again for each connection, so that a new one needs no restart.
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				c, err := tls.LoadX509KeyPair(s.cfg.Cert, s.cfg.Key)
				return &c, err
			},
		}
		l = tls.NewListener(l, srv.TLSConfig)
	}
	s.cfg.Log.Info("status page", "listen", l.Addr().String(), "tls", s.cfg.Cert != "", "accounts", len(s.cfg.Accounts))
	var feed sync.WaitGroup
	feed.Go(func() { s.feed.run(ctx) })
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		srv.Close() // what is open is live updates and reads: nothing to finish
		<-ended
	}
	feed.Wait()
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve status page: %w", err)
	}
	return nil
}

// Handler answers requests.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, file := range map[string][2]string{
		"GET /{$}": {"index.html", "text/html; charset=utf-8"}, "GET /page.css": {"page.css", "text/css; charset=utf-8"},
		"GET /page.js": {"page.js", "text/javascript; charset=utf-8"},
	} {
		body, err := files.ReadFile(file[0])
		if err != nil {
			panic(err) // embedded
		}
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", file[1])
			w.Write(body)
		})
	}
	mux.HandleFunc("GET /session", s.session)
	mux.HandleFunc("POST /session", s.signIn)
	mux.HandleFunc("DELETE /session", s.signOut)
	mux.HandleFunc("GET /live", s.allow(Viewer, false, s.live))
	mux.HandleFunc("GET /history", s.allow(Viewer, false, s.serveHistory))
	mux.HandleFunc("POST /override", s.allow(Operator, true, s.override))
	mux.HandleFunc("POST /ack", s.allow(Operator, true, s.ack))
	return s.guard(mux)
}

// guard keeps out requests that another site's page makes in the person's
// browser, under this one's name or its own.
func (s *Server) guard(next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if s.cfg.Cert != "" {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if !s.known(r.Host) {
			http.Error(w, fmt.Sprintf("this page is not %q: open it by its address, or add the name to page.names", r.Host), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// known reports whether the page may be opened under a host. A name that is not
// known may be another's, pointed at this address.
func (s *Server) known(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	return name == "localhost" || net.ParseIP(name) != nil || slices.Contains(s.cfg.Names, name)
}

const cookie = "lvagent"

type person struct{}

// who returns who asks.
func (s *Server) who(r *http.Request, act bool) (name string, role Role, ok bool) {
	if s.door == nil {
		return "", Viewer, true
	}
	c, err := r.Cookie(cookie)
	if err != nil {
		return "", "", false
	}
	return s.door.who(c.Value, act)
}

// allow lets through who may.
func (s *Server) allow(least Role, act bool, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name, role, ok := s.who(r, act)
		switch {
		case !ok:
			http.Error(w, "sign in first", http.StatusUnauthorized)
		case least == Operator && role != Operator:
			http.Error(w, "this needs the account of an operator", http.StatusForbidden)
		default:
			next(w, r.WithContext(context.WithValue(r.Context(), person{}, name)))
		}
	}
}

// session says who is signed in, and whether somebody must be.
func (s *Server) session(w http.ResponseWriter, r *http.Request) {
	name, role, ok := s.who(r, true)
	answer(w, map[string]any{"needed": s.door != nil, "in": ok, "name": name, "role": role})
}

func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	var o struct{ Name, Password string }
	if s.door == nil {
		http.Error(w, "there are no accounts", http.StatusNotFound)
		return
	}
	if !decode(w, r, &o) {
		return
	}
	token, err := s.door.enter(o.Name, o.Password)
	if locked := (*lockedError)(nil); errors.As(err, &locked) {
		s.cfg.Log.Warn("security", "event", "account locked", "account", short(o.Name), "from", r.RemoteAddr, "for", locked.left)
		http.Error(w, err.Error(), http.StatusTooManyRequests)
		return
	}
	switch {
	case errors.Is(err, errBusy), errors.Is(err, errFull):
		http.Error(w, err.Error(), http.StatusTooManyRequests)
	case err != nil:
		s.cfg.Log.Warn("security", "event", "wrong password", "account", short(o.Name), "from", r.RemoteAddr)
		http.Error(w, err.Error(), http.StatusUnauthorized)
	default:
		s.cfg.Log.Info("security", "event", "signed in", "account", o.Name, "from", r.RemoteAddr)
		http.SetCookie(w, &http.Cookie{Name: cookie, Value: token, Path: "/", HttpOnly: true, Secure: s.cfg.Cert != "",
			SameSite: http.SameSiteStrictMode, MaxAge: int(sessionEnd / time.Second)})
		_, role, _ := s.door.who(token, true)
		answer(w, map[string]any{"needed": true, "in": true, "name": o.Name, "role": role})
	}
}

// short keeps a name that somebody typed, perhaps a password in the wrong field,
// from filling the log.
func short(name string) string {
	if len(name) > 32 {
		return name[:32] + "…"
	}
	return name
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(cookie); err == nil && s.door != nil {
		s.door.leave(c.Value)
	}
	http.SetCookie(w, &http.Cookie{Name: cookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	answer(w, map[string]any{"needed": s.door != nil, "in": false})
}

// live sends what changes, each second, until the session ends.
func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	sub := s.feed.join()
	if sub == nil {
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer s.feed.leave(sub)
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		select {
		case body := <-sub.next:
			if _, _, ok := s.who(r, false); !ok {
				fmt.Fprint(w, "event: end\ndata: {}\n\n")
				return
			}
			if out.SetWriteDeadline(time.Now().Add(10*time.Second)) != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", body); err != nil || out.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// serveHistory reads the store at most once a minute, however many ask.
func (s *Server) serveHistory(w http.ResponseWriter, r *http.Request) {
	h := &s.history
	h.Lock()
	defer h.Unlock()
	if h.body == nil || s.cfg.Now()-h.at > historyAge {
		body, err := s.agent.History(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		h.body, h.at = body, s.cfg.Now()
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(h.body)
}

func (s *Server) override(w http.ResponseWriter, r *http.Request) {
	var o socket.Override
	if !decode(w, r, &o) {
		return
	}
	name, _ := r.Context().Value(person{}).(string)
	o.By = name
	if o.Kind == "release" && !s.agent.Local(r.Context()) {
		http.Error(w, "a release needs the Local/Remote switch at Local", http.StatusForbidden)
		return
	}
	if o.Kind != "clear" && o.For == "" {
		http.Error(w, "an override needs an end", http.StatusBadRequest)
		return
	}
	if strings.TrimSpace(o.Why) == "" {
		http.Error(w, "an override needs a reason", http.StatusBadRequest)
		return
	}
	got, err := s.agent.Override(r.Context(), o)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.cfg.Log.Warn("security", "event", "override from the page", "account", name, "from", r.RemoteAddr, "target", o.Target, "kind", o.Kind, "for", o.For, "stage", got.Stage, "code", got.Code)
	answer(w, got)
}

func (s *Server) ack(w http.ResponseWriter, r *http.Request) {
	var o socket.Ack
	if !decode(w, r, &o) {
		return
	}
	o.By, _ = r.Context().Value(person{}).(string)
	if err := s.agent.Ack(r.Context(), o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.cfg.Log.Info("security", "event", "alarm acknowledged from the page", "account", o.By, "from", r.RemoteAddr, "alarm", o.Alarm)
	answer(w, struct{}{})
}

// decode reads a request, or answers what is wrong with it. Only JSON is taken:
// a form of another site can't send that.
func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != "application/json" {
		http.Error(w, "send application/json", http.StatusUnsupportedMediaType)
		return false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func answer(w http.ResponseWriter, v any) {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b.Bytes())
}
