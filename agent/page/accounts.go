package page

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Role is what an account may do.
type Role string

// Roles. An operator may also override and acknowledge.
const (
	Viewer   Role = "viewer"
	Operator Role = "operator"
)

// Account is one person.
type Account struct {
	Name   string
	Role   Role
	Secret string // as made by [Hash]
}

// rounds makes one guess cost about a tenth of a second on an RTU's processor
// (ARMv7 at 1 GHz); the lock-out does the rest.
const rounds = 60_000

// Hash makes what the site file keeps of a password.
func Hash(password string) (string, error) {
	if len(password) < LeastPassword {
		return "", fmt.Errorf("password: %d characters, at least %d", len(password), LeastPassword)
	}
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	sum, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("pbkdf2-sha256$%d$%s$%s", rounds, b64.EncodeToString(salt), b64.EncodeToString(sum)), nil
}

// LeastPassword is the length of the shortest password.
const LeastPassword = 8

type secret struct {
	rounds    int
	salt, sum []byte
}

// CheckSecret says what is wrong with the secret of an account in a site file.
func CheckSecret(s string) error {
	_, err := parseSecret(s)
	return err
}

var errSecret = errors.New("not made by lvagent password")

func parseSecret(s string) (secret, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 4 || parts[0] != "pbkdf2-sha256" {
		return secret{}, errSecret
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil || n < 10_000 || n > 10_000_000 {
		return secret{}, errSecret
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[2])
	if err != nil || len(salt) < 16 {
		return secret{}, errSecret
	}
	sum, err := base64.RawStdEncoding.DecodeString(parts[3])
	if err != nil || len(sum) != sha256.Size {
		return secret{}, errSecret
	}
	return secret{n, salt, sum}, nil
}

func (s *secret) is(password string) bool {
	sum, err := pbkdf2.Key(sha256.New, password, s.salt, s.rounds, sha256.Size)
	return err == nil && subtle.ConstantTimeCompare(sum, s.sum) == 1
}

// Bounds of sessions and of guessing.
const (
	idleEnd      = time.Hour     // of a session in which nobody orders anything
	sessionEnd   = 8 * time.Hour // of any session: a shift
	mostSessions = 16
	freeGuesses  = 5
	firstLock    = time.Minute // doubles with each further wrong guess
	longestLock  = time.Hour
)

// lock counts wrong guesses at one account.
type lock struct {
	wrong int
	until time.Duration
}

type session struct {
	account     string
	role        Role
	began, used time.Duration
}

// door knows who is signed in. Its times are monotonic: a stepped clock keeps
// nobody in and nobody out.
type door struct {
	mu       sync.Mutex
	now      func() time.Duration
	accounts map[string]account
	locks    map[string]*lock
	sessions map[string]*session
	guessing sync.Mutex // one at a time: a guess costs the processor
}

type account struct {
	role   Role
	secret secret
}

func newDoor(accounts []Account, now func() time.Duration) (*door, error) {
	d := &door{now: now, accounts: map[string]account{}, locks: map[string]*lock{}, sessions: map[string]*session{}}
	for _, a := range accounts {
		s, err := parseSecret(a.Secret)
		if err != nil {
			return nil, fmt.Errorf("account %s: %w", a.Name, err)
		}
		d.accounts[a.Name] = account{a.Role, s}
		d.locks[a.Name] = &lock{}
	}
	return d, nil
}

// errors of signing in.
var (
	errWrong = errors.New("wrong name or password")
	errBusy  = errors.New("somebody else is signing in; try again")
	errFull  = errors.New("too many people are signed in; one must sign out first")
)

// lockedError says for how long an account takes no password.
type lockedError struct{ left time.Duration }

func (e *lockedError) Error() string {
	return fmt.Sprintf("too many wrong passwords; try again in %v", e.left.Round(time.Second))
}

// enter signs in and returns the session's token. A wrong password counts
// against the account, and is answered as slowly for a name that does not exist.
func (d *door) enter(name, password string) (token string, err error) {
	if !d.guessing.TryLock() {
		return "", errBusy
	}
	defer d.guessing.Unlock()
	d.mu.Lock()
	a, known := d.accounts[name]
	l := d.locks[name]
	if !known {
		a.secret = secret{rounds, make([]byte, 16), make([]byte, sha256.Size)}
	}
	if known && d.now() < l.until {
		left := l.until - d.now()
		d.mu.Unlock()
		return "", &lockedError{left}
	}
	d.mu.Unlock()

	right := a.secret.is(password) && known

	d.mu.Lock()
	defer d.mu.Unlock()
	if !right {
		if known {
			l.wrong++
			if n := l.wrong - freeGuesses; n >= 0 {
				l.until = d.now() + min(firstLock<<min(n, 10), longestLock)
				return "", &lockedError{l.until - d.now()}
			}
		}
		return "", errWrong
	}
	*l = lock{}
	d.expire()
	if len(d.sessions) >= mostSessions {
		return "", errFull
	}
	token = rand.Text()
	d.sessions[token] = &session{name, a.role, d.now(), d.now()}
	return token, nil
}

// expire forgets sessions whose time is over.
func (d *door) expire() {
	for token, s := range d.sessions {
		if now := d.now(); now-s.used > idleEnd || now-s.began > sessionEnd {
			delete(d.sessions, token)
		}
	}
}

// who returns the account of a session; an act of the person keeps it open.
func (d *door) who(token string, act bool) (name string, role Role, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire()
	s := d.sessions[token]
	if s == nil {
		return "", "", false
	}
	if act {
		s.used = d.now()
	}
	return s.account, s.role, true
}

func (d *door) leave(token string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sessions, token)
}
