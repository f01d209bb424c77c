package cli

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvagent/agent"
	"lvagent/configs"
	"lvagent/failsafe"
)

// halfHourColumns are the paths into a record of what the CSV file has, in its
// order. An object of which a record has nothing leaves its cells empty.
var halfHourColumns = columns()

type column struct {
	name string
	path []string
}

func columns() []column {
	list := []column{{"way", []string{"way"}}, {"start", []string{"start"}}, {"end", []string{"end"}}, {"rev", []string{"rev"}}, {"g", []string{"g"}}, {"n", []string{"n"}},
		{"coverage", []string{"coverage"}}, {"expected", []string{"expected"}}, {"samples", []string{"samples"}}, {"bad", []string{"bad"}}, {"held_s", []string{"held_s"}},
		{"sp", []string{"sp"}}, {"flags", []string{"flags"}}, {"clock", []string{"clock"}}}
	add := func(at, name, unit string, statistics ...string) {
		for _, s := range statistics {
			head := strings.ToLower(at) + "_" + name + "_" + s + "_" + unit
			list = append(list, column{head, []string{at, name, s}})
		}
	}
	for _, ph := range []string{"L1", "L2", "L3"} {
		add(ph, "v", "v", "rms", "mean", "min", "max")
		add(ph, "i", "a", "rms", "mean", "min", "max")
		list = append(list, column{strings.ToLower(ph) + "_i_max_t", []string{ph, "i", "max_t"}})
		add(ph, "p", "w", "mean", "min", "max", "import", "export")
		add(ph, "q", "var", "mean", "min", "max", "import", "export")
	}
	for _, x := range [][2]string{{"p", "w"}, {"q", "var"}, {"s", "va"}} {
		list = append(list, column{"t_" + x[0] + "_" + x[1], []string{"T", x[0]}})
	}
	for _, x := range []string{"pf", "kwh_import", "kwh_export"} {
		list = append(list, column{"t_" + x, []string{"T", x}})
	}
	add("N", "i", "a", "rms", "mean", "min", "max")
	return append(list, column{"n_derived", []string{"N", "derived"}})
}

// cell returns the value at a path of a record as it was published.
func (c *column) cell(record map[string]json.RawMessage) (string, error) {
	var raw json.RawMessage
	for i, key := range c.path {
		if i > 0 {
			record = nil
			if err := json.Unmarshal(raw, &record); err != nil {
				return "", fmt.Errorf("%s: %w", c.name, err)
			}
		}
		if raw = record[key]; len(raw) == 0 || string(raw) == "null" {
			return "", nil
		}
	}
	switch raw[0] {
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	case '[':
		var list []string
		err := json.Unmarshal(raw, &list)
		return strings.Join(list, " "), err
	}
	return string(raw), nil
}

// halfHours writes the half-hour records of ways that start from begin to before
// end, from the running agent or from the store of one that does not run.
type halfHours struct {
	place      *place
	store      string
	ways       []string
	begin, end time.Time
	format     string
	count      int
}

func (h *halfHours) write(c *cobra.Command, w io.Writer) error {
	var row []string
	out := csv.NewWriter(w)
	if h.format == "csv" {
		for i := range halfHourColumns {
			row = append(row, halfHourColumns[i].name)
		}
		if err := out.Write(row); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	for _, way := range h.ways {
		err := h.pages(c, "hh/"+way, func(page *agent.AuditPage) error {
			for _, body := range page.Records {
				var head struct{ Start time.Time }
				if err := json.Unmarshal(body, &head); err != nil {
					return fmt.Errorf("export: half-hour of %s: %w", way, err)
				}
				if head.Start.Before(h.begin) || !head.Start.Before(h.end) {
					continue
				}
				h.count++
				if h.format == "jsonl" {
					if _, err := fmt.Fprintf(w, "%s\n", body); err != nil {
						return fmt.Errorf("export: %w", err)
					}
					continue
				}
				var record map[string]json.RawMessage
				if err := json.Unmarshal(body, &record); err != nil {
					return fmt.Errorf("export: half-hour of %s: %w", way, err)
				}
				row = row[:0]
				for i := range halfHourColumns {
					text, err := halfHourColumns[i].cell(record)
					if err != nil {
						return fmt.Errorf("export: half-hour of %s at %v: %w", way, head.Start, err)
					}
					row = append(row, text)
				}
				if err := out.Write(row); err != nil {
					return fmt.Errorf("export: %w", err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

func (h *halfHours) pages(c *cobra.Command, stream string, each func(*agent.AuditPage) error) error {
	if h.store != "" {
		return agent.StoredRecords(h.store, stream, func(page agent.AuditPage) error { return each(&page) })
	}
	for from := uint64(1); from > 0; {
		raw, err := h.place.call(c, "records/"+strconv.FormatUint(from, 10)+"/"+stream, nil)
		if err != nil {
			return err
		}
		var page agent.AuditPage
		if err := json.Unmarshal(raw, &page); err != nil {
			return fmt.Errorf("export: %w", err)
		}
		if err := each(&page); err != nil {
			return err
		}
		from = page.Next
	}
	return nil
}

// waysOf returns the ways of a site to export: the one named, or all.
func waysOf(cfg *configs.Config, way string) ([]string, error) {
	var ways []string
	for _, w := range cfg.Ways {
		ways = append(ways, w.ID)
	}
	if cfg.Site.FirmCurrent() > 0 {
		ways = append(ways, failsafe.TX)
	}
	switch {
	case way == "":
		return ways, nil
	case !slices.Contains(ways, way):
		return nil, fmt.Errorf("export: there is no way %q; there are %s", way, strings.Join(ways, ", "))
	}
	return []string{way}, nil
}

// exportRange reads a range that must be one.
func exportRange(from, to, format string) (begin, end time.Time, err error) {
	if begin, end, err = span("export", from, to); err != nil {
		return begin, end, err
	}
	if !begin.Before(end) {
		err = errors.Join(err, fmt.Errorf("export: --from %s is not before --to %s: nothing lies between", begin.Format(time.RFC3339), end.Format(time.RFC3339)))
	}
	if format != "csv" && format != "jsonl" {
		err = errors.Join(err, fmt.Errorf("export: --format %q is none of csv, jsonl", format))
	}
	return begin, end, err
}
