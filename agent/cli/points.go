package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"lvagent/agent"
	"lvagent/agent/points"
	"lvagent/agent/socket"
	"lvagent/configs"
)

func pointsCommand() *cobra.Command {
	var config, format string
	c := &cobra.Command{
		Use:   "points",
		Short: "Print the DNP3 point list",
		Long: `Prints the DNP3 point list: index, name, unit, event class, deadband, and where the
same is said on MQTT. Without --config it is the template that holds for every
substation; with it, the names of this one's ways and groups. As xml it is a
device profile after the DNP3 schema of 2014.`,
		Example: "  lvagent points --format md\n  lvagent points --config /etc/lvagent/site.yaml --format csv > points.csv\n  lvagent points --config /etc/lvagent/site.yaml --format xml > profile.xml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			site, profile := &points.Site{}, &points.Profile{Device: "lvagent", Version: agent.Version, Name: "any substation", Address: 1024, Unsolicited: true}
			if config != "" {
				cfg, _, faults := configs.Load(config)
				if len(faults) > 0 || cfg == nil {
					printFaults(c.ErrOrStderr(), faults)
					return errFault
				}
				site = agent.Slots(cfg)
				profile.Name, profile.Listen, profile.Secure = cfg.Site.ID, cfg.DNP3.Listen, cfg.DNP3.TLS.Cert != ""
				profile.Address = uint16(cfg.DNP3.Address)
				for _, m := range cfg.DNP3.Masters {
					profile.Masters = append(profile.Masters, uint16(m.Address))
				}
			}
			write := map[string]func(io.Writer, []points.Row) error{
				"md": points.WriteMarkdown, "csv": points.WriteCSV, "json": points.WriteJSON,
				"xml": func(w io.Writer, rows []points.Row) error { return points.WriteProfile(w, profile, rows) },
			}[format]
			if write == nil {
				return fmt.Errorf("points: --format %q is none of md, csv, json, xml", format)
			}
			return write(c.OutOrStdout(), points.List(site))
		},
	}
	c.Flags().StringVar(&config, "config", "", "a site file whose ways and groups have their names in the list")
	c.Flags().StringVar(&format, "format", "md", "md, csv, json, or xml (a device profile)")
	return c
}

func forceCommand() *cobra.Command {
	var p place
	var f socket.Force
	var list bool
	c := &cobra.Command{
		Use:   "force TYPE INDEX VALUE --for 10m",
		Short: "Show masters on DNP3 a value that is not measured, for commissioning",
		Long: `Shows every master a value at a point of the list, with the flag LOCAL_FORCED, so
that it can be checked point by point up to the control room's screen. It feeds
nothing: no limit and no alarm comes of it. It ends by itself, after two hours at
most, and with --end before that. TYPE is as in lvagent points: "binary input",
"analog input", "counter".`,
		Example: `  lvagent force "analog input" 150 230 --for 10m
  lvagent force "analog input" 150 --end
  lvagent force --list`,
		Args: cobra.RangeArgs(0, 3),
		RunE: func(c *cobra.Command, args []string) error {
			if list {
				return listForced(c, &p)
			}
			if want := map[bool]int{true: 2, false: 3}[f.End]; len(args) != want {
				return fmt.Errorf("force: %d arguments, want TYPE, INDEX%s", len(args), map[bool]string{true: "", false: " and VALUE"}[f.End])
			}
			index, err := strconv.ParseUint(args[1], 10, 16)
			if err != nil {
				return fmt.Errorf("force: index %q: must be 0 to 65535", args[1])
			}
			if !f.End {
				if f.Value, err = strconv.ParseFloat(args[2], 64); err != nil {
					return fmt.Errorf("force: value %q is no number", args[2])
				}
			}
			f.Type, f.Index, f.By = args[0], uint16(index), userOr(f.By)
			if _, err := p.call(c, "force", f); err != nil {
				return err
			}
			what := fmt.Sprintf("%s %d shows %v for %s, with LOCAL_FORCED", f.Type, f.Index, f.Value, f.For)
			if f.End {
				what = fmt.Sprintf("%s %d shows what is measured again", f.Type, f.Index)
			}
			fmt.Fprintln(c.OutOrStdout(), what)
			return nil
		},
	}
	p.flags(c)
	c.Flags().StringVar(&f.For, "for", "10m", "how long, at most 2h")
	c.Flags().BoolVar(&f.End, "end", false, "end it")
	c.Flags().StringVar(&f.By, "by", "", "who you are (default: your user name)")
	c.Flags().BoolVar(&list, "list", false, "say what is forced now")
	return c
}

func listForced(c *cobra.Command, p *place) error {
	raw, err := p.call(c, "forced", nil)
	if err != nil {
		return err
	}
	var all []points.Forced
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintln(c.OutOrStdout(), "no point is forced")
	}
	for _, f := range all {
		fmt.Fprintf(c.OutOrStdout(), "%s %d (%s) for %v more\n", f.Type, f.Index, f.Point, f.Left.Round(time.Second))
	}
	return nil
}
