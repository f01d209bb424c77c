package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"lvagent/agent/survey"
	"lvagent/meter/modbus"
)

// busFlags are how a bus is reached.
func busFlags(c *cobra.Command, b *modbus.Bus) {
	f := c.Flags()
	f.StringVar(&b.URL, "url", "", "tcp://host:port, tcp+tls://host:port, rtuovertcp://host:port or rtu:///dev/name")
	f.IntVar(&b.Stop, "stop", 1, "stop bits of a serial line")
	f.DurationVar(&b.Timeout, "timeout", 0, "how long an answer may take (default 1s, on a serial line 300ms)")
	f.DurationVar(&b.Gap, "gap", 0, "least pause between two requests")
	f.StringVar(&b.CA, "ca", "", "tcp+tls: file with the CA certificates of the meter")
	f.StringVar(&b.Cert, "cert", "", "tcp+tls: file with our certificate")
	f.StringVar(&b.Key, "key", "", "tcp+tls: file with our key")
}

// needURL refuses a command without an address.
func needURL(c *cobra.Command, b *modbus.Bus) error {
	switch {
	case b.URL == "":
		return fmt.Errorf("%s: say --url, like tcp://10.0.0.7:502 or rtu:///dev/ttyS1", c.Name())
	case strings.HasPrefix(b.URL, "spi:"):
		return fmt.Errorf("%s: %s is a front end on an SPI bus, and not Modbus; see docs/spi.md", c.Name(), b.URL)
	}
	return nil
}

// progress writes what goes on to a terminal, on one line, and elsewhere what
// was found only.
func progress(w io.Writer) (note func(string), end func()) {
	if !isTerminal(w) {
		return func(what string) {
			if strings.HasSuffix(what, " answers") {
				fmt.Fprintln(w, what)
			}
		}, func() {}
	}
	return func(what string) { fmt.Fprintf(w, "\r\x1b[K%s", what) }, func() { fmt.Fprint(w, "\r\x1b[K") }
}

func probeCommand() *cobra.Command {
	var b modbus.Bus
	var unit, channel int
	var profile string
	var asJSON, everything bool
	c := &cobra.Command{
		Use:   "probe --url URL --unit N [--profile P]",
		Short: "Read one meter in engineering units, and say whether the profile fits",
		Long: `Reads a meter once. With --profile it shows every value with its registers as
they came, and what the same registers and their neighbours would be in each
order of octets: a map that is off by one, or a meter with its words the other
way round, shows at once, for a live voltage is near 230 V.

Without --profile it tries all shipped profiles and ranks them.

It writes nothing to the meter. Stop the agent first where it uses the same
serial port.`,
		Example: `  lvagent probe --url tcp://10.0.0.7:502 --unit 3
  lvagent probe --url rtu:///dev/ttyS1 --baud 19200 --unit 3 --profile eastron-sdm630`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needURL(c, &b); err != nil {
				return err
			}
			if unit < 0 || unit > 255 {
				return fmt.Errorf("probe: --unit %d is none of 0 to 255", unit)
			}
			note, end := progress(c.ErrOrStderr())
			r, err := survey.Probe(c.Context(), b, uint8(unit), channel, profile, note)
			end()
			if err != nil {
				return err
			}
			if asJSON {
				if err := printJSON(c.OutOrStdout(), r); err != nil {
					return err
				}
			} else {
				r.Print(c.OutOrStdout(), everything)
			}
			if !r.Fits() {
				return errFault
			}
			return nil
		},
	}
	busFlags(c, &b)
	c.Flags().IntVar(&b.Baud, "baud", 9600, "speed of a serial line")
	c.Flags().StringVar(&b.Parity, "parity", "none", "parity of a serial line: none, even or odd")
	c.Flags().IntVar(&unit, "unit", 1, "unit id of the meter")
	c.Flags().IntVar(&channel, "channel", 1, "way of a device that measures several")
	c.Flags().StringVar(&profile, "profile", "", "id of a shipped profile, or a file that ends in .yaml")
	c.Flags().BoolVar(&everything, "orders", false, "show the other orders of all values, not of the voltages only")
	c.Flags().BoolVar(&asJSON, "json", false, "print everything as JSON")
	return c
}

func scanCommand() *cobra.Command {
	var s survey.Search
	var units string
	var asJSON bool
	c := &cobra.Command{
		Use:   "scan --url URL",
		Short: "Find the meters on a bus, and write their part of the site file",
		Long: `Asks each unit id whether it is there, and those that are what they are. It
prints the meters and ways of a site file, ready but for names and ratings.

On a serial line it tries each of --bauds with each of --parities until it has
found a meter; a line has one speed. Ctrl-C stops it with what was found.`,
		Example: `  lvagent scan --url tcp://10.0.0.7:502 --units 1-32
  lvagent scan --url rtu:///dev/ttyS1 --bauds 9600,19200 --parities none,even`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if err := needURL(c, &s.Bus); err != nil {
				return err
			}
			if s.Units, err = survey.ParseRange(units); err != nil {
				return err
			}
			note, end := progress(c.ErrOrStderr())
			r, err := survey.Scan(c.Context(), s, note)
			end()
			if err != nil {
				return err
			}
			if asJSON {
				if err := printJSON(c.OutOrStdout(), r); err != nil {
					return err
				}
			} else {
				r.Print(c.OutOrStdout())
			}
			if len(r.Meters) == 0 {
				return errFault
			}
			return nil
		},
	}
	busFlags(c, &s.Bus)
	c.Flags().Lookup("timeout").Usage = "how long an answer may take (default 200ms)"
	c.Flags().StringVar(&units, "units", "1-247", "unit ids to ask, like 1-32,40")
	c.Flags().IntSliceVar(&s.Bauds, "bauds", []int{9600, 19200, 38400}, "speeds of a serial port to try")
	c.Flags().StringSliceVar(&s.Parities, "parities", []string{"none", "even"}, "parities of a serial port to try")
	c.Flags().BoolVar(&asJSON, "json", false, "print what was found as JSON")
	return c
}

func printJSON(w io.Writer, x any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(x)
}
