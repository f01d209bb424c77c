package buffer

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// million makes a store with a million half-hours of 100 ways, all waiting, and
// leaves it as a crash would.
func million(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "queue.db")
	o := testOptions()
	s, err := Open(path, o)
	if err != nil {
		b.Fatal(err)
	}
	filler := make([]byte, 900)
	for n := 0; n < 1_000_000; {
		var batch Batch
		for range 2000 {
			batch.Append = append(batch.Append, Entry{Stream: fmt.Sprint("hh/W", n%100), Class: hours, At: noon.Add(time.Duration(n) * time.Second), Body: filler})
			n++
		}
		mustCommit(b, s, batch)
		tidyAll(b, s, time.Time{})
	}
	file, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// BenchmarkOpenAMillion opens a store with a million records after a crash, and
// says how long reading all of its files once takes in comparison.
func BenchmarkOpenAMillion(b *testing.B) {
	path := million(b)
	file, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	var opening time.Duration
	n := 0
	for b.Loop() {
		b.StopTimer()
		if err := os.WriteFile(path, file, 0o600); err != nil { // unclean again
			b.Fatal(err)
		}
		b.StartTimer()
		began := time.Now()
		s, err := Open(path, testOptions())
		opening += time.Since(began)
		n++
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		if st := s.Stats(); st.Records != 1_000_000 || st.Waiting != 1_000_000 {
			b.Fatalf("%+v", st)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	began := time.Now()
	var read int64
	for _, pattern := range []string{path, filepath.Join(segmentsOf(path), "*")} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			f, err := os.Open(name)
			if err != nil {
				b.Fatal(err)
			}
			k, err := io.Copy(io.Discard, f)
			f.Close()
			if err != nil {
				b.Fatal(err)
			}
			read += k
		}
	}
	b.ReportMetric(float64(opening)/float64(n)/float64(time.Since(began)), "open/read-all")
	b.ReportMetric(float64(read)/1e6, "MB")
	b.ReportMetric(float64(len(file))/1e6, "MB-bbolt")
}

// BenchmarkDrain reads and acknowledges a backlog of 100,000 as the uplink does:
// a page at a time of each stream, acknowledged once for 5,000 records.
func BenchmarkDrain(b *testing.B) {
	o := testOptions()
	o.NoSync = false
	o.Classes[hours].Keep = 400 * 24 * time.Hour
	filler := make([]byte, 900)
	for b.Loop() {
		b.StopTimer()
		s, err := Open(filepath.Join(b.TempDir(), "queue.db"), o)
		if err != nil {
			b.Fatal(err)
		}
		for n := 0; n < 100_000; {
			var batch Batch
			for range 2000 {
				batch.Append = append(batch.Append, Entry{Stream: fmt.Sprint("hh/W", n%6), Class: hours, At: noon, Body: filler})
				n++
			}
			mustCommit(b, s, batch)
			tidyAll(b, s, time.Time{})
		}
		written := s.Stats().BytesWritten
		b.StartTimer()
		began := time.Now()
		var page []Record
		next := [6]uint64{1, 1, 1, 1, 1, 1}
		for sent := 0; sent < 100_000; {
			for i := range next {
				if page, err = s.Read(fmt.Sprint("hh/W", i), next[i], page[:0], 8); err != nil {
					b.Fatal(err)
				}
				next[i] += uint64(len(page))
				sent += len(page)
			}
			if sent%5000 < 48 {
				var batch Batch
				for i := range next {
					batch.Ack = append(batch.Ack, Ack{fmt.Sprint("hh/W", i), next[i] - 1})
				}
				mustCommit(b, s, batch)
			}
		}
		b.ReportMetric(100_000/time.Since(began).Seconds(), "records/s")
		b.ReportMetric(float64(s.Stats().BytesWritten-written)/1e6, "MB-written")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
