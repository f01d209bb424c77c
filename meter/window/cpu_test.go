package window_test

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"testing"
	"time"

	"lvagent/agent/message"
	"lvagent/meter"
	"lvagent/meter/window"
)

// dayOfRecords is the hash over the records of a day, as they are published: five
// ways at a poll of 2 s, with silence, refused values, a restart, steps of the
// clock both ways and a start without a date, all from one seed.
func dayOfRecords(t *testing.T) (records int, sum string) {
	t.Helper()
	dice := rand.New(rand.NewPCG(2026, 11))
	midnight := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	hash := sha256.New()
	var body []byte
	for way := range 5 {
		cfg := window.Config{Way: string(rune('A' + way)), Poll: 2 * time.Second}
		w := window.New(cfg)
		shift, clock := time.Duration(way)*997*time.Millisecond, meter.Unsynced
		r := meter.Reading{Way: cfg.Way}
		amps, base := int64(100_000), time.Duration(0)
		for at := time.Duration(0); at < 24*time.Hour; at += 2 * time.Second {
			switch at {
			case 47 * time.Minute:
				clock = meter.Synced
			case 9 * time.Hour:
				shift += 40 * time.Minute
			case 14*time.Hour + 2*time.Minute:
				shift -= 40 * time.Minute
			case 19*time.Hour + 600*time.Second:
				text, err := window.Encode([]window.State{w.Checkpoint()})
				if err != nil {
					t.Fatal(err)
				}
				states, err := window.Decode(text)
				if err != nil {
					t.Fatal(err)
				}
				w, base = window.New(cfg), at
				w.Resume(states[0], 0, midnight)
			}
			for {
				h, ok := w.Advance(at-base, midnight.Add(at+shift), clock)
				if !ok {
					break
				}
				body = message.AppendHalfHour(body[:0], "EPN-E1234", &h)
				hash.Write(body)
				records++
			}
			r.At = at - base + time.Duration(dice.Int64N(900_000_000))
			amps = min(max(amps+dice.Int64N(8001)-4000, 0), 600_000)
			switch dice.IntN(200) {
			case 0:
				r.Fail(meter.NoAnswer)
			case 1:
				r.Fail(meter.Sentinel)
			default:
				for p := range r.Phase {
					i := amps + dice.Int64N(1000)
					r.Phase[p] = meter.PhaseReading{
						V: meter.Sample[meter.Millivolts]{Value: meter.Millivolts(236_000 + dice.Int64N(9000)), Quality: meter.Good},
						I: meter.Sample[meter.Milliamps]{Value: meter.Milliamps(i), Quality: meter.Good},
						P: meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(i*235 - dice.Int64N(60_000_000)), Quality: meter.Good},
						Q: meter.Sample[meter.Millivars]{Value: meter.Millivars(dice.Int64N(20_000_000) - 10_000_000), Quality: meter.Good},
					}
				}
				r.Neutral = meter.Sample[meter.Milliamps]{Value: meter.Milliamps(amps / 9), Quality: meter.Good}
			}
			w.Add(&r)
		}
	}
	return records, hex.EncodeToString(hash.Sum(nil))
}

// The same readings give the same record, to the last octet, on every processor.
// The hash is that of amd64; CI runs this test on 386 and, emulated, on the ARMv7
// of the RTUs. A change that is meant to change records changes it here.
func TestSameRecordsOnEveryCPU(t *testing.T) {
	const wantRecords, want = 246, "138a6f1b40e0c376427071a16bfa534ca86c604c5a6eb0878635033731a57b4f"
	if n, sum := dayOfRecords(t); n != wantRecords || sum != want {
		t.Errorf("%d records with hash %s, want %d with %s", n, sum, wantRecords, want)
	}
}

// BenchmarkReading is what one reading costs the window, with an Advance for each
// as the agent's loop does at a poll of a second.
func BenchmarkReading(b *testing.B) {
	w := window.New(window.Config{Way: "W1"})
	start := time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)
	r := meter.Reading{Way: "W1"}
	for p := range r.Phase {
		r.Phase[p] = meter.PhaseReading{
			V: meter.Sample[meter.Millivolts]{Value: 240_000, Quality: meter.Good},
			I: meter.Sample[meter.Milliamps]{Value: 100_000, Quality: meter.Good},
			P: meter.Sample[meter.Milliwatts]{Value: 24_000_000, Quality: meter.Good},
			Q: meter.Sample[meter.Millivars]{Value: 1_000_000, Quality: meter.Good},
		}
	}
	r.Neutral = meter.Sample[meter.Milliamps]{Value: 10_000, Quality: meter.Good}
	b.ReportAllocs()
	at := time.Duration(0)
	for b.Loop() {
		at += time.Second
		for {
			if _, ok := w.Advance(at, start.Add(at), meter.Synced); !ok {
				break
			}
		}
		r.At = at
		w.Add(&r)
	}
}
