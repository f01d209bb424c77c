package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/poll"
	"lvagent/meter"
	"lvagent/meter/spi"
	"lvagent/meter/spi/spitest"
)

const spiSite = `site: {id: EPN-1}
meters:
  - {id: m1, url: "spi:///dev/spidev97.3", profile: ade9000, calibration: board.yaml, calibration_key: key.pem}
ways: [{id: W1, meter: m1, rating_a: 300, phase_map: [L1, L3, L2], invert: [L2]}]
uplink: {broker: "tcp://127.0.0.1:1"}
`

const spiBoard = `schema: 1
board: LV9-000123
chip: ade9000
channels:
  - {channel: A, phase: L1, full_scale_v: 500, full_scale_a: 2.5, ct_ratio: 400}
  - {channel: B, phase: L2, full_scale_v: 500, full_scale_a: 2.5, ct_ratio: 400}
  - {channel: C, phase: L3, full_scale_v: 500, full_scale_a: 2.5, ct_ratio: 400}
`

// spiFolder is a folder with a site of one front end, its board's calibration,
// key and signature.
func spiFolder(t *testing.T) (folder string, write func(name, text string)) {
	t.Helper()
	folder = t.TempDir()
	write = func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	write("site.yaml", spiSite)
	write("board.yaml", spiBoard)
	write("board.yaml.sig", string(ed25519.Sign(private, []byte(spiBoard))))
	write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	return folder, write
}

func TestPrepareReadsTheCalibrationOfABoard(t *testing.T) {
	tests := []struct {
		name, file, text string
		want             string // in the only fault; empty: there is none
	}{
		{"all there", "nothing", "", ""},
		{"a calibration with a fault", "board.yaml", strings.Replace(spiBoard, "phase: L2", "phase: L1", 1), "the signature is not that of this file by this key"},
		{"no signature", "board.yaml.sig", "-", "site.yaml:3: meters[0].calibration_key: open "},
		{"a signature of other octets", "board.yaml.sig", strings.Repeat("x", 64), "site.yaml:3: meters[0].calibration_key: "},
		{"a short signature", "board.yaml.sig", "x", "the signature has 1 octets, want 64"},
		{"no key", "key.pem", "-", "site.yaml:3: meters[0].calibration_key: open "},
		{"a key that is none", "key.pem", "x", "key.pem holds no PEM block"},
		{"no calibration", "board.yaml", "-", "site.yaml:3: meters[0].calibration: open "},
		{"an alarm on a neutral that the board has not", "site.yaml", spiSite + "alarms: [{quantity: n, kind: hi, threshold: 100}]\n", "site.yaml:6: alarms[0].quantity: the neutral current of way W1 is not measured"},
		{"no key is named", "site.yaml", strings.Replace(spiSite, ", calibration_key: key.pem", "", 1), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			folder, write := spiFolder(t)
			if tt.text == "-" {
				if err := os.Remove(filepath.Join(folder, tt.file)); err != nil {
					t.Fatal(err)
				}
			} else {
				write(tt.file, tt.text)
			}
			site, faults := Prepare(filepath.Join(folder, "site.yaml"))
			if tt.want == "" {
				if len(faults) > 0 {
					t.Fatalf("faults: %v", faults)
				}
				remarks := site.Remarks()
				if len(remarks) != 1 || !strings.Contains(remarks[0], "there is no /dev/spidev97.3") {
					t.Errorf("remarks = %q", remarks)
				}
				return
			}
			if len(faults) != 1 || !strings.Contains(faults[0].String(), tt.want) {
				t.Errorf("faults = %v, want one with %q", faults, tt.want)
			}
		})
	}
}

// Faults of a calibration come all at once, with their lines.
func TestPrepareTellsEveryFaultOfACalibration(t *testing.T) {
	folder, write := spiFolder(t)
	write("site.yaml", strings.Replace(spiSite, ", calibration_key: key.pem", "", 1))
	write("board.yaml", strings.NewReplacer("phase: L2", "phase: L1", "schema: 1", "schema: 7").Replace(spiBoard))
	_, faults := Prepare(filepath.Join(folder, "site.yaml"))
	var got []string
	for _, f := range faults {
		got = append(got, strings.TrimPrefix(f.String(), folder+"/"))
	}
	want := []string{"board.yaml:1: schema: must be 1 to 1, not 7", "board.yaml:6: channels[1].phase: L1 is there twice"}
	if !slices.Equal(got, want) {
		t.Errorf("faults = %q, want %q", got, want)
	}
}

// A way on a front end is polled like any other: a reading each second, before
// the device is there, while it settles, and after.
func TestAFrontEndIsPolled(t *testing.T) {
	folder, _ := spiFolder(t)
	site, faults := Prepare(filepath.Join(folder, "site.yaml"))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	synctest.Test(t, func(t *testing.T) {
		chip := spitest.New(spitest.Board{Volts: [3]float64{500, 500, 500}, Amps: [3]float64{1000, 1000, 1000}, Neutral: 1000}, 1)
		load := spitest.Phasor{V: 240, I: 100, Angle: 10}
		other := load // at the board's L3, which is connected to L2, the other way round
		other.V, other.I, other.Angle = 235, 50, 180
		chip.Set(spitest.Signal{Phase: [3]spitest.Phasor{load, load, other}, Hertz: 50})
		chip.Break(spitest.Faults{NoDevice: true})
		site.openSPI = spi.Opener(chip.Open)
		all := site.buses(slog.New(slog.DiscardHandler))
		if len(all) != 1 || all[0].client != nil || len(all[0].ways) != 1 {
			t.Fatalf("buses = %+v", all)
		}
		start := time.Now()
		now := func() time.Duration { return time.Since(start) }
		var readings []meter.Reading
		bus := poll.NewBus(poll.Config{
			Name: all[0].url, Link: all[0].link, Ways: all[0].ways, Now: now,
			Deliver: func(r meter.Reading) { readings = append(readings, r) },
			Supply:  func(meter.SupplyReading) {}, Rand: func() float64 { return 0.5 },
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- bus.Run(ctx) }()
		time.Sleep(5500 * time.Millisecond)
		chip.Break(spitest.Faults{})
		time.Sleep(14 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		reasons := map[meter.Reason]int{}
		good := 0
		for i, r := range readings {
			reasons[r.Phase[1].V.Reason]++
			if r.Phase[1].Quality() != meter.Good {
				continue
			}
			if good++; r.Phase[1].V.Value != 235_000 || r.Phase[1].I.Value != 50_000 || r.Phase[1].P.Value < 11_749_900 || r.Phase[2].V.Value != 240_000 {
				t.Errorf("reading %d: %+v", i, r.Phase[1])
			}
			if off := (r.At - 400*time.Millisecond) % time.Second; off < -50*time.Millisecond || off > 50*time.Millisecond {
				t.Errorf("reading %d is of %v, want 0.4 s after a full second", i, r.At)
			}
		}
		if len(readings) < 16 || good < 8 || reasons[meter.NoAnswer] < 5 || reasons[meter.Restarted] < 2 {
			t.Errorf("%d readings, %d good, reasons %v", len(readings), good, reasons)
		}
	})
}
