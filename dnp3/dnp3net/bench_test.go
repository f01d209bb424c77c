package dnp3net

import (
	"context"
	"testing"
	"time"

	"lvagent/dnp3"
	"lvagent/dnp3/dnp3test"
)

// BenchmarkIntegrityPoll is an integrity poll of 1,500 analogs (group 30
// variation 5) and 500 binaries (group 1 variation 2) over TCP on loopback, in
// fragments of 2,048 octets, each confirmed.
func BenchmarkIntegrityPoll(b *testing.B) {
	c := Config{Listen: "127.0.0.1:0", Station: dnp3.Config{Address: 1024, Masters: []dnp3.Master{{Address: 1}}}}
	for i := range uint16(1500) {
		c.Station.Points = append(c.Station.Points, dnp3.Point{Type: dnp3.AnalogInput, Index: i})
	}
	for i := range uint16(500) {
		c.Station.Points = append(c.Station.Points, dnp3.Point{Type: dnp3.BinaryInput, Index: i})
	}
	s, m := peers(b, c)
	b.ReportAllocs()
	octets, worst := 0, time.Duration(0)
	for b.Loop() {
		begin := time.Now()
		r, err := m.IntegrityPoll()
		if err != nil || len(r.Objects) != 2000 {
			b.Fatalf("%d objects, %v", len(r.Objects), err)
		}
		worst = max(worst, time.Since(begin))
		octets = 5*1500 + 500
	}
	_ = s
	b.ReportMetric(float64(octets), "octets-of-values")
	b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
}

// BenchmarkEventsOverTCP is events told to the server, reported unsolicited,
// confirmed by the master, each once.
func BenchmarkEventsOverTCP(b *testing.B) {
	const batch = 2000
	c := Config{Listen: "127.0.0.1:0", Station: dnp3.Config{Address: 1024, Masters: []dnp3.Master{{Address: 1, Unsolicited: true}}}}
	c.Station.Masters[0].Events[dnp3.AnalogInput] = 2 * batch
	for i := range uint16(500) {
		c.Station.Points = append(c.Station.Points, dnp3.Point{Type: dnp3.AnalogInput, Index: i, Class: dnp3.Class2})
	}
	s, m := peers(b, c)
	if _, err := m.WaitUnsolicited(patience); err != nil {
		b.Fatal(err)
	}
	if _, err := m.Do(dnp3test.FuncEnable, dnp3test.Classes(2)); err != nil {
		b.Fatal(err)
	}
	changes := make([]dnp3.Change, batch)
	n := 0.0
	for b.Loop() {
		for i := range changes {
			n++
			changes[i] = dnp3.Change{Type: dnp3.AnalogInput, Index: uint16(i % 500), Number: n, Flags: dnp3.Online, Time: 1}
		}
		if err := s.Update(changes...); err != nil {
			b.Fatal(err)
		}
		for got := 0; got < batch; {
			u, err := m.WaitUnsolicited(patience)
			if err != nil {
				b.Fatal(err)
			}
			got += len(u.Objects)
		}
	}
	b.ReportMetric(float64(b.N)*batch/b.Elapsed().Seconds(), "events/s")
}

// peers are a server and its master on loopback.
func peers(b *testing.B, c Config) (*Server, *dnp3test.Master) {
	b.Helper()
	s, err := Listen(c)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	m, err := dnp3test.Dial(s.Addr().String(), dnp3test.Config{Address: 1, Outstation: 1024})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		m.Close()
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return s, m
}
