package dnp3_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lvagent/dnp3"
	"lvagent/dnp3/dnp3test"
)

// received notes which events a master has in its hands, and which it knows the
// outstation to have deleted.
type received struct {
	seen      map[float64]int
	confirmed map[float64]bool
}

func (got *received) take(t rapid.TB, r dnp3test.Response) {
	for _, v := range values(r) {
		if got.confirmed[v] {
			t.Fatalf("event %v again after its confirm arrived", v)
		}
		got.seen[v]++
	}
}

// The line fails at every step of a read of events in several fragments: before
// a message arrives or just after it did. Then the master comes again. Each
// event arrives once, or again, and none is lost. stepfunc #423: what was sent
// and not confirmed is not stranded.
func TestNoEventIsLostAtAnyStep(t *testing.T) {
	const events = 60 // in 3 fragments
	for _, unsolicited := range []bool{false, true} {
		for _, arrives := range []bool{false, true} {
			steps := 0
			for fail := 0; fail == 0 || fail <= steps; fail++ {
				t.Run(fmt.Sprintf("unsolicited %v, message %d, arrives %v", unsolicited, fail, arrives), func(t *testing.T) {
					c := small()
					c.Masters[0].Unsolicited = unsolicited
					c.Masters[0].MostFragment = 300
					r := quiet(t, c)
					if unsolicited {
						r.do(dnp3test.FuncEnable, dnp3test.Classes(2))
					}
					for i := range events {
						r.update(dnp3.AnalogInput, 300, float64(i+1))
					}
					got := received{seen: map[float64]int{}, confirmed: map[float64]bool{}}
					step := 0
					// passes says whether a message gets through; the line may be
					// cut with it.
					passes := func() (through, cut bool) {
						step++
						if step == fail {
							return arrives, true
						}
						return true, false
					}
					again := func() {
						r.drop()
						r.connect()
					}
					ask := !unsolicited
					for round := 0; len(got.confirmed) < events; round++ {
						if round > 100 {
							t.Fatalf("%d of %d events after 100 rounds", len(got.confirmed), events)
						}
						if ask {
							through, cut := passes()
							if through {
								r.post(dnp3test.FuncRead, dnp3test.Classes(2))
							}
							if cut {
								again()
								continue
							}
							ask = false
						}
						responses := r.responses()
						if len(responses) == 0 {
							ask = !unsolicited
							continue
						}
						for _, u := range responses {
							through, cut := passes()
							if through {
								got.take(t, u)
							}
							if cut {
								again()
								ask = !unsolicited
								break
							}
							through, cut = passes()
							if through {
								r.send(dnp3test.Confirm(u))
								for _, v := range values(u) {
									got.confirmed[v] = true
								}
							}
							if cut {
								again()
								ask = !unsolicited
								break
							}
						}
					}
					if fail == 0 {
						steps = step
					}
					for i := range events {
						if got.seen[float64(i+1)] == 0 {
							t.Errorf("event %d never arrived", i+1)
						}
					}
					if n := r.station.Counts()[0].Waiting; n != 0 {
						t.Errorf("%d events are left", n)
					}
				})
			}
			if steps < 6 {
				t.Fatalf("the read took %d messages: not several fragments", steps)
			}
		}
	}
}

// Over any history of changes, reads, confirms (right and wrong), other
// requests, silence, and lines that fail: every event arrives, and none again
// after its confirm arrived.
func TestNoEventIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := small()
		c.Masters[0].MostFragment = 300
		c.Masters[0].UnsolicitedRetries = rapid.SampledFrom([]int{noRetry, 1}).Draw(t, "retries")
		r := newRig(t, c)
		r.connect()
		got := received{seen: map[float64]int{}, confirmed: map[float64]bool{}}
		made := 0
		var open []dnp3test.Response // not confirmed by the master yet
		hear := func() {
			for _, u := range r.responses() {
				got.take(t, u)
				if !u.Unsolicited() {
					r.seq = u.Seq() // the next request has a number of its own
				}
				if u.Con() {
					open = append(open, u)
				}
			}
		}
		// confirm is what the master sends for the response it heard last. A
		// confirm counts only if the outstation still waits for it, which the
		// number of events that it keeps tells.
		confirm := func(u dnp3test.Response) {
			before := r.station.Counts()[0].Confirmed
			r.send(dnp3test.Confirm(u))
			deleted := int(r.station.Counts()[0].Confirmed - before)
			if deleted != 0 && deleted != len(u.Events()) {
				t.Fatalf("confirm of %d events deleted %d", len(u.Events()), deleted)
			}
			if deleted > 0 {
				for _, v := range values(u) {
					got.confirmed[v] = true
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { hear() },
			"change": func(t *rapid.T) {
				for range rapid.IntRange(1, 30).Draw(t, "events") {
					made++
					r.change(dnp3.Change{Type: dnp3.AnalogInput, Index: 300, Number: float64(made), Flags: dnp3.Online, Time: r.wall()})
				}
			},
			"read": func(t *rapid.T) {
				r.post(dnp3test.FuncRead, rapid.SampledFrom([][]byte{dnp3test.Classes(2), dnp3test.Integrity(), dnp3test.Most(60, 3, 7), dnp3test.All(32, 3)}).Draw(t, "what"))
			},
			"read again": func(t *rapid.T) {
				r.send(dnp3test.Request(r.seq, dnp3test.FuncRead, dnp3test.Classes(2)))
			},
			"confirm": func(t *rapid.T) {
				if len(open) > 0 {
					confirm(open[len(open)-1])
				}
			},
			"old confirm": func(t *rapid.T) {
				// Late by more than one response, within the same connection.
				if len(open) > 1 {
					u := open[len(open)-2]
					last := open[len(open)-1]
					if u.Control&0x1f != last.Control&0x1f {
						confirm(u)
					}
				}
			},
			"enable":  func(t *rapid.T) { r.post(dnp3test.FuncEnable, dnp3test.Classes(1, 2, 3)) },
			"disable": func(t *rapid.T) { r.post(dnp3test.FuncDisable, dnp3test.Classes(1, 2, 3)) },
			"other":   func(t *rapid.T) { r.post(dnp3test.FuncDelay) },
			"time":    func(t *rapid.T) { r.wait(time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * s) },
			"line fails": func(t *rapid.T) {
				r.drop()
				r.connect()
				open = nil
			},
			"restart": func(t *rapid.T) {
				saved := r.station.Save(nil)
				station, err := dnp3.New(c)
				if err != nil {
					t.Fatal(err)
				}
				if err := station.Restore(saved); err != nil {
					t.Fatal(err)
				}
				r.station = station
				r.connect()
				open = nil
			},
		})
		// The master behaves from now on.
		r.drop()
		r.connect()
		for range 500 {
			open = nil
			hear()
			for _, u := range open {
				confirm(u)
			}
			if r.station.Counts()[0].Waiting == 0 {
				break
			}
			if len(open) == 0 {
				r.post(dnp3test.FuncRead, dnp3test.Classes(1, 2, 3))
			}
		}
		for i := range made {
			if got.seen[float64(i+1)] == 0 {
				t.Fatalf("event %d of %d never arrived", i+1, made)
			}
		}
		if waiting := r.station.Counts()[0].Waiting; waiting != 0 {
			t.Fatalf("%d events are left", waiting)
		}
	})
}

func TestSaveAndRestore(t *testing.T) {
	c := polled()
	told := 0
	c.Settings = func() { told++ }
	r := quiet(t, c)
	r.update(dnp3.BinaryInput, 1, 1)
	r.update(dnp3.Counter, 0, 100)
	r.change(dnp3.Change{Type: dnp3.OctetString, Index: 0, Octets: "text", Flags: dnp3.Online})
	r.do(dnp3test.FuncWrite, dnp3test.Indexed(34, 3, 300, []byte{0, 0, 0xa0, 0x40}))
	r.do(dnp3test.FuncFreezeClear, dnp3test.All(20, 0))
	r.do(dnp3test.FuncAssignClass, dnp3test.Classes(0), dnp3test.Range(30, 0, 0, 0))
	if told != 3 {
		t.Errorf("told of %d settings, want 3", told)
	}
	saved := r.station.SaveLast(nil)

	fresh := newRig(t, c)
	if err := fresh.station.Restore(saved); err != nil {
		t.Fatal(err)
	}
	if again := fresh.station.SaveLast(nil); !slices.Equal(again, saved) {
		t.Errorf("saved again: % x, want % x", again, saved)
	}
	fresh.connect()
	fresh.update(dnp3.AnalogInput, 0, 99)
	fresh.update(dnp3.Counter, 0, 103)
	got := fresh.do(dnp3test.FuncRead, dnp3test.Classes(1, 2, 3), dnp3test.All(34, 3), dnp3test.All(20, 1), dnp3test.All(21, 1))
	want := []string{
		fmt.Sprintf("g2v2[1] 1 flags 01 at %d", noon),
		fmt.Sprintf("g22v5[0] 100 flags 01 at %d", noon),
		`g111v4[0] 0 "text"`,
		fmt.Sprintf("g23v5[0] 100 flags 01 at %d", noon),
		fmt.Sprintf("g22v5[0] 3 flags 01 at %d", noon),
		"g34v3[0] 1", "g34v3[300] 5", "g20v1[0] 3 flags 01", "g21v1[0] 100 flags 01",
	}
	for i, o := range got.Objects {
		if i >= len(want) || o.String() != want[i] {
			t.Errorf("object %d: %v, want %v", i, o, want[min(i, len(want)-1)])
		}
	}
	if len(got.Objects) != len(want) {
		t.Errorf("%d objects, want %d", len(got.Objects), len(want))
	}

	// What was damaged is refused whole.
	for bit := range len(saved) * 8 {
		broken := slices.Clone(saved)
		broken[bit/8] ^= 1 << (bit % 8)
		other := newRig(t, c)
		before := other.station.Save(nil)
		if err := other.station.Restore(broken); err == nil {
			t.Fatalf("bit %d altered: taken", bit)
		}
		if !slices.Equal(other.station.Save(nil), before) {
			t.Fatalf("bit %d altered: refused, and some of it taken", bit)
		}
	}
	for n := range len(saved) - 4 { // not whole, though its checksum is good
		other := newRig(t, c)
		before := other.station.Save(nil)
		if err := other.station.Restore(checked(saved[:n])); err == nil || !slices.Equal(other.station.Save(nil), before) {
			t.Fatalf("%d octets of %d and a good checksum: %v, or some of it taken", n, len(saved), err)
		}
	}
	for n := range saved {
		if err := newRig(t, c).station.Restore(saved[:n]); err == nil {
			t.Fatalf("%d octets of %d: taken", n, len(saved))
		}
	}
}

// A master is never short without a word: after an end that was none (a kill, a power
// cut), after saved octets that could not be read and after dropped values, IIN2.3
// says that events may be missing, until a response with it was confirmed. After an
// orderly end nothing is missing, and nothing is said.
func TestMissingEventsAreTold(t *testing.T) {
	save := map[string]func(*dnp3.Outstation) []byte{
		"killed":     func(o *dnp3.Outstation) []byte { return o.Save(nil) },
		"stopped":    func(o *dnp3.Outstation) []byte { return o.SaveLast(nil) },
		"unreadable": func(*dnp3.Outstation) []byte { return nil },
		"killed, and stopped before anybody heard": func(o *dnp3.Outstation) []byte {
			between, err := dnp3.New(polled())
			if err == nil {
				err = between.Restore(o.Save(nil))
			}
			if err != nil {
				t.Fatal(err)
			}
			return between.SaveLast(nil)
		},
	}
	for name, saved := range save {
		t.Run(name, func(t *testing.T) {
			r := quiet(t, polled())
			r.update(dnp3.BinaryInput, 1, 1)
			after := newRig(t, polled())
			if octets := saved(r.station); octets == nil {
				after.station.Lost()
			} else if err := after.station.Restore(octets); err != nil {
				t.Fatal(err)
			}
			after.connect()
			told := func(what string, want bool, objects ...[]byte) dnp3test.Response {
				t.Helper()
				u := after.do(dnp3test.FuncRead, objects...)
				if got := u.IIN&dnp3test.IINOverflow != 0; got != want {
					t.Errorf("%s: IIN %04x, events missing: %v, want %v", what, u.IIN, got, want)
				}
				return u
			}
			lost := name != "stopped"
			told("first read", lost, dnp3test.All(1, 2))
			after.drop() // nobody knows whether it arrived
			after.connect()
			u := told("read on another connection", lost, dnp3test.All(1, 2))
			if u.Con() != lost {
				t.Errorf("asks for a confirm: %v, want %v", u.Con(), lost)
			}
			if u.Con() {
				after.send(dnp3test.Confirm(u))
			}
			u = told("after its confirm", false, dnp3test.All(1, 2))
			if u.Con() {
				t.Error("a read without events asks for a confirm for ever")
			}
		})
	}
}

// The first unsolicited response tells it too, and its confirm is enough.
func TestMissingEventsAreToldUnsolicited(t *testing.T) {
	r := newRig(t, small())
	r.station.Lost()
	r.connect()
	u := r.responses()
	if len(u) != 1 || u[0].IIN&dnp3test.IINOverflow == 0 {
		t.Fatalf("first responses: %v", u)
	}
	r.send(dnp3test.Confirm(u[0]))
	if u := r.do(dnp3test.FuncRead, dnp3test.All(1, 2)); u.IIN&dnp3test.IINOverflow != 0 {
		t.Errorf("after the confirm: IIN %04x", u.IIN)
	}
}
