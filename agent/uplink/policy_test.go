package uplink

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// A link of which the far end is gone without a word is found within 35 s,
// whether there was anything to send or not (R16).
func TestHalfOpenLinkIsFound(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault func(*far)
		busy  bool
	}{
		{"idle, nothing answered", func(f *far) { f.mute = true }, false},
		{"busy, nothing answered", func(f *far) { f.mute = true }, true},
		{"idle, send buffer full", func(f *far) { f.deaf = true }, false},
		{"busy, send buffer full", func(f *far) { f.deaf = true }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			longest := time.Duration(0)
			for phase := range 20 { // of the keep-alive
				f := new(far)
				inBubble(t, f, nil, func(t *testing.T, u *Uplink, box *outbox) {
					time.Sleep(40*time.Second + time.Duration(phase)*1100*time.Millisecond)
					if !u.State().Connected {
						t.Fatal("an idle connection does not last")
					}
					f.set(tt.fault)
					broke := time.Now()
					for u.State().Connected {
						if time.Since(broke) > 35*time.Second {
							t.Fatalf("phase %d: not found in 35 s", phase)
						}
						if tt.busy {
							box.fill("ack", time.Now(), 1)
						}
						time.Sleep(100 * time.Millisecond)
					}
					longest = max(longest, time.Since(broke))
				})
			}
			t.Logf("found after %v at most", longest)
		})
	}
}

// R2: a week without a broker loses nothing, and the agent knocks no more often
// than its backoff says.
func TestWeekWithoutABroker(t *testing.T) {
	const ways, week = 4, 7 * 24 * time.Hour
	f := &far{down: true}
	inBubble(t, f, func(c *Config) { c.BacklogRate = 20 }, func(t *testing.T, u *Uplink, box *outbox) {
		for range int(week / (30 * time.Minute)) {
			time.Sleep(30 * time.Minute)
			for w := range ways {
				box.fill("hh/W"+strconv.Itoa(w), time.Now(), 1)
			}
			box.fill("alarm/W1", time.Now(), 1)
		}
		f.set(func(f *far) {
			if f.dials < int(week/time.Minute) || f.dials > 3*int(week/time.Minute) {
				t.Errorf("%d attempts in a week, want one every 30 s on average", f.dials)
			}
			f.down = false
		})
		back := time.Now()
		time.Sleep(3 * time.Minute)
		const records = uint64(week / (30 * time.Minute))
		for w := range ways {
			complete(t, f.all(), "hh/W"+strconv.Itoa(w), records)
		}
		complete(t, f.all(), "alarm/W1", records)
		if n := duplicates(f.all()); n != 0 {
			t.Errorf("%d records came twice", n)
		}
		if at := f.arrivals(topics.Route("hh/W1", back.Add(-week), back)); at[len(at)-1].Sub(at[0]) < time.Minute {
			t.Errorf("%d late half-hours of %d ways came in %v, above the rate", records, ways, at[len(at)-1].Sub(at[0]))
		}
	})
}

// R3: only what has time is held to the backlog's rate. An alarm in the middle of
// it goes out at once.
func TestBacklogRate(t *testing.T) {
	f := new(far)
	inBubble(t, f, func(c *Config) { c.BacklogRate = 20 }, func(t *testing.T, u *Uplink, box *outbox) {
		late := time.Now().Add(-time.Hour)
		box.fill("hh/W1", late, 200)
		time.Sleep(3 * time.Second)
		raised := time.Now()
		box.fill("alarm/W1", raised, 10)
		box.fill("hh/W2", raised, 30)
		box.fill("live/W2", raised, 50)
		synctest.Wait()
		for topic, n := range map[string]int{"alarm/W1": 10, "hh/W2": 30, "live/W2": 50} {
			at := f.arrivals(topics.Route(topic, raised, raised))
			if len(at) != n || !at[n-1].Equal(raised) {
				t.Errorf("%s: %d of %d came at once", topic, len(at), n)
			}
		}
		time.Sleep(10 * time.Second)
		at := f.arrivals(topics.Route("hh/W1", late, raised))
		if len(at) != 200 {
			t.Fatalf("%d late half-hours after 13 s at 20 a second, want 200", len(at))
		}
		if took := at[199].Sub(at[0]); took < 8900*time.Millisecond || took > 9100*time.Millisecond {
			t.Errorf("200 took %v, want 20 at once and the rest in 9 s", took)
		}
	})
}

// A connection ends by its age, in order: nothing is sent twice, and nobody is
// told that the agent is offline.
func TestConnectionAge(t *testing.T) {
	f := new(far)
	inBubble(t, f, nil, func(t *testing.T, u *Uplink, box *outbox) {
		u.Retain(topics.Status(), []byte(`{"state":"online"}`))
		began := time.Now()
		for time.Since(began) < 80*time.Hour {
			time.Sleep(time.Minute)
			box.fill("hh/W1", time.Now(), 1)
		}
		synctest.Wait()
		made := f.connections()
		if len(made) != 4 {
			t.Fatalf("%d connections in 80 h, want 4", len(made))
		}
		for i, at := range made[1:] {
			if age := at.Sub(made[i]); age < 21*time.Hour || age > 27*time.Hour {
				t.Errorf("connection %d lasted %v, want 24 h give or take a tenth", i, age)
			}
		}
		complete(t, f.all(), "hh/W1", 80*60)
		if n := duplicates(f.all()); n != 0 {
			t.Errorf("%d records came twice", n)
		}
		for _, h := range f.all() {
			if strings.Contains(h.payload, "offline") {
				t.Errorf("the centre was told %s", h.payload)
			}
		}
	})
}

func TestNewCertificateIsUsed(t *testing.T) {
	f, identity := new(far), "a"
	inBubble(t, f, func(c *Config) { c.Identity = func() string { f.mu.Lock(); defer f.mu.Unlock(); return identity } },
		func(t *testing.T, u *Uplink, box *outbox) {
			time.Sleep(time.Hour)
			f.set(func(*far) { identity = "b" })
			time.Sleep(12 * time.Minute)
			if n := len(f.connections()); n != 2 {
				t.Errorf("%d connections 12 min after a new certificate came, want 2", n)
			}
			time.Sleep(time.Hour)
			if n := len(f.connections()); n != 2 {
				t.Errorf("%d connections an hour later, want 2", n)
			}
		})
}

// With two brokers, one is connected at a time: the second after three failures,
// the first again when it is back, and no record comes twice by that.
func TestFailoverAndFailback(t *testing.T) {
	first, second := new(far), new(far)
	open := func() int {
		first.mu.Lock()
		defer first.mu.Unlock()
		second.mu.Lock()
		defer second.mu.Unlock()
		return first.open + second.open
	}
	inBubble(t, second, func(c *Config) {
		c.Brokers = []string{"tcp://first:1883", "tcp://second:1883"}
		c.Dial = func(ctx context.Context, n, address string) (net.Conn, error) {
			if address == "first:1883" {
				return first.dial(ctx, n, address)
			}
			if n := open(); n != 0 {
				t.Errorf("second broker dialled while %d connections are open", n)
			}
			return second.dial(ctx, n, address)
		}
	}, func(t *testing.T, u *Uplink, box *outbox) {
		pass := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				box.fill("hh/W1", time.Now(), 1)
				time.Sleep(time.Second)
			}
		}
		pass(time.Minute)
		if b := u.State().Broker; b != "tcp://first:1883" {
			t.Errorf("connected to %s", b)
		}
		first.set(func(f *far) { f.down, f.mute = true, true })
		pass(2 * time.Minute)
		if s := u.State(); s.Broker != "tcp://second:1883" || !s.Connected {
			t.Errorf("after the first failed, state %+v", s)
		}
		pass(time.Hour)
		if s := u.State(); s.Broker != "tcp://second:1883" || s.Reconnects != 1 {
			t.Errorf("an hour later, state %+v: the second is left for nothing", s)
		}
		repeated := duplicates(append(first.all(), second.all()...))
		first.set(func(f *far) { f.down, f.mute = false, false })
		pass(46 * time.Minute)
		if s := u.State(); s.Broker != "tcp://first:1883" || !s.Connected {
			t.Errorf("after the first is back, state %+v", s)
		}
		if n := duplicates(append(first.all(), second.all()...)); n != repeated {
			t.Errorf("%d records came twice by the way back", n-repeated)
		}
		list := second.all()
		if h := list[len(list)-2]; !strings.Contains(h.payload, "farewell") || list[len(list)-1].topic != "DISCONNECT" {
			t.Errorf("the second broker's last words are %+v", list[len(list)-2:])
		}
		all := map[uint64]bool{}
		for _, h := range append(first.all(), second.all()...) {
			all[h.n] = h.stream == "hh/W1" || all[h.n]
		}
		for n := uint64(1); n < box.nextOf("hh/W1"); n++ {
			if !all[n] {
				t.Fatalf("record %d came nowhere", n)
			}
		}
		// A first broker that answers but takes nobody costs three failures at most.
		first.set(func(f *far) { f.refuse = packets.ErrRefusedNotAuthorised; f.down = false })
	})
}

func TestSelftest(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  func(*far)
		repair func(*far)
		want   string
	}{
		{"what is sent is swallowed", func(f *far) { f.loses = true }, func(f *far) { f.loses = false }, "nothing came back"},
		{"another message comes back", func(f *far) { f.forges = true }, func(f *far) { f.forges = false }, "nothing came back"},
		{"its subscription is denied", func(f *far) { f.denied = 0x80 }, nil, "denies the subscription: code 0x80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := new(far)
			tt.fault(f)
			inBubble(t, f, func(c *Config) { c.Selftest = 10 * time.Second }, func(t *testing.T, u *Uplink, box *outbox) {
				box.fill("hh/W1", time.Now(), 3)
				time.Sleep(9 * time.Second)
				box.fill("alarm/W1", time.Now(), 1)
				time.Sleep(3 * time.Second)
				if s := u.State(); !s.Connected || !strings.Contains(s.Selftest, tt.want) {
					t.Errorf("state %+v, want connected and %q", s, tt.want)
				}
				if box.acked("hh/W1") != 3 || box.acked("alarm/W1") != 1 {
					t.Error("the agent fell silent")
				}
				if tt.repair == nil {
					return
				}
				f.set(tt.repair)
				time.Sleep(selftestFailed + 2*time.Second)
				if s := u.State(); s.Selftest != "" || s.Reconnects != 0 {
					t.Errorf("a minute after the repair, state %+v", s)
				}
			})
		})
	}
	f := new(far)
	inBubble(t, f, func(c *Config) { c.Selftest = 10 * time.Second }, func(t *testing.T, u *Uplink, box *outbox) {
		u.Retain(topics.Status(), []byte(`{"state":"online"}`))
		time.Sleep(150 * time.Minute)
		if s := u.State(); s.Selftest != "" {
			t.Errorf("a good broker: %s", s.Selftest)
		}
		if n := len(f.arrivals(topics.Selftest())); n != 3 {
			t.Errorf("%d self-tests in 2.5 h, want 3", n)
		}
		if got := f.topics()[:2]; got[0] != "status" || got[1] != "selftest" {
			t.Errorf("after the connect came %q", got)
		}
	})
}

// A broker that closes each connection looks like a second client with our id: an
// alarm, and ever longer pauses, until a connection has lasted a minute.
func TestDuplicateClient(t *testing.T) {
	f := &far{closes: time.Second}
	inBubble(t, f, nil, func(t *testing.T, u *Uplink, box *outbox) {
		began := time.Now()
		for !u.State().Duplicate {
			if time.Since(began) > 3*time.Minute {
				t.Fatalf("not seen in %v; %d connections", time.Since(began), len(f.connections()))
			}
			time.Sleep(time.Second)
		}
		if n := len(f.connections()); n < takeovers || n > 2*takeovers {
			t.Errorf("seen after %d connections, want %d", n, takeovers)
		}
		// Even when each lasts longer than one that settles, the pauses stay long.
		f.set(func(f *far) { f.closes = 30 * time.Second })
		before := len(f.connections())
		time.Sleep(time.Hour)
		if n := len(f.connections()) - before; n > 90 {
			t.Errorf("%d connections in an hour, want one a minute or so", n)
		}
		f.set(func(f *far) { f.closes = 0 })
		time.Sleep(5 * time.Minute)
		if s := u.State(); !s.Connected || s.Duplicate {
			t.Errorf("with the broker to itself, state %+v", s)
		}
	})
}
