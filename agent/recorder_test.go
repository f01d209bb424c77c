package agent

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"lvagent/agent/recorder"
	"lvagent/configs"
	"lvagent/meter"
)

// What was recorded comes out as CSV and as JSON Lines, what is not known empty
// or null.
func TestExport(t *testing.T) {
	cfg := configs.Default()
	cfg.Site.ID, cfg.Buffer.Path = "S1", t.TempDir()
	begin := time.Date(2026, 11, 24, 17, 0, 0, 500_000_000, time.UTC)
	rec := recorder.New(recorder.Config{Folder: recorderFolder(&cfg), MaxBytes: 1 << 20, Keep: 1 << 60, KeepFew: 1 << 60, Wall: time.Now, Log: slog.New(slog.DiscardHandler)})
	r := meter.Reading{Way: "W3"}
	r.Fail(meter.NoAnswer)
	rec.Record(&r, begin)
	r.Phase[0].V = meter.Sample[meter.Millivolts]{Value: 240_160, Quality: meter.Good}
	r.Phase[1].P = meter.Sample[meter.Milliwatts]{Value: -71_499_600, Quality: meter.Suspect}
	r.Neutral = meter.Sample[meter.Milliamps]{Value: 50, Quality: meter.Good}
	rec.Record(&r, begin.Add(time.Second))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := rec.Run(ctx); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ format, want string }{
		{"csv", `t,v_l1,i_l1,p_l1,q_l1,v_l2,i_l2,p_l2,q_l2,v_l3,i_l3,p_l3,q_l3,i_n,suspect
2026-11-24T17:00:00.500Z,,,,,,,,,,,,,,0
2026-11-24T17:00:01.500Z,240.16,,,,,,-71500.00,,,,,,0.05,1
`},
		{"jsonl", `{"v":1,"agent":"S1","way":"W3","readings":[{"t":"2026-11-24T17:00:00.500Z","L1":{"v":null,"i":null,"p":null,"q":null},"L2":{"v":null,"i":null,"p":null,"q":null},"L3":{"v":null,"i":null,"p":null,"q":null},"N":{"i":null},"suspect":false}]}
{"v":1,"agent":"S1","way":"W3","readings":[{"t":"2026-11-24T17:00:01.500Z","L1":{"v":240.2,"i":null,"p":null,"q":null},"L2":{"v":null,"i":null,"p":-71500,"q":null},"L3":{"v":null,"i":null,"p":null,"q":null},"N":{"i":0.1},"suspect":true}]}
`},
	}
	for _, tt := range tests {
		var out strings.Builder
		damaged, err := Export(&out, &cfg, "W3", begin, begin.Add(time.Hour), tt.format)
		if err != nil || damaged != 0 || out.String() != tt.want {
			t.Errorf("%s: %v, %d octets damaged\n got %s\nwant %s", tt.format, err, damaged, out.String(), tt.want)
		}
	}
	if _, err := Export(&strings.Builder{}, &cfg, "W3", begin, begin.Add(time.Hour), "xml"); err == nil {
		t.Error("a format that there is none of was taken")
	}
}
