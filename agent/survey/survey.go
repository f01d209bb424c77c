// Package survey looks at meters before there is an agent: it reads one meter in
// every way that makes sense, tells which shipped profile fits it, and finds the
// meters on a bus.
//
// It measures nothing that is kept, and writes no register. What it finds it
// says in words for somebody who stands in front of the meter.
//
// Requirements: R1, at commissioning.
package survey

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"lvagent/configs"
	"lvagent/meter"
	"lvagent/meter/modbus"
)

// profileOf returns a shipped profile by its id, or one from a file that ends in
// .yaml.
func profileOf(name string) (*modbus.Profile, error) {
	text, err := []byte(nil), error(nil)
	if strings.HasSuffix(name, ".yaml") {
		text, err = os.ReadFile(name)
	} else {
		text, err = configs.Profiles.ReadFile("meters/" + path.Base(name) + ".yaml")
		if err != nil {
			return nil, fmt.Errorf("there is no shipped profile %q; shipped are %s", name, strings.Join(configs.ProfileIDs(), ", "))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	p, faults := modbus.ParseProfile(text)
	if len(faults) > 0 {
		return nil, fmt.Errorf("profile %s: %s", name, faults[0])
	}
	return p, nil
}

// open connects. A bus whose timeout is not set has the usual one.
func open(b modbus.Bus) (*modbus.Client, error) {
	if b.Timeout == 0 {
		b.Timeout = configs.Timeout(b.URL)
	}
	c, err := b.Client(nil)
	if err != nil {
		return nil, err
	}
	if err := c.Open(); err != nil {
		return nil, &Trouble{err, adviseOpen(b.URL, err)}
	}
	return c, nil
}

// Trouble is an error with what to do next.
type Trouble struct {
	Err  error
	Next string
}

// Error says both.
func (t *Trouble) Error() string { return t.Err.Error() + "\n  " + t.Next }

// Unwrap returns the error itself.
func (t *Trouble) Unwrap() error { return t.Err }

// adviseOpen says what to do when there is no connection.
func adviseOpen(url string, err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "The machine is there and nothing listens at this port: check the port (usually 502) and that Modbus TCP is switched on."
	case errors.Is(err, modbus.ErrTimeout), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "Nobody is there: check the address, the cable, the switch and its VLAN; try ping."
	case errors.Is(err, fs.ErrNotExist):
		return "There is no such serial port: see ls /dev/tty*."
	case errors.Is(err, fs.ErrPermission):
		return "You may not use this serial port: run as root, or join its group (usually dialout)."
	case errors.Is(err, syscall.EBUSY):
		return "Somebody else uses this port: stop the agent first (systemctl stop lvagent)."
	case strings.HasPrefix(url, modbus.TLS):
		return "Check the certificates: the meter's must be for the host of the url and from the CA of --ca, ours known to the meter."
	default:
		return "Check the address and the cable."
	}
}

// adviseUnit says what to do when a unit does not answer as it should.
func adviseUnit(url string, err error) string {
	var ex *modbus.ExceptionError
	serial := configs.IsSerial(url)
	switch {
	case errors.As(err, &ex) && (ex.Code == 0x0a || ex.Code == 0x0b):
		return "The gateway is there and does not reach the meter: check the unit id, and at the gateway's serial side baud, parity, A and B."
	case errors.As(err, &ex):
		return "The meter is there and has no such register: try another profile, or none."
	case errors.Is(err, modbus.ErrTimeout) && serial:
		return "Check the unit id, baud and parity at the meter's display, whether A and B are swapped, and the terminating resistors. lvagent scan tries them all."
	case errors.Is(err, modbus.ErrTimeout):
		return "Connected, and the unit is silent: check the unit id; lvagent scan finds it."
	case errors.Is(err, modbus.ErrBadFrame) && serial:
		return "Something answers and is garbled: check baud and parity, and that no two meters have the same unit id."
	case errors.Is(err, modbus.ErrBadFrame):
		return "What answers is no Modbus TCP: is it a gateway that passes RTU on? Then the url begins with rtuovertcp://."
	default:
		return "Check the unit id; lvagent scan finds the meters of a bus."
	}
}

// near reports whether a voltage is one of a live low-voltage phase.
func near(v float64) bool { return v > 195 && v < 265 }

// Match is how well a profile fits a meter.
type Match struct {
	Profile string   `json:"profile"`
	Score   int      `json:"score"`
	Why     []string `json:"why"`
	Serial  string   `json:"serial,omitempty"`

	Identified bool                   `json:"identified"`
	Volts      [meter.Phases]*float64 `json:"volts"`
	Amps       [meter.Phases]*float64 `json:"amps"`
}

// plausible is the least score of a profile that may be the right one: two live
// voltages.
const plausible = 20

// rank tries every shipped profile on a unit, the best first. Its order is that
// of the evidence: what the meter says of itself, then voltages of a live
// network, then powers that fit voltage and current.
func rank(ctx context.Context, c *modbus.Client, unit uint8, note func(string)) (all []Match, err error) {
	for _, id := range configs.ProfileIDs() {
		if ctx.Err() != nil {
			return all, ctx.Err()
		}
		p, err := profileOf(id)
		if err != nil {
			return nil, err
		}
		note("profile " + id)
		m, err := try(c, unit, p)
		if err != nil {
			return all, err
		}
		if m.Score > 0 {
			all = append(all, m)
		}
	}
	slices.SortStableFunc(all, func(a, b Match) int { return b.Score - a.Score })
	return all, nil
}

// tries is how often a meter is asked with one profile: on a serial line a
// refused guard costs the connection, and another guard may be taken.
const tries = 3

// try reads a unit with a profile and says how well it fits.
func try(c *modbus.Client, unit uint8, p *modbus.Profile) (m Match, err error) {
	m.Profile = p.ID()
	source := modbus.NewMeterAs(c, p, modbus.Setup{Way: "probe", Unit: unit})
	var r meter.Reading
	for range tries {
		if err := c.Open(); err != nil {
			return m, &Trouble{err, adviseOpen(c.URL(), err)}
		}
		err := source.Read(&r)
		if err == nil || !errors.Is(err, modbus.ErrGuard) {
			break // what went wrong is in the reading
		}
	}
	m.judge(&r, p, source.Serial())
	return m, nil
}

// judge scores a reading.
func (m *Match) judge(r *meter.Reading, p *modbus.Profile, serial string) {
	say := func(points int, format string, args ...any) {
		m.Score += points
		m.Why = append(m.Why, fmt.Sprintf(format, args...))
	}
	live, fit, wrong := 0, 0, 0
	for i := range r.Phase {
		ph := &r.Phase[i]
		if ph.Reason()&meter.Mismatch != 0 && ph.V.Quality == meter.Missing {
			return // it says itself that it is another meter
		}
		if ph.V.Quality != meter.Missing {
			v := float64(ph.V.Value) / 1000
			m.Volts[i] = &v
			if near(v) {
				live++
			}
		}
		if ph.I.Quality != meter.Missing {
			a := float64(ph.I.Value) / 1000
			m.Amps[i] = &a
		}
		if ph.V.Reason&(meter.OutOfRange|meter.NotANumber) != 0 {
			wrong++
		}
		if consistent(ph) {
			fit++
		}
	}
	m.Serial = serial
	if live > 0 {
		say(10*live, "%d of 3 voltages near 230 V", live)
	}
	if fit > 0 {
		say(5*fit, "power fits voltage and current on %d of 3 phases", fit)
	}
	if wrong > 0 {
		say(-5*wrong, "%d voltages are no voltages", wrong)
	}
	if p.Identifies() && live > 0 {
		m.Identified = true
		say(100, "the meter says that it is one")
	}
}

// consistent reports whether apparent power from P and Q is that from V and I,
// within a tenth, with a current that says something.
func consistent(p *meter.PhaseReading) bool {
	if p.Quality() == meter.Missing || p.I.Value < 200 {
		return false
	}
	product := float64(p.V.Value) / 1e3 * float64(p.I.Value) / 1e3
	apparent := math.Hypot(float64(p.P.Value)/1e3, float64(p.Q.Value)/1e3)
	return math.Abs(product-apparent) <= product/10
}

// Range is a set of unit ids.
type Range []uint8

// ParseRange reads unit ids like 1-32,40.
func ParseRange(text string) (r Range, err error) {
	var seen [256]bool
	for part := range strings.SplitSeq(text, ",") {
		low, high, is := strings.Cut(strings.TrimSpace(part), "-")
		if !is {
			high = low
		}
		var from, to int
		if _, err := fmt.Sscanf(low+" "+high, "%d %d", &from, &to); err != nil || from < 1 || to > 247 || from > to ||
			fmt.Sprint(from) != low || fmt.Sprint(to) != high {
			return nil, fmt.Errorf("units %q: want numbers from 1 to 247 like 1-32,40", text)
		}
		for u := from; u <= to; u++ {
			if !seen[u] {
				seen[u], r = true, append(r, uint8(u))
			}
		}
	}
	return r, nil
}

// quick is how long scan waits for a unit, where nobody says otherwise.
const quick = 200 * time.Millisecond
