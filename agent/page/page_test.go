package page

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/socket"
)

// substation is what the page asks.
type substation struct {
	overrides []socket.Override
	acks      []socket.Ack
	local     bool
	snapshots int
}

func (s *substation) Snapshot(context.Context) ([]byte, error) {
	s.snapshots++
	return fmt.Appendf(nil, `{"n":%d}`, s.snapshots), nil
}
func (s *substation) Local(context.Context) bool              { return s.local }
func (s *substation) History(context.Context) ([]byte, error) { return []byte(`{}`), nil }
func (s *substation) Override(_ context.Context, o socket.Override) (socket.Answer, error) {
	s.overrides = append(s.overrides, o)
	return socket.Answer{ID: "local-1", Stage: "active"}, nil
}
func (s *substation) Ack(_ context.Context, a socket.Ack) error {
	s.acks = append(s.acks, a)
	if a.Alarm == "W9.STALE" {
		return errors.New("there is no alarm W9.STALE")
	}
	return nil
}

const password = "correct horse"

type rig struct {
	t    *testing.T
	page http.Handler
	*Server
	asked *substation
	log   bytes.Buffer
	now   time.Duration
}

func newRig(t *testing.T, accounts ...Account) *rig {
	t.Helper()
	r := &rig{t: t, asked: &substation{}}
	var err error
	r.Server, err = New(Config{Listen: "127.0.0.1:0", Names: []string{"rtu-7"}, Accounts: accounts,
		Now: func() time.Duration { return r.now }, Log: slog.New(slog.NewTextHandler(&r.log, nil))}, r.asked)
	if err != nil {
		t.Fatal(err)
	}
	r.page = r.Handler()
	return r
}

func people(t *testing.T) []Account {
	t.Helper()
	secret, err := Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	return []Account{{"anna", Operator, secret}, {"bert", Viewer, secret}}
}

// ask sends a request as the page's own script would, changed by tamper.
func (r *rig) ask(method, path, token, body string, tamper ...func(*http.Request)) *httptest.ResponseRecorder {
	q := httptest.NewRequest(method, "http://127.0.0.1:8080"+path, strings.NewReader(body))
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Sec-Fetch-Site", "same-origin")
	if token != "" {
		q.AddCookie(&http.Cookie{Name: cookie, Value: token})
	}
	for _, f := range tamper {
		f(q)
	}
	w := httptest.NewRecorder()
	r.page.ServeHTTP(w, q)
	return w
}

func (r *rig) signsIn(name, password string) (token string, code int) {
	w := r.ask("POST", "/session", "", fmt.Sprintf(`{"name":%q,"password":%q}`, name, password))
	for _, c := range w.Result().Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
			r.t.Errorf("cookie %+v is open to scripts or other sites", c)
		}
		token = c.Value
	}
	return token, w.Code
}

const order = `{"target":"G1","kind":"hold_off","for":"30m","why":"jointing"}`

func TestWhoMayDoWhat(t *testing.T) {
	r := newRig(t, people(t)...)
	anna, _ := r.signsIn("anna", password)
	bert, _ := r.signsIn("bert", password)
	foreign := func(q *http.Request) { q.Header.Set("Sec-Fetch-Site", "cross-site") }
	tests := []struct {
		name, method, path, token, body string
		tamper                          func(*http.Request)
		want                            int
	}{
		{"nobody reads", "GET", "/history", "", "", nil, 401},
		{"nobody reads live", "GET", "/live", "", "", nil, 401},
		{"a made-up session", "GET", "/history", "AAAA", "", nil, 401},
		{"a viewer reads", "GET", "/history", bert, "", nil, 200},
		{"a viewer holds nothing off", "POST", "/override", bert, order, nil, 403},
		{"a viewer acknowledges nothing", "POST", "/ack", bert, `{"alarm":"W1.STALE"}`, nil, 403},
		{"an operator holds off", "POST", "/override", anna, order, nil, 200},
		{"an operator acknowledges", "POST", "/ack", anna, `{"alarm":"W1.STALE"}`, nil, 200},
		{"an alarm that there is not", "POST", "/ack", anna, `{"alarm":"W9.STALE"}`, nil, 400},
		{"another site's form", "POST", "/override", anna, order, foreign, 403},
		{"another site's form signs in", "POST", "/session", "", `{"name":"anna","password":"x"}`, foreign, 403},
		{"a form's content type", "POST", "/override", anna, order, func(q *http.Request) { q.Header.Set("Content-Type", "text/plain") }, 415},
		{"another site's name for this address", "GET", "/history", anna, "", func(q *http.Request) { q.Host = "evil.example" }, 421},
		{"a name of this page", "GET", "/history", anna, "", func(q *http.Request) { q.Host = "rtu-7:8080" }, 200},
		{"no release in Remote", "POST", "/override", anna, `{"target":"G1","kind":"release","for":"30m","why":"x"}`, nil, 403},
		{"no override without an end", "POST", "/override", anna, `{"target":"G1","kind":"hold_off","why":"x"}`, nil, 400},
		{"no override without a reason", "POST", "/override", anna, `{"target":"G1","kind":"hold_off","for":"30m","why":" "}`, nil, 400},
		{"not JSON", "POST", "/override", anna, `{`, nil, 400},
		{"too long", "POST", "/override", anna, `{"why":"` + strings.Repeat("x", mostBody) + `"}`, nil, 400},
		{"another path", "GET", "/debug/pprof", anna, "", nil, 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var tamper []func(*http.Request)
			if tt.tamper != nil {
				tamper = append(tamper, tt.tamper)
			}
			if w := r.ask(tt.method, tt.path, tt.token, tt.body, tamper...); w.Code != tt.want {
				t.Errorf("%d %s, want %d", w.Code, w.Body, tt.want)
			}
		})
	}
	if len(r.asked.overrides) != 1 || r.asked.overrides[0].By != "anna" {
		t.Errorf("overrides %+v, want one by anna", r.asked.overrides)
	}
	if len(r.asked.acks) != 2 || r.asked.acks[0].By != "anna" {
		t.Errorf("acknowledged %+v, want by anna", r.asked.acks)
	}
	if !strings.Contains(r.log.String(), "override from the page") || strings.Contains(r.log.String(), password) {
		t.Errorf("log %s", r.log.String())
	}
}

// Who says to be somebody else is still who signed in.
func TestNameOfAnOverrideIsTheAccounts(t *testing.T) {
	r := newRig(t, people(t)...)
	anna, _ := r.signsIn("anna", password)
	r.ask("POST", "/override", anna, `{"target":"G1","kind":"limit","amps":10,"for":"30m","why":"x","by":"bert"}`)
	if len(r.asked.overrides) != 1 || r.asked.overrides[0].By != "anna" {
		t.Errorf("overrides %+v, want one by anna", r.asked.overrides)
	}
}

// Who works on site, with the switch at Local, may release.
func TestReleaseInLocal(t *testing.T) {
	r := newRig(t, people(t)...)
	r.asked.local = true
	anna, _ := r.signsIn("anna", password)
	bert, _ := r.signsIn("bert", password)
	const release = `{"target":"G1","kind":"release","for":"30m","why":"test of a charger"}`
	if w := r.ask("POST", "/override", bert, release); w.Code != 403 {
		t.Errorf("a viewer: %d", w.Code)
	}
	if w := r.ask("POST", "/override", anna, release); w.Code != 200 || len(r.asked.overrides) != 1 {
		t.Errorf("an operator: %d %s, %+v", w.Code, w.Body, r.asked.overrides)
	}
}

func TestWithoutAccountsEverybodyReadsAndNobodyOrders(t *testing.T) {
	r := newRig(t)
	if w := r.ask("GET", "/history", "", ""); w.Code != 200 {
		t.Errorf("history: %d %s", w.Code, w.Body)
	}
	for _, path := range []string{"/override", "/ack"} {
		if w := r.ask("POST", path, "", order); w.Code != 403 {
			t.Errorf("%s: %d %s, want 403", path, w.Code, w.Body)
		}
	}
}

// Guessing locks an account for longer each time, for the right password too;
// other people are not kept out; once in, it is forgotten.
func TestGuessingLocksAnAccount(t *testing.T) {
	r := newRig(t, people(t)...)
	for i := range freeGuesses - 1 {
		if _, code := r.signsIn("anna", fmt.Sprint("wrong password ", i)); code != 401 {
			t.Fatalf("guess %d: %d", i+1, code)
		}
	}
	for _, lock := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		if _, code := r.signsIn("anna", "wrong again"); code != 429 {
			t.Fatalf("lock of %v: %d, want 429", lock, code)
		}
		r.now += lock - time.Second
		if _, code := r.signsIn("anna", password); code != 429 {
			t.Errorf("%v after a lock of %v the right password gets %d, want 429", lock-time.Second, lock, code)
		}
		if _, code := r.signsIn("bert", password); code != 200 {
			t.Errorf("bert is kept out by guesses at anna's account: %d", code)
		}
		r.now += 2 * time.Second
	}
	if _, code := r.signsIn("anna", password); code != 200 {
		t.Errorf("after the lock: %d", code)
	}
	if _, code := r.signsIn("anna", "wrong"); code != 401 {
		t.Errorf("a slip after signing in is locked at once: %d", code)
	}
	if !strings.Contains(r.log.String(), "account locked") {
		t.Error("the log has no word of it")
	}
}

func TestNamesThatThereAreNotAreAnsweredTheSame(t *testing.T) {
	r := newRig(t, people(t)...)
	one := r.ask("POST", "/session", "", `{"name":"anna","password":"wrong one"}`)
	two := r.ask("POST", "/session", "", `{"name":"carl","password":"wrong one"}`)
	if one.Code != two.Code || one.Body.String() != two.Body.String() {
		t.Errorf("anna: %d %s; carl: %d %s", one.Code, one.Body, two.Code, two.Body)
	}
}

func TestSessionsEnd(t *testing.T) {
	r := newRig(t, people(t)...)
	anna, _ := r.signsIn("anna", password)
	for range 8 { // hours in which something is ordered
		r.now += idleEnd
		if w := r.ask("POST", "/override", anna, order); w.Code != 200 {
			t.Fatalf("after %v: %d %s", r.now, w.Code, w.Body)
		}
	}
	r.now += time.Minute
	if w := r.ask("POST", "/override", anna, order); w.Code != 401 {
		t.Errorf("after the end of the shift: %d", w.Code)
	}
	anna, _ = r.signsIn("anna", password)
	r.now += idleEnd + 1
	if w := r.ask("GET", "/history", anna, ""); w.Code != 401 {
		t.Errorf("after an hour without an order: %d", w.Code)
	}
	anna, _ = r.signsIn("anna", password)
	r.ask("DELETE", "/session", anna, "")
	if w := r.ask("GET", "/history", anna, ""); w.Code != 401 {
		t.Errorf("after signing out: %d", w.Code)
	}
	for i := range mostSessions + 1 {
		if _, code := r.signsIn("bert", password); (code == 200) != (i < mostSessions) {
			t.Errorf("session %d: %d", i+1, code)
		}
	}
}

// A page left open is told when its session is over, and gets nothing more.
func TestLivePageEndsWithItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, people(t)...)
		start := time.Now() // of the bubble: it goes on while the page is open
		r.door.now = func() time.Duration { return time.Since(start) }
		anna, _ := r.signsIn("anna", password)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go r.feed.run(ctx)
		q := httptest.NewRequest("GET", "http://localhost/live", nil).WithContext(ctx)
		q.AddCookie(&http.Cookie{Name: cookie, Value: anna})
		w := &stream{ResponseRecorder: httptest.NewRecorder()}
		ended := make(chan struct{})
		go func() { r.page.ServeHTTP(w, q); close(ended) }()
		<-ended
		if open := time.Since(start); open < idleEnd || open > idleEnd+2*every {
			t.Errorf("the page was open for %v, its session for %v", open, idleEnd)
		}
		if n := strings.Count(w.Body.String(), "data: {\"n\""); n < int(idleEnd/every)-2 || n > int(idleEnd/every)+2 {
			t.Errorf("%d updates in %v", n, idleEnd)
		}
		if !strings.HasSuffix(w.Body.String(), "event: end\ndata: {}\n\n") {
			t.Errorf("ends with %q", w.Body.String()[max(0, w.Body.Len()-60):])
		}
	})
}

// stream is a recorder that takes deadlines.
type stream struct{ *httptest.ResponseRecorder }

func (*stream) SetWriteDeadline(time.Time) error { return nil }

// Ten open pages cost what one costs, and none costs nothing.
func TestSnapshotsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go r.feed.run(ctx)
		time.Sleep(time.Minute)
		synctest.Wait()
		if r.asked.snapshots != 0 {
			t.Errorf("%d snapshots for nobody", r.asked.snapshots)
		}
		var open []*viewer
		for range mostViewers {
			open = append(open, r.feed.join())
		}
		if r.feed.join() != nil {
			t.Errorf("more than %d pages are open", mostViewers)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := r.asked.snapshots; n < 59 || n > 66 {
			t.Errorf("%d snapshots in a minute for %d pages", n, len(open))
		}
		for _, v := range open {
			if len(v.next) != 1 {
				t.Error("a page that does not read has no newest snapshot waiting")
			}
			r.feed.leave(v)
		}
	})
}

func TestSecrets(t *testing.T) {
	secret, err := Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	if secret == again {
		t.Error("the same password has the same secret twice: there is no salt")
	}
	if _, err := Hash("short"); err == nil {
		t.Error("a password of five characters is taken")
	}
	for _, bad := range []string{"", password, "pbkdf2-sha256$1$AAAA$BBBB", strings.Replace(secret, "$60000$", "$1$", 1), secret[:len(secret)-1], "md5" + secret} {
		if CheckSecret(bad) == nil {
			t.Errorf("secret %q is taken", bad)
		}
	}
}

// What is served needs nothing from elsewhere and is small.
func TestPageIsSmallAndWhole(t *testing.T) {
	r, size := newRig(t), 0
	for _, path := range []string{"/", "/page.css", "/page.js"} {
		w := r.ask("GET", path, "", "")
		if w.Code != 200 {
			t.Fatalf("%s: %d", path, w.Code)
		}
		size += w.Body.Len()
		if strings.Contains(w.Body.String(), "https://") || strings.Contains(strings.ReplaceAll(w.Body.String(), "http://www.w3.org/2000/svg", ""), "http://") {
			t.Errorf("%s names something elsewhere", path)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", path, csp)
		}
	}
	if size > 100_000 {
		t.Errorf("%d octets, at most 100,000", size)
	}
	t.Logf("%d octets", size)
}
