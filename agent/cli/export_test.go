package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvagent/agent/socket"
)

// Every figure of a record has its column, the number n beside the neutral N, and
// what the record does not know is empty.
func TestHalfHourColumns(t *testing.T) {
	body, err := os.ReadFile("../message/testdata/halfhour.json")
	if err != nil {
		t.Fatal(err)
	}
	var record map[string]json.RawMessage
	if err := json.Unmarshal(body, &record); err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{"s": true, "v": true, "agent": true}
	got := map[string]string{}
	for i := range halfHourColumns {
		c := &halfHourColumns[i]
		named[strings.Join(c.path, ".")] = true
		if got[c.name], err = c.cell(record); err != nil {
			t.Error(err)
		}
	}
	var look func(at string, raw json.RawMessage)
	look = func(at string, raw json.RawMessage) {
		var inner map[string]json.RawMessage
		if json.Unmarshal(raw, &inner) != nil || inner == nil {
			if !named[at] && string(raw) != "null" {
				t.Errorf("%s has no column", at)
			}
			return
		}
		for key, x := range inner {
			look(strings.TrimPrefix(at+"."+key, "."), x)
		}
	}
	look("", body)
	for name, want := range map[string]string{"n": "1042", "l1_i_max_a": "301.2", "l1_p_min_w": "-20101", "l2_v_rms_v": "", "n_i_rms_a": "61.2",
		"n_derived": "false", "flags": "PARTIAL", "t_kwh_import": "70105.499", "l1_i_max_t": "2026-11-24T17:12:33Z"} {
		if got[name] != want {
			t.Errorf("%s = %q, want %q", name, got[name], want)
		}
	}
}

func TestExport(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "site.yaml")
	text := fmt.Sprintf("site: {id: S1}\nbuffer: {path: %q}\nways:\n  - {id: W3, meter: m1, rating_a: 300}\n  - {id: W4, meter: m1, rating_a: 300}\n", folder)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// Two pages, as of a store that is larger than one.
	mux := http.NewServeMux()
	for at, answer := range map[string]string{
		"/records/1/hh/W3": `{"records":[{"n":1,"way":"W3","start":"2026-11-24T17:00:00Z"},{"n":2,"way":"W3","start":"2026-11-24T17:30:00Z"}],"next":3}`,
		"/records/3/hh/W3": `{"records":[{"n":3,"way":"W3","start":"2026-11-24T18:00:00Z"},{"n":4,"way":"W3","start":"2026-11-24T18:30:00Z"}],"next":0}`,
		"/records/1/hh/W4": `{"records":[],"next":0}`,
	} {
		mux.HandleFunc("GET "+at, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) })
	}
	l, err := net.Listen("unix", filepath.Join(folder, socket.Name))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	defer server.Close()
	for _, tt := range []struct {
		name, args, want string
		code             int
	}{
		{"a range over two pages", "--from 2026-11-24T17:30:00Z --to 2026-11-24T18:30:00Z", "2,3", 0},
		{"all", "--way W3", "1,2,3,4", 0},
		{"another offset", "--from 2026-11-24T19:30:00+01:00", "4", 0},
		{"nothing there", "--way W4", "no half-hour is stored", 0},
		{"an empty range", "--from 2026-11-24T18:00:00Z --to 2026-11-24T18:00:00Z", "is not before --to", 1},
		{"a range the wrong way round", "--from 2026-11-25T00:00:00Z --to 2026-11-24T00:00:00Z", "is not before --to", 1},
		{"no time", "--from yesterday", `"yesterday" is no time`, 1},
		{"no format", "--format xml", `"xml" is none of csv, jsonl`, 1},
		{"no way", "--way W9", `no way "W9"; there are W3, W4`, 1},
		{"a recorder of all ways", "--recorder", "--recorder needs --way", 1},
		{"no store", "--store " + filepath.Join(folder, "none"), "no such file", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := invoke(append([]string{"export", "--config", file}, strings.Fields(tt.args)...)...)
			var numbers []string
			rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			for i, row := range rows {
				if len(row) != len(halfHourColumns) {
					t.Errorf("row %d has %d cells", i, len(row))
				}
				if i > 0 {
					numbers = append(numbers, row[5])
				}
			}
			if code != tt.code || strings.Join(numbers, ",") != tt.want && !strings.Contains(errs, tt.want) {
				t.Errorf("exit %d, numbers %q, %s", code, numbers, errs)
			}
		})
	}
	_, out, _ := invoke("export", "--config", file, "--format", "jsonl", "--to", "2026-11-24T17:30:00Z")
	if want := `{"n":1,"way":"W3","start":"2026-11-24T17:00:00Z"}` + "\n"; out != want {
		t.Errorf("as JSON Lines: %q, want %q", out, want)
	}
}
