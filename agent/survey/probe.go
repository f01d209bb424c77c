package survey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"lvagent/meter/modbus"
)

// ProbeResult is one meter as it was found. With a profile it has what the
// profile reads, else how well each shipped profile fits.
type ProbeResult struct {
	URL     string        `json:"url"`
	Unit    uint8         `json:"unit"`
	Profile string        `json:"profile,omitempty"`
	Serial  string        `json:"serial,omitempty"`
	Wrong   string        `json:"wrong,omitempty"`
	Values  []modbus.Look `json:"values,omitempty"`
	Matches []Match       `json:"matches,omitempty"`
}

// Probe reads one meter: with the profile, or with every shipped one when the
// name is empty. Note hears what goes on.
func Probe(ctx context.Context, b modbus.Bus, unit uint8, channel int, profile string, note func(string)) (r *ProbeResult, err error) {
	r = &ProbeResult{URL: b.URL, Unit: unit, Profile: profile}
	var p *modbus.Profile
	if profile != "" {
		if p, err = profileOf(profile); err != nil {
			return nil, err
		}
		b.Longest = p.Longest()
	}
	c, err := open(b)
	if err != nil {
		return nil, err
	}
	defer c.Close() // what it says changes nothing any more
	there, err := c.Answers(unit)
	if err == nil && !there {
		err = &modbus.ExceptionError{Code: 0x0b, Text: "the gateway does not reach the unit"}
	}
	if err != nil {
		return nil, &Trouble{fmt.Errorf("unit %d: %w", unit, err), adviseUnit(b.URL, err)}
	}
	if p == nil {
		r.Matches, err = rank(ctx, c, unit, note)
		return r, err
	}
	m := modbus.NewMeterAs(c, p, modbus.Setup{Way: "probe", Unit: unit, Channel: channel})
	for range tries {
		if err = c.Open(); err != nil {
			return nil, &Trouble{err, adviseOpen(b.URL, err)}
		}
		var in modbus.Inspection
		in, err = m.Inspect(true)
		r.Serial, r.Wrong, r.Values = in.Serial, in.Wrong, in.Looks
		if err == nil || !errors.Is(err, modbus.ErrGuard) {
			break
		}
	}
	if err != nil {
		return nil, &Trouble{fmt.Errorf("unit %d: %w", unit, err), adviseUnit(b.URL, err)}
	}
	return r, nil
}

// Fits reports whether what was read can be a live meter of the profile: a
// voltage near 230 V, and no other way to read it finds more of them.
func (r *ProbeResult) Fits() bool {
	if r.Profile == "" {
		return len(r.Matches) > 0 && r.Matches[0].Score >= plausible
	}
	v := r.vote()
	return r.Wrong == "" && v.live > 0 && v.live >= v.most
}

// Print writes the result for people. With everything it shows the other ways
// to read each register, else those of the voltages only.
func (r *ProbeResult) Print(w io.Writer, everything bool) {
	if r.Profile == "" {
		r.printMatches(w)
		return
	}
	fmt.Fprintf(w, "%s unit %d, read as %s\n", r.URL, r.Unit, r.Profile)
	if r.Serial != "" {
		fmt.Fprintf(w, "serial number %s\n", r.Serial)
	}
	if r.Wrong != "" {
		fmt.Fprintf(w, "NOT THIS METER: %s\n", r.Wrong)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nVALUE\t\t\tFC\tADDRESS\tTYPE\tWORDS")
	for i := range r.Values {
		l := &r.Values[i]
		value, unit := "-", l.Why
		if l.Known {
			value, unit = number(l.Value), l.Unit
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d = 0x%04x\t%s %s\t%s\n", strings.TrimSpace(l.Quantity+" "+l.Phase), value, unit,
			l.Function, l.Addr, l.Addr, l.Type, l.Order, hex(l.Words))
	}
	t.Flush() // to a writer whose failure shows by itself
	r.printOthers(w, everything)
	r.conclude(w)
}

// printOthers shows what the registers and their neighbours would be in each
// order of octets. A star marks a voltage of a live network.
func (r *ProbeResult) printOthers(w io.Writer, everything bool) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nREAD OTHERWISE\tABCD\tCDAB\tBADC\tDCBA\t(* near 230 V)")
	for i := range r.Values {
		l := &r.Values[i]
		if len(l.Others) == 0 || l.Quantity != "v" && !everything {
			continue
		}
		for offset := -1; offset <= 1; offset++ {
			fmt.Fprintf(t, "%s at %+d", strings.TrimSpace(l.Quantity+" "+l.Phase), offset)
			for _, order := range []string{"ABCD", "CDAB", "BADC", "DCBA"} {
				cell := "-"
				for _, o := range l.Others {
					if o.Offset == offset && o.Order == order && o.Known {
						cell = number(o.Value) + " " + l.Unit
						if l.Quantity == "v" && near(o.Value) {
							cell += " *"
						}
					}
				}
				fmt.Fprintf(t, "\t%s", cell)
			}
			fmt.Fprintln(t)
		}
	}
	t.Flush() // as above
}

// reading is one way to read a register.
type reading struct {
	offset int
	order  string
}

// verdict is what the voltages say of the profile.
type verdict struct {
	volts, live int      // voltages, and those near 230 V as the profile reads them
	own         string   // the profile's order
	best        []string // the ways to read them that find most
	most        int      // near 230 V in those
}

// vote counts the live voltages for each way to read them. Voltages of three
// phases are much alike, so that two ways may look equally good.
func (r *ProbeResult) vote() (v verdict) {
	votes := map[reading]int{}
	for i := range r.Values {
		l := &r.Values[i]
		if l.Quantity != "v" {
			continue
		}
		v.volts++
		v.own = l.Order
		if l.Known && near(l.Value) {
			v.live++
		}
		for _, o := range l.Others {
			if o.Known && near(o.Value) {
				votes[reading{o.Offset, o.Order}]++
			}
		}
	}
	for _, offset := range []int{0, 1, -1} {
		for _, order := range []string{"ABCD", "CDAB", "BADC", "DCBA"} {
			n := votes[reading{offset, order}]
			if n > v.most {
				v.best, v.most = nil, n
			}
			if n == 0 || n < v.most {
				continue
			}
			way := order
			if offset != 0 {
				way = fmt.Sprintf("%s with addresses %+d", order, offset)
			}
			v.best = append(v.best, way)
		}
	}
	return v
}

// conclude says what to make of it.
func (r *ProbeResult) conclude(w io.Writer) {
	v := r.vote()
	fmt.Fprintln(w)
	switch {
	case r.Wrong != "":
		fmt.Fprintln(w, "The meter says that it is not the profile's. Run lvagent probe without --profile.")
	case v.most > v.live:
		fmt.Fprintf(w, "%d of %d voltages are near 230 V as the profile reads them (%s). Read as %s, %d are:\n"+
			"change that in a copy of the profile, probe again, and compare with the display.\n",
			v.live, v.volts, v.own, strings.Join(v.best, ", or as "), v.most)
	case v.live == 0:
		fmt.Fprintln(w, "No voltage is near 230 V, however it is read: the meter is dead, or it is another one. Run lvagent probe without --profile.")
	case v.live < v.volts:
		fmt.Fprintf(w, "%d of %d voltages are near 230 V: the profile fits; the others are dead, or not wired.\n", v.live, v.volts)
	default:
		fmt.Fprintf(w, "All %d voltages are near 230 V: the profile fits. Compare currents and the sign of P with the display, under load.\n", v.live)
	}
}

func (r *ProbeResult) printMatches(w io.Writer) {
	fmt.Fprintf(w, "%s unit %d answers.\n", r.URL, r.Unit)
	if len(r.Matches) == 0 {
		fmt.Fprintln(w, "No shipped profile reads a voltage from it. Is the meter live? Else it needs a profile of its own: docs/meters.md.")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nPROFILE\tSCORE\tL1 V\tL2 V\tL3 V\tL1 A\tL2 A\tL3 A\tBECAUSE")
	for i := range r.Matches {
		m := &r.Matches[i]
		fmt.Fprintf(t, "%s\t%d", m.Profile, m.Score)
		for _, x := range append(m.Volts[:], m.Amps[:]...) {
			if x == nil {
				fmt.Fprint(t, "\t-")
			} else {
				fmt.Fprintf(t, "\t%.1f", *x)
			}
		}
		fmt.Fprintf(t, "\t%s\n", strings.Join(m.Why, "; "))
	}
	t.Flush() // to a writer whose failure shows by itself
	best := r.best()
	switch {
	case len(best) == 0:
		fmt.Fprintln(w, "\nNone fits well: no profile finds two voltages near 230 V.")
	case len(best) == 1:
		fmt.Fprintf(w, "\nIt looks like %s. Look closer with --profile %s.\n", best[0], best[0])
	default:
		fmt.Fprintf(w, "\nIt looks like one of %s: read each with --profile and compare with the display.\n", strings.Join(best, ", "))
	}
}

// best are the profiles that fit best and equally well.
func (r *ProbeResult) best() (ids []string) { return bestOf(r.Matches) }

func bestOf(all []Match) (ids []string) {
	for i := range all {
		if all[i].Score >= plausible && all[i].Score == all[0].Score {
			ids = append(ids, all[i].Profile)
		}
	}
	return ids
}

// number prints a value as a display would.
func number(x float64) string {
	switch a := max(x, -x); {
	case a >= 1e6:
		return fmt.Sprintf("%.4g", x)
	case a >= 100:
		return fmt.Sprintf("%.1f", x)
	case a != 0 && a < 0.001:
		return fmt.Sprintf("%.1e", x)
	default:
		return fmt.Sprintf("%.3f", x)
	}
}

func hex(words []uint16) string {
	parts := make([]string, len(words))
	for i, w := range words {
		parts[i] = fmt.Sprintf("%04x", w)
	}
	return strings.Join(parts, " ")
}
