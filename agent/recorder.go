package agent

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"lvagent/agent/core"
	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/agent/recorder"
	"lvagent/configs"
	"lvagent/meter"
)

// fetchPace is the pause between two messages of what was recorded.
const fetchPace = time.Second

// recorded wires the flight recorder, or nothing where the site file wants none.
func (a *Agent) recorded(o *core.Options) {
	c := &a.site.Config.Recorder
	if !c.Enabled {
		return
	}
	a.recorder = recorder.New(recorder.Config{
		Folder: recorderFolder(a.site.Config), MaxBytes: int64(c.MaxMB) << 20, Keep: c.Keep, KeepFew: c.KeepFew,
		Few: a.site.Config.FewCustomers(), Wall: a.wall, Log: a.log, Health: func(p meter.HealthPoint) { a.loop.SetHealth(p) },
	})
	o.Recorder = a.recorder
	o.Fetch = func(w core.Wanted) bool {
		return a.recorder.Fetch(recorder.Fetch{ID: w.ID, Way: w.Way, From: w.Since, To: w.Until})
	}
}

func recorderFolder(cfg *configs.Config) string {
	return filepath.Join(cfg.Buffer.Path, recorder.Folder)
}

// serveRecorded sends what the centre asked the recorder for.
func (a *Agent) serveRecorded(ctx context.Context) error {
	id := a.site.Config.Site.ID
	return a.recorder.Serve(ctx, fetchPace, func(way string, readings []message.Recorded) {
		a.box.Store(false, []outbox.Record{{Stream: message.RecordStream(way), At: a.wall(),
			Body: message.AppendRecorded(nil, id, way, readings)}})
	}, func(f recorder.Fetch, n int, err error) {
		ack := message.Ack{ID: f.ID, Command: message.ResendCommand, Stage: message.Completed, T: a.wall(),
			Detail: fmt.Appendf(nil, `{"readings":%d}`, n)}
		if err != nil {
			a.log.Error("flight recorder not read", "way", f.Way, "err", err)
			ack.Code = "PARTIAL"
		}
		a.box.Store(true, []outbox.Record{{Stream: message.AckStream, At: ack.T, Body: message.AppendAck(nil, id, &ack)}})
	})
}

// Export writes what the flight recorder of a site has of a way, as csv or jsonl.
// It reads the files only, whether or not the agent runs, and returns how many
// octets were damaged.
func Export(w io.Writer, cfg *configs.Config, way string, from, to time.Time, format string) (damaged int, err error) {
	var fault error
	line := func(r *meter.Reading, wall time.Time) {
		_, fault = fmt.Fprintf(w, "%s\n", message.AppendRecorded(nil, cfg.Site.ID, way, []message.Recorded{{T: wall, Reading: *r}}))
	}
	if format == "csv" {
		out := csv.NewWriter(w)
		defer out.Flush()
		if fault = out.Write(csvHead); fault != nil {
			return 0, fmt.Errorf("export: %w", fault)
		}
		line = func(r *meter.Reading, wall time.Time) { fault = out.Write(csvLine(r, wall)) }
	} else if format != "jsonl" {
		return 0, fmt.Errorf("export: format %q is none of csv, jsonl", format)
	}
	damaged, err = recorder.Read(recorderFolder(cfg), way, from, to, func(r *meter.Reading, wall time.Time) bool {
		line(r, wall)
		return fault == nil
	})
	if fault != nil {
		err = fmt.Errorf("export: %w", fault)
	}
	return damaged, err
}

var csvHead = []string{"t", "v_l1", "i_l1", "p_l1", "q_l1", "v_l2", "i_l2", "p_l2", "q_l2", "v_l3", "i_l3", "p_l3", "q_l3", "i_n", "suspect"}

// csvLine writes a reading in V, A, W and var; what is not known is empty.
func csvLine(r *meter.Reading, wall time.Time) []string {
	line := []string{wall.UTC().Format("2006-01-02T15:04:05.000Z")}
	suspect := "0"
	for p := range r.Phase {
		ph := &r.Phase[p]
		line = append(line, cell(ph.V, &suspect), cell(ph.I, &suspect), cell(ph.P, &suspect), cell(ph.Q, &suspect))
	}
	return append(line, cell(r.Neutral, &suspect), suspect)
}

func cell[T meter.Quantity](s meter.Sample[T], suspect *string) string {
	if s.Quality == meter.Missing {
		return ""
	}
	if s.Quality == meter.Suspect {
		*suspect = "1"
	}
	v, sign := int64(s.Value), ""
	if v < 0 {
		v, sign = -v, "-"
	}
	return fmt.Sprintf("%s%d.%02d", sign, v/1000, v%1000/10)
}
