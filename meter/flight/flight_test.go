package flight

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

var begin = time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)

func sample[T meter.Quantity](t *rapid.T) meter.Sample[T] {
	s := meter.Sample[T]{Quality: meter.Quality(rapid.IntRange(0, 2).Draw(t, "quality")), Reason: meter.Reason(rapid.Uint16().Draw(t, "reason"))}
	if s.Quality != meter.Missing {
		s.Value = T(rapid.Int64Range(-100_000_000_000, 100_000_000_000).Draw(t, "value"))
	}
	return s
}

// kept is what must come back of a reading: rounded to the columns' steps.
func kept(r meter.Reading) (out meter.Reading) {
	var w row
	w.of(&r)
	w.reading(&out)
	out.Way = r.Way
	return out
}

func near[T meter.Quantity](a, b meter.Sample[T], by int64) bool {
	d := int64(a.Value) - int64(b.Value)
	return a.Quality == b.Quality && a.Reason == b.Reason && 2*max(d, -d) <= by
}

// Whatever is recorded comes back, to half a step, in its order, with its quality
// and reasons.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := NewBuilder(rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`).Draw(t, "way"))
		var file []byte
		var want []meter.Reading
		var at []time.Time
		wall := begin
		for range rapid.IntRange(0, 30).Draw(t, "readings") {
			var r meter.Reading
			if r.Way = b.way; len(want) > 0 && rapid.Bool().Draw(t, "the same") {
				r = want[len(want)-1]
			} else {
				for p := range r.Phase {
					r.Phase[p] = meter.PhaseReading{V: sample[meter.Millivolts](t), I: sample[meter.Milliamps](t), P: sample[meter.Milliwatts](t), Q: sample[meter.Millivars](t)}
				}
				r.Neutral = sample[meter.Milliamps](t)
			}
			wall = wall.Add(time.Duration(rapid.Int64Range(-5000, 5000).Draw(t, "ms")) * time.Millisecond)
			b.Add(&r, wall)
			want, at = append(want, r), append(at, wall)
			if rapid.IntRange(0, 5).Draw(t, "block ends") == 0 {
				file = b.AppendTo(file)
			}
		}
		file = b.AppendTo(file)
		i := 0
		skipped := Scan(file, func(r *meter.Reading, wall time.Time) bool {
			if *r != kept(want[i]) || !wall.Equal(at[i]) {
				t.Fatalf("reading %d\n got %v %+v\nwant %v %+v", i, wall, *r, at[i], want[i])
			}
			for p := range r.Phase {
				a, b := &r.Phase[p], &want[i].Phase[p]
				if !near(a.V, b.V, 10) || !near(a.I, b.I, 10) || !near(a.P, b.P, 1000) || !near(a.Q, b.Q, 1000) {
					t.Fatalf("reading %d\n got %+v\nwant %+v to half a step", i, *a, *b)
				}
			}
			i++
			return true
		})
		if skipped != 0 || i != len(want) {
			t.Fatalf("%d readings, %d octets skipped; want %d and 0", i, skipped, len(want))
		}
	})
}

// evening is a street's way, a reading a second, as noisy as a real one.
func evening(n int, each func(r *meter.Reading, wall time.Time)) {
	dice := rand.New(rand.NewPCG(1, 2))
	r := meter.Reading{Way: "W3"}
	for k := range n {
		for p := range r.Phase {
			v, i := 238_000+dice.Int64N(800), 250_000+dice.Int64N(4000)
			r.Phase[p] = meter.PhaseReading{
				V: meter.Sample[meter.Millivolts]{Value: meter.Millivolts(v), Quality: meter.Good},
				I: meter.Sample[meter.Milliamps]{Value: meter.Milliamps(i), Quality: meter.Good},
				P: meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(v * i / 1000), Quality: meter.Good},
				Q: meter.Sample[meter.Millivars]{Value: meter.Millivars(5_000_000 + dice.Int64N(300_000)), Quality: meter.Good},
			}
		}
		r.Neutral = meter.Sample[meter.Milliamps]{Value: meter.Milliamps(40_000 + dice.Int64N(3000)), Quality: meter.Good}
		each(&r, begin.Add(time.Duration(k)*time.Second))
	}
}

func blocks(n, readings int) (file []byte, ends []int) {
	b := NewBuilder("W3")
	k := 0
	evening(n*readings, func(r *meter.Reading, wall time.Time) {
		b.Add(r, wall)
		if k++; k%readings == 0 {
			file = b.AppendTo(file)
			ends = append(ends, len(file))
		}
	})
	return file, ends
}

func count(file []byte) (n, skipped int) {
	skipped = Scan(file, func(*meter.Reading, time.Time) bool { n++; return true })
	return n, skipped
}

// A tail that was cut off at any octet costs its own block and no other.
func TestTornTail(t *testing.T) {
	file, ends := blocks(3, 5)
	for size := ends[1]; size < len(file); size++ {
		if n, skipped := count(file[:size]); n != 10 || skipped != size-ends[1] {
			t.Fatalf("cut at %d: %d readings, %d octets skipped; want 10 and %d", size, n, skipped, size-ends[1])
		}
		// A file that grew before its octets were written has zeros at its end.
		padded := append(bytes.Clone(file[:size]), make([]byte, len(file)-size+100)...)
		if n, _ := count(padded); n != 10 {
			t.Fatalf("cut at %d and zeros: %d readings, want 10", size, n)
		}
		// Another agent appended whole blocks behind the tear.
		if n, _ := count(append(bytes.Clone(file[:size]), file[:ends[0]]...)); n != 15 {
			t.Fatalf("cut at %d and a block behind it: %d readings, want 15", size, n)
		}
	}
}

// No single damaged bit yields a reading that never was.
func TestDamagedBits(t *testing.T) {
	file, _ := blocks(3, 4)
	type read struct {
		r  meter.Reading
		at time.Time
	}
	want := map[read]bool{}
	Scan(file, func(r *meter.Reading, wall time.Time) bool {
		want[read{*r, wall}] = true
		return true
	})
	for bit := range 8 * len(file) {
		file[bit/8] ^= 1 << (bit % 8)
		n := 0
		Scan(file, func(r *meter.Reading, wall time.Time) bool {
			n++
			if !want[read{*r, wall}] {
				t.Fatalf("bit %d: a reading that never was: %v %+v", bit, wall, *r)
			}
			return true
		})
		if n < 8 {
			t.Fatalf("bit %d: %d readings left, want those of the other two blocks", bit, n)
		}
		file[bit/8] ^= 1 << (bit % 8)
	}
}

// A reading costs some thirty octets.
func TestSize(t *testing.T) {
	file, _ := blocks(60, 60)
	per := float64(len(file)) / 3600
	t.Logf("%d octets an hour, %.1f a reading", len(file), per)
	if per > 34 {
		t.Errorf("%.1f octets a reading, want at most 34", per)
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	b, dst := NewBuilder("W3"), make([]byte, 0, 1<<16)
	var r meter.Reading
	evening(1, func(x *meter.Reading, _ time.Time) { r = *x })
	k := 0
	if n := testing.AllocsPerRun(1000, func() {
		k++
		r.Phase[0].V.Value ^= 0x70
		b.Add(&r, begin.Add(time.Duration(k)*time.Second))
		if k%60 == 0 {
			dst = b.AppendTo(dst[:0])
		}
	}); n > 0.1 {
		t.Errorf("%v allocations a reading, want 0 once the block has grown", n)
	}
}

func FuzzScan(f *testing.F) {
	file, ends := blocks(2, 3)
	f.Add(file)
	f.Add(file[:ends[0]+20])
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		// Half of the time the sum is made right, so that the inside is reached.
		if len(data) > header && len(data)%2 == 0 {
			copy(data, magic)
			binary.LittleEndian.PutUint32(data[4:], uint32(len(data)-header))
			binary.LittleEndian.PutUint32(data[8:], crc32.Checksum(data[header:], castagnoli))
		}
		n, skipped := count(data)
		if skipped > len(data) || n > len(data) {
			t.Errorf("%d readings, %d octets skipped of %d", n, skipped, len(data))
		}
	})
}
