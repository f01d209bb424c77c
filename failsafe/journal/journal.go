// Package journal is the form in which everything that the failsafe engine was
// told is kept: step by step, so that every decision can be computed again.
//
// It turns steps into octets and octets into steps. It opens no file and decides
// neither what is kept nor for how long; see agent/tape. What was decided is not
// in it (agent/audit), it is what the steps come to.
//
// A journal is a sequence of blocks, each standing for itself, so that a torn or
// damaged one is known as such:
//
//	4 octets  "LVJ1"
//	4 octets  length of the rest, little endian
//	4 octets  CRC-32C of the rest
//	1 octet   what it is: a key, steps, or a record of the audit chain
//	          the contents, compressed (RFC 1951)
//
// A key has all that is needed to go on from: the engine's configuration and its
// state. The first of a run has the state of the run before, too. Steps follow the
// key, and each says its number, so that a gap is seen.
//
// Requirements: R11, R15 (decisions that anybody can judge).
package journal

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"
)

// Kind is what a block holds.
type Kind byte

// Kinds of a block.
const (
	KeyBlock    Kind = 'K'
	StepsBlock  Kind = 'S'
	RecordBlock Kind = 'A' // a record of the audit chain, put beside the steps for export
)

const (
	magic  = "LVJ1"
	header = 12

	// MostBlock is the most octets of a block's rest, and mostPlain of what is
	// compressed in it: no damaged length makes a reader wait or grow.
	MostBlock = 4 << 20
	mostPlain = 16 << 20
)

// ErrDamaged is of a block whose sum is right and which makes no sense all the
// same.
var ErrDamaged = errors.New("damaged journal")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Key is where computing can begin.
type Key struct {
	Agent   string `json:"agent"`
	Boot    string `json:"boot"`
	Config  string `json:"config"` // hash of the site file
	Version string `json:"version"`
	Next    uint64 `json:"next"` // number of the step that follows

	Engine failsafe.Config `json:"engine"`
	Place  string          `json:"place"` // name of Engine.Place
	State  failsafe.State  `json:"state"`
	// Ramps is what waits to be summed up in the audit chain (agent/audit).
	Ramps json.RawMessage `json:"ramps,omitempty"`
	Start *Start          `json:"start,omitempty"` // of the first key of a run
}

// Start is what a run went on from.
type Start struct {
	Old   *failsafe.State `json:"old,omitempty"` // as it was stored; nil: there was none
	Lost  bool            `json:"lost"`          // one was expected, or one of two copies was broken
	Now   time.Duration   `json:"now"`
	Wall  time.Time       `json:"wall"`
	Clock meter.Clock     `json:"clock"`
	Host  string          `json:"host"` // the run of the machine
}

// PowerLost reports whether the machine was started anew and the agent had not
// been stopped in order: its supply was lost then, as far as anybody knows, and
// with it the groups'.
func (s *Start) PowerLost() bool {
	return s.Old != nil && s.Old.Host != "" && s.Host != "" && s.Old.Host != s.Host && !s.Old.Stopped
}

// State computes the state that the run began with.
func (s *Start) State(e *failsafe.Engine) failsafe.State {
	if s.Old == nil {
		state := e.New(s.Now, s.Wall, s.Lost)
		state.Host = s.Host
		return state
	}
	state := e.Resume(*s.Old, s.Now, s.Wall, s.Clock)
	state.Lost = state.Lost || s.Lost
	if s.PowerLost() {
		state = e.Repowered(state, "boot "+s.Host)
	}
	state.Host = s.Host
	return state
}

// AppendKey appends a key as a block.
func AppendKey(dst []byte, k *Key) ([]byte, error) {
	plain := *k
	plain.Engine.Place = nil // its name stands for it
	body, err := json.Marshal(&plain)
	if err != nil {
		return dst, fmt.Errorf("write key of the journal: %w", err)
	}
	return Seal(dst, KeyBlock, body)
}

// ReadKey reads the contents of a key.
func ReadKey(body []byte) (*Key, error) {
	k := &Key{}
	if err := json.Unmarshal(body, k); err != nil {
		return nil, fmt.Errorf("read key: %w: %w", ErrDamaged, err)
	}
	if err := k.check(); err != nil {
		return nil, fmt.Errorf("read key: %w: %w", ErrDamaged, err)
	}
	place, err := time.LoadLocation(k.Place)
	if err != nil {
		return nil, fmt.Errorf("read key: %w: place %q: %w", ErrDamaged, k.Place, err)
	}
	k.Engine.Place = place
	return k, nil
}

// Most that a site has, with room to spare: what is beyond it is no journal of
// ours.
const (
	mostWays   = 256
	mostGroups = 4096
)

// check refuses what no engine can be built of or step.
func (k *Key) check() error {
	ways := map[string]bool{}
	for _, w := range k.Engine.Ways {
		ways[w.ID] = true
	}
	if len(ways) != len(k.Engine.Ways) || len(ways) > mostWays || len(k.Engine.Groups) > mostGroups {
		return fmt.Errorf("%d ways, %d groups", len(k.Engine.Ways), len(k.Engine.Groups))
	}
	for _, g := range k.Engine.Groups {
		if !ways[g.Way] || g.Rating < 0 || g.Rating > 1<<40 {
			return fmt.Errorf("group %q of way %q, rating %d", g.ID, g.Way, g.Rating)
		}
		for _, p := range g.Profile {
			if p.From < 0 || p.To < 0 || p.From > 1440 || p.To > 1440 {
				return fmt.Errorf("group %q has a profile from %d to %d", g.ID, p.From, p.To)
			}
		}
	}
	t := &k.Engine.Timers
	for _, d := range []time.Duration{t.Stable, t.StableMost, t.HeartbeatPeriod, t.HeartbeatTimeout} {
		if d <= 0 || d > 1000*time.Hour {
			return fmt.Errorf("a timer of %v", d)
		}
	}
	// A state fits the configuration as New makes it: its lists run in parallel.
	like := failsafe.NewEngine(k.Engine).New(0, time.Time{}, false)
	if len(k.State.Ways) != len(like.Ways) || len(k.State.Groups) != len(like.Groups) || len(k.State.Constraints) != len(like.Constraints) {
		return fmt.Errorf("the state is of %d ways and %d groups, the configuration of %d and %d",
			len(k.State.Ways), len(k.State.Groups), len(like.Ways), len(like.Groups))
	}
	for i := range like.Constraints {
		if p := k.State.Constraints[i].Phase; p != like.Constraints[i].Phase {
			return fmt.Errorf("constraint %d is of phase %d", i, p)
		}
	}
	for _, c := range k.State.Commands {
		for _, e := range c.Effects {
			if int(e.Phase) >= meter.Phases {
				return fmt.Errorf("command %q has an effect on phase %d", c.ID, e.Phase)
			}
		}
		if err := known(&k.Engine, c.Groups); err != nil {
			return fmt.Errorf("command %q: %w", c.ID, err)
		}
	}
	for _, w := range k.State.Ways {
		if w.State > failsafe.Probation {
			return fmt.Errorf("way %q is in state %d", w.ID, w.State)
		}
	}
	return nil
}

func known(cfg *failsafe.Config, groups []string) error {
	for _, id := range groups {
		found := false
		for g := range cfg.Groups {
			found = found || cfg.Groups[g].ID == id
		}
		if !found {
			return fmt.Errorf("there is no group %q", id)
		}
	}
	return nil
}

// AppendRecord appends a record of the audit chain as a block.
func AppendRecord(dst, record []byte) ([]byte, error) { return Seal(dst, RecordBlock, record) }

// Seal appends a block of what was made elsewhere.
func Seal(dst []byte, kind Kind, body []byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, byte(kind))
	out := bytes.NewBuffer(dst)
	w, err := flate.NewWriter(out, flate.BestSpeed)
	if err == nil {
		_, err = w.Write(body)
	}
	if err == nil {
		err = w.Close()
	}
	dst = out.Bytes()
	rest := dst[start+header:]
	if err == nil && (len(rest) > MostBlock || len(body) > mostPlain) {
		err = fmt.Errorf("%d octets are more than a block takes", len(body))
	}
	if err != nil {
		return dst[:start], fmt.Errorf("write block %c of the journal: %w", kind, err)
	}
	binary.LittleEndian.PutUint32(dst[start+4:], uint32(len(rest)))
	binary.LittleEndian.PutUint32(dst[start+8:], crc32.Checksum(rest, castagnoli))
	return dst, nil
}

// Block is a whole block.
type Block struct {
	Kind Kind
	Raw  []byte // with its head
	At   int    // offset in what was scanned
}

// Body returns the contents.
func (b *Block) Body() ([]byte, error) {
	r := flate.NewReader(bytes.NewReader(b.Raw[header+1:]))
	body, err := io.ReadAll(io.LimitReader(r, mostPlain+1))
	if err == nil && len(body) > mostPlain {
		err = fmt.Errorf("more than %d octets", mostPlain)
	}
	if err != nil {
		return nil, fmt.Errorf("block %c at octet %d: %w: %w", b.Kind, b.At, ErrDamaged, err)
	}
	return body, nil
}

// Scan gives each whole block in data to yield, until it returns false, and
// counts the octets that are in none.
func Scan(data []byte, yield func(Block) bool) (skipped int) {
	for at := 0; at < len(data); {
		size := block(data[at:])
		if size == 0 {
			next := bytes.Index(data[at+1:], []byte(magic))
			if next < 0 {
				return skipped + len(data) - at
			}
			skipped += next + 1
			at += next + 1
			continue
		}
		if !yield(Block{Kind: Kind(data[at+header]), Raw: data[at : at+size], At: at}) {
			return skipped
		}
		at += size
	}
	return skipped
}

// block returns the size of the block at the start of data, or 0.
func block(data []byte) int {
	if len(data) < header+1 || string(data[:4]) != magic {
		return 0
	}
	n := binary.LittleEndian.Uint32(data[4:])
	if n < 1 || n > MostBlock || int(n) > len(data)-header {
		return 0
	}
	if crc32.Checksum(data[header:header+int(n)], castagnoli) != binary.LittleEndian.Uint32(data[8:]) {
		return 0
	}
	return header + int(n)
}
