package dnp3_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"lvagent/dnp3"
	"lvagent/dnp3/dnp3test"
)

// A read has an end: events that come while it is being answered are for the
// next one, however fast they come.
func TestReadEndsThoughEventsGoOn(t *testing.T) {
	c := polled()
	c.Masters[0].MostFragment = 300
	r := quiet(t, c)
	for i := range 60 {
		r.update(dnp3.AnalogInput, 300, float64(i+1))
	}
	got := r.do(dnp3test.FuncRead, dnp3test.Classes(2))
	read := values(got)
	for more := 1000; !got.Final(); {
		if more > 2000 {
			t.Fatalf("the read goes on after %d events", len(read))
		}
		for range 60 {
			more++
			r.update(dnp3.AnalogInput, 300, float64(more))
		}
		r.send(dnp3test.Confirm(got))
		got = r.one()
		read = append(read, values(got)...)
	}
	if len(read) != 60 || read[59] != 60 || got.IIN&dnp3test.IINClass2 == 0 {
		t.Errorf("%d events, indications %04x, want the first 60 and more to come", len(read), got.IIN)
	}
}

// While the confirm of a read is awaited nothing is reported; when it does not
// come, the report takes the events of the read along.
func TestReportWaitsForTheConfirmOfARead(t *testing.T) {
	r := quiet(t, small())
	r.update(dnp3.BinaryInput, 0, 1)
	r.send(dnp3test.Request(1, dnp3test.FuncRead, dnp3test.Classes(1)))
	r.send(dnp3test.Confirm(r.one()))
	r.do(dnp3test.FuncEnable, dnp3test.Classes(1))
	r.update(dnp3.BinaryInput, 0, 0)
	u := r.one()
	r.post(dnp3test.FuncRead, dnp3test.Classes(1)) // waits for the confirm of the report
	r.update(dnp3.BinaryInput, 1, 1)
	r.nothing()
	r.send(dnp3test.Confirm(u))
	got := r.one()
	if got.Unsolicited() || !slices.Equal(values(got), []float64{1}) {
		t.Fatalf("%v, want the read with the second event", got)
	}
	r.update(dnp3.BinaryInput, 1, 0)
	r.nothing()
	r.wait(5 * s)
	if u = r.one(); !u.Unsolicited() || !slices.Equal(values(u), []float64{1, 0}) {
		t.Errorf("%v, want both events reported", u)
	}
}

// What does not hold together is not carried out in part.
func TestNothingOfABrokenRequest(t *testing.T) {
	r := quiet(t, polled())
	for function, good := range map[uint8][]byte{
		dnp3test.FuncWrite:       dnp3test.ClearRestart(),
		dnp3test.FuncFreezeClear: dnp3test.All(20, 0),
		dnp3test.FuncDirect:      dnp3test.Setpoint(0, 1),
		dnp3test.FuncAssignClass: append(dnp3test.Classes(0), dnp3test.All(1, 0)...),
	} {
		r.update(dnp3.Counter, 0, 5)
		got := r.do(function, good, []byte{30, 1, 0, 9})
		if got.IIN&dnp3test.IINParameterError == 0 || got.IIN&dnp3test.IINRestart == 0 || len(got.Objects) > 0 {
			t.Errorf("function %d: indications %04x, objects %v", function, got.IIN, got.Objects)
		}
	}
	if n, _, _, _ := r.station.Value(dnp3.Counter, 0); n != 5 || len(r.operator.operated) > 0 {
		t.Errorf("counter %v, %d commands", n, len(r.operator.operated))
	}
	r.update(dnp3.BinaryInput, 0, 1)
	if got := r.do(dnp3test.FuncRead, dnp3test.Classes(1)); len(got.Events()) != 1 {
		t.Error("a class was assigned")
	}
}

// Whatever indices there are and whatever their values, a read returns each
// point of its range once, with its value, and its flags where not simply
// ONLINE: packed or not.
func TestStaticValuesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		of := rapid.SampledFrom([]dnp3.Type{dnp3.BinaryInput, dnp3.DoubleBitInput, dnp3.BinaryOutput, dnp3.Counter, dnp3.AnalogInput}).Draw(t, "type")
		indices := rapid.SliceOfNDistinct(rapid.OneOf(rapid.Uint16Range(0, 40), rapid.Uint16()), 1, 60, rapid.ID[uint16]).Draw(t, "indices")
		c := polled()
		c.Points = nil
		for _, index := range indices {
			c.Points = append(c.Points, dnp3.Point{Type: of, Index: index})
		}
		c.Masters[0].MostFragment = rapid.IntRange(300, 2048).Draw(t, "fragment")
		r := quiet(t, c)
		want := map[uint16]dnp3.Change{}
		for _, index := range indices {
			v := dnp3.Change{Type: of, Index: index, Number: float64(rapid.IntRange(0, 1).Draw(t, "number")), Flags: rapid.SampledFrom([]dnp3.Flags{dnp3.Online, dnp3.Online, dnp3.CommLost}).Draw(t, "flags")}
			if of == dnp3.DoubleBitInput {
				v.Number = float64(rapid.IntRange(0, 3).Draw(t, "state"))
			}
			r.change(v)
			want[index] = v
		}
		start := rapid.Uint16().Draw(t, "start")
		stop := rapid.Uint16Range(start, 65535).Draw(t, "stop")
		group, _ := of.Groups()
		header := dnp3test.Range(group, rapid.Uint8Range(0, 2).Draw(t, "variation"), start, stop)
		if rapid.Bool().Draw(t, "all") {
			start, stop = 0, 65535
			header = dnp3test.All(group, header[1])
		}
		got := r.do(dnp3test.FuncRead, header)
		objects := got.Objects
		for !got.Final() {
			r.send(dnp3test.Confirm(got))
			got = r.one()
			objects = append(objects, got.Objects...)
		}
		last := -1
		for _, o := range objects {
			told, there := want[o.Index]
			switch flags := dnp3.Flags(o.Flags); {
			case !there || o.Index < start || o.Index > stop || int(o.Index) <= last:
				t.Fatalf("%v after index %d: not asked for", o, last)
			case o.Value != told.Number || o.HasFlags && flags != told.Flags || !o.HasFlags && told.Flags != dnp3.Online:
				t.Fatalf("%v, want %v with flags %02x", o, told.Number, told.Flags)
			}
			last = int(o.Index)
			delete(want, o.Index)
		}
		for index := range want {
			if index >= start && index <= stop {
				t.Fatalf("index %d is missing", index)
			}
		}
	})
}
