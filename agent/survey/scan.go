package survey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"lvagent/configs"
	"lvagent/meter/modbus"
)

// Found is a meter on a bus.
type Found struct {
	Unit    uint8   `json:"unit"`
	Baud    int     `json:"baud,omitempty"`
	Parity  string  `json:"parity,omitempty"`
	Serial  string  `json:"serial,omitempty"`
	Profile string  `json:"profile,omitempty"` // the one that fits best; empty: none does, or several
	Matches []Match `json:"matches"`
}

// ScanResult is what was found on a bus.
type ScanResult struct {
	URL     string  `json:"url"`
	Asked   int     `json:"asked"`
	Meters  []Found `json:"meters"`
	Stopped bool    `json:"stopped"` // before the end
	// AnyUnit says that the far end answers to every unit id, as a meter with an
	// Ethernet port of its own may: it is one meter.
	AnyUnit bool `json:"any_unit"`
}

// Search is what a scan tries.
type Search struct {
	Bus      modbus.Bus
	Units    Range
	Bauds    []int    // of a serial line; empty: the bus's
	Parities []string // likewise
}

// inARow is how many units on a network must answer one after the other for the
// far end to be taken for a meter that answers to any.
const inARow = 10

// Scan asks each unit whether it is there, and what it is. Note hears what goes
// on; the end of ctx ends the scan with what was found until then.
func Scan(ctx context.Context, s Search, note func(string)) (*ScanResult, error) {
	r := &ScanResult{URL: s.Bus.URL, Meters: []Found{}}
	if s.Bus.Timeout == 0 {
		s.Bus.Timeout = quick
	}
	if len(s.Bauds) == 0 || s.Bus.URL == "" || !strings.HasPrefix(s.Bus.URL, modbus.RTU+":") {
		s.Bauds = []int{s.Bus.Baud}
	}
	if len(s.Parities) == 0 || !strings.HasPrefix(s.Bus.URL, modbus.RTU+":") {
		s.Parities = []string{s.Bus.Parity}
	}
	for _, baud := range s.Bauds {
		for _, parity := range s.Parities {
			bus := s.Bus
			bus.Baud, bus.Parity = baud, parity
			err := r.scan(ctx, bus, s.Units, note)
			if r.Stopped = ctx.Err() != nil; r.Stopped || err != nil {
				return r, err
			}
			if len(r.Meters) > 0 {
				return r, nil // a line has one speed
			}
		}
	}
	return r, nil
}

func (r *ScanResult) scan(ctx context.Context, bus modbus.Bus, units Range, note func(string)) error {
	c, err := open(bus)
	if err != nil {
		return err
	}
	defer c.Close() // what it says changes nothing any more
	line := ""
	if bus.Baud > 0 || bus.Parity != "" {
		line = fmt.Sprintf(" at %d %s", bus.Baud, bus.Parity)
	}
	row := 0
	for i, unit := range units {
		if ctx.Err() != nil {
			return nil
		}
		note(fmt.Sprintf("unit %d%s, %d of %d, %d found", unit, line, i+1, len(units), len(r.Meters)))
		if err := c.Open(); err != nil {
			return &Trouble{err, adviseOpen(bus.URL, err)}
		}
		r.Asked++
		there, err := c.Answers(unit)
		if err != nil && !errors.Is(err, modbus.ErrTimeout) && !errors.Is(err, modbus.ErrBadFrame) {
			// Some gateways close the connection on a unit that is not there.
			there = false
		}
		if !there {
			row = 0
			continue
		}
		if row++; row == inARow && !configs.IsSerial(bus.URL) && i+1 == row {
			r.AnyUnit, r.Meters = true, r.Meters[:1]
			return nil
		}
		note(fmt.Sprintf("unit %d%s answers", unit, line))
		f := Found{Unit: unit, Baud: bus.Baud, Parity: bus.Parity}
		f.Matches, err = rank(ctx, c, unit, func(what string) { note(fmt.Sprintf("unit %d%s: %s", unit, line, what)) })
		if best := bestOf(f.Matches); len(best) == 1 {
			f.Profile = best[0]
		}
		if len(f.Matches) > 0 {
			f.Serial = f.Matches[0].Serial
		}
		r.Meters = append(r.Meters, f)
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// Print writes the result for people, the snippet for the site file last.
func (r *ScanResult) Print(w io.Writer) {
	if r.Stopped {
		fmt.Fprintf(w, "# stopped after %d units\n", r.Asked)
	}
	if len(r.Meters) == 0 {
		fmt.Fprintf(w, "# no meter on %s\n", r.URL)
		if configs.IsSerial(r.URL) {
			fmt.Fprintln(w, "# try other --bauds and --parities; check A and B, and that the meters have power")
		} else {
			fmt.Fprintln(w, "# connected, and no unit answers: check the gateway's serial side")
		}
		return
	}
	fmt.Fprintf(w, "# %d found on %s, %s\n", len(r.Meters), r.URL, time.Now().UTC().Format(time.DateOnly))
	if r.AnyUnit {
		fmt.Fprintln(w, "# it answers to every unit id: one meter with a network port of its own")
	}
	fmt.Fprintln(w, "meters:")
	for i := range r.Meters {
		f := &r.Meters[i]
		profile := f.Profile
		remark := ""
		switch best := bestOf(f.Matches); {
		case len(best) > 1:
			profile, remark = best[0], " # or "+strings.Join(best[1:], ", ")+": compare with the display"
		case len(best) == 0:
			profile, remark = "unknown.yaml", " # no shipped profile fits"
		case f.Serial != "":
			remark = " # serial number " + f.Serial
		}
		fmt.Fprintf(w, "  - {id: m%d, url: %q, unit: %d, profile: %s%s}%s\n", f.Unit, r.URL, f.Unit, profile, busOf(r.URL, f, i == 0), remark)
	}
	fmt.Fprintln(w, "ways:   # set the names and the ratings")
	for i := range r.Meters {
		u := r.Meters[i].Unit
		fmt.Fprintf(w, "  - {id: W%d, meter: m%d, rating_a: 315}\n", u, u)
	}
}

// busOf is the bus key of a meter; one meter of a line has it.
func busOf(url string, f *Found, first bool) string {
	if !first || !strings.HasPrefix(url, modbus.RTU+":") {
		return ""
	}
	baud, parity := f.Baud, f.Parity
	if baud == 0 {
		baud = 9600
	}
	if parity == "" {
		parity = "none"
	}
	return fmt.Sprintf(", bus: {baud: %d, parity: %s}", baud, parity)
}
