package dnp3_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"lvagent/dnp3"
	"lvagent/dnp3/app"
	"lvagent/dnp3/dnp3test"
)

func TestStatuses(t *testing.T) {
	relay := func(code, count uint8) []byte {
		o := dnp3test.Relay(0, code)
		o[8] = count
		return o
	}
	nan := dnp3test.Setpoint(0, 0)
	copy(nan[7:], []byte{0, 0, 0xc0, 0x7f})
	infinite := dnp3test.Setpoint(0, 0)
	copy(infinite[7:], []byte{0, 0, 0x80, 0x7f})
	tests := []struct {
		name    string
		handler dnp3.Status
		command []byte
		want    dnp3.Status
		asked   int // of the handler
	}{
		{"latch", dnp3.Success, relay(dnp3test.LatchOn, 1), dnp3.Success, 1},
		{"trip", dnp3.Success, relay(dnp3test.Trip, 1), dnp3.Success, 1},
		{"local control", dnp3.Local, relay(dnp3test.LatchOn, 1), dnp3.Local, 1},
		{"out of range, says the handler", dnp3.OutOfRange, dnp3test.Setpoint(0, 5), dnp3.OutOfRange, 1},
		{"setpoint", dnp3.Success, dnp3test.Setpoint(0, 5), dnp3.Success, 1},
		{"setpoint of 16 bits", dnp3.Success, dnp3test.Setpoint16(0, -5), dnp3.Success, 1},
		{"setpoint of 32 bits", dnp3.Success, dnp3test.Setpoint32(0, 5), dnp3.Success, 1},
		{"count 0", dnp3.Success, relay(dnp3test.LatchOn, 0), dnp3.NotSupported, 0},
		{"count 2", dnp3.Success, relay(dnp3test.LatchOn, 2), dnp3.NotSupported, 0},
		{"no operation", dnp3.Success, relay(0, 1), dnp3.NotSupported, 0},
		{"unknown operation", dnp3.Success, relay(5, 1), dnp3.NotSupported, 0},
		{"queue", dnp3.Success, relay(0x13, 1), dnp3.NotSupported, 0},
		{"clear", dnp3.Success, relay(0x23, 1), dnp3.NotSupported, 0},
		{"both relays", dnp3.Success, relay(0xc1, 1), dnp3.NotSupported, 0},
		{"not there", dnp3.Success, dnp3test.Relay(9, dnp3test.LatchOn), dnp3.NotSupported, 0},
		{"not a number", dnp3.Success, nan, dnp3.OutOfRange, 0},
		{"infinite", dnp3.Success, infinite, dnp3.OutOfRange, 0},
	}
	for _, tt := range tests {
		for _, function := range []uint8{dnp3test.FuncSelect, dnp3test.FuncDirect} {
			t.Run(fmt.Sprintf("%s, function %d", tt.name, function), func(t *testing.T) {
				r := quiet(t, polled())
				r.operator.status = tt.handler
				got := r.do(function, tt.command)
				if st := dnp3test.Statuses(got); len(st) != 1 || dnp3.Status(st[0]) != tt.want {
					t.Errorf("statuses %v, want %v", st, tt.want)
				}
				if (got.IIN&dnp3test.IINParameterError != 0) != (tt.want == dnp3.NotSupported) {
					t.Errorf("indications %04x", got.IIN)
				}
				if n := r.operator.selected + len(r.operator.operated); n != tt.asked {
					t.Errorf("handler asked %d times, want %d", n, tt.asked)
				}
			})
		}
	}
}

// An operate that differs from its select in one bit, anywhere, is NO_SELECT.
func TestOneBitBetweenSelectAndOperate(t *testing.T) {
	command := dnp3test.Relay(0, dnp3test.LatchOn)
	r := quiet(t, polled())
	for bit := range len(command) * 8 {
		r.do(dnp3test.FuncSelect, command)
		altered := slices.Clone(command)
		altered[bit/8] ^= 1 << (bit % 8)
		r.post(dnp3test.FuncOperate, altered)
		for _, got := range r.fragments() {
			response, err := dnp3test.ParseResponse(got)
			if err == nil {
				for _, st := range dnp3test.Statuses(response) {
					if st == 0 {
						t.Errorf("bit %d: success", bit)
					}
				}
			}
		}
		if len(r.operator.operated) > 0 {
			t.Fatalf("bit %d: operated", bit)
		}
	}
}

// What comes between select and operate voids the select; a repeated select
// does not.
func TestBetweenSelectAndOperate(t *testing.T) {
	command := dnp3test.Relay(0, dnp3test.LatchOn)
	tests := []struct {
		name    string
		between func(r *rig)
		want    app.Status
	}{
		{"nothing", func(*rig) {}, app.Success},
		{"the select again", func(r *rig) { r.send(dnp3test.Request(3, dnp3test.FuncSelect, command)); r.one() }, app.Success},
		{"a stray confirm", func(r *rig) { r.send([]byte{0xc9, 0}) }, app.Success},
		{"a read", func(r *rig) { r.send(dnp3test.Request(4, dnp3test.FuncRead, dnp3test.Classes(1))); r.one() }, app.NoSelect},
		{"a broadcast", func(r *rig) { r.sendTo(0xffff, dnp3test.Request(4, dnp3test.FuncWrite, dnp3test.ClearRestart())) }, app.NoSelect},
		{"another select", func(r *rig) {
			r.send(dnp3test.Request(3, dnp3test.FuncSelect, dnp3test.Setpoint(0, 1)))
			r.one()
		}, app.NoSelect},
		{"a new connection", func(r *rig) { r.drop(); r.connect() }, app.NoSelect},
		{"9.999 s", func(r *rig) { r.wait(10*s - 1) }, app.Success},
		{"10 s", func(r *rig) { r.wait(10 * s) }, app.Success},
		{"more", func(r *rig) { r.wait(10*s + 1) }, app.Timeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := quiet(t, polled())
			r.send(dnp3test.Request(3, dnp3test.FuncSelect, command))
			r.one()
			tt.between(r)
			r.send(dnp3test.Request(4, dnp3test.FuncOperate, command))
			got := dnp3test.Statuses(r.one())
			if len(got) != 1 || app.Status(got[0]) != tt.want {
				t.Errorf("status %v, want %d", got, tt.want)
			}
			if operated := len(r.operator.operated); operated != 0 == (tt.want != app.Success) {
				t.Errorf("operated %d times", operated)
			}
		})
	}
}

func TestOperateWithWrongNumber(t *testing.T) {
	for seq := range uint8(16) {
		r := quiet(t, polled())
		r.send(dnp3test.Request(15, dnp3test.FuncSelect, dnp3test.Setpoint(0, 1)))
		r.one()
		r.send(dnp3test.Request(seq, dnp3test.FuncOperate, dnp3test.Setpoint(0, 1)))
		st := dnp3test.Statuses(r.one())
		if (st[0] == 0) != (seq == 0) {
			t.Errorf("select 15, operate %d: status %d", seq, st[0])
		}
	}
}

// A request that comes twice acts once, answered or not.
func TestRepeatedCommandsActOnce(t *testing.T) {
	for _, function := range []uint8{dnp3test.FuncDirect, dnp3test.FuncDirectNR, dnp3test.FuncOperate} {
		t.Run(fmt.Sprint("function ", function), func(t *testing.T) {
			r := quiet(t, polled())
			command := dnp3test.Setpoint(0, 12)
			r.send(dnp3test.Request(3, dnp3test.FuncSelect, command))
			r.one()
			request := dnp3test.Request(4, function, command)
			answers := 0
			for range 5 {
				r.send(request)
				answers += len(r.responses())
			}
			if len(r.operator.operated) != 1 {
				t.Errorf("operated %d times, want once", len(r.operator.operated))
			}
			if want := map[bool]int{true: 0, false: 5}[function == dnp3test.FuncDirectNR]; answers != want {
				t.Errorf("%d answers, want %d", answers, want)
			}
			// The next number is a new request.
			r.send(dnp3test.Request(5, dnp3test.FuncDirectNR, command))
			if len(r.operator.operated) != 2 {
				t.Errorf("operated %d times after a new request, want twice", len(r.operator.operated))
			}
		})
	}
}

func TestTooManyCommands(t *testing.T) {
	c := polled()
	c.MostControls = 3
	r := quiet(t, c)
	one := dnp3test.Setpoint(0, 1)
	if got := r.do(dnp3test.FuncDirect, one, one, one); !slices.Equal(dnp3test.Statuses(got), []uint8{0, 0, 0}) {
		t.Errorf("three: statuses %v", dnp3test.Statuses(got))
	}
	if got := r.do(dnp3test.FuncDirect, one, one, one, one); !slices.Equal(dnp3test.Statuses(got), []uint8{8, 8, 8, 8}) {
		t.Errorf("four: statuses %v, want TOO_MANY_OPS for all", dnp3test.Statuses(got))
	}
	if len(r.operator.operated) != 3 {
		t.Errorf("%d operated, want 3", len(r.operator.operated))
	}
}

// One failing command of a select voids it for all.
func TestSelectOfSeveral(t *testing.T) {
	r := quiet(t, polled())
	both := []byte{}
	both = append(append(both, dnp3test.Setpoint(0, 1)...), dnp3test.Setpoint(9, 1)...)
	if got := dnp3test.Statuses(r.do(dnp3test.FuncSelect, both)); !slices.Equal(got, []uint8{0, 4}) {
		t.Errorf("select: %v", got)
	}
	if got := dnp3test.Statuses(r.do(dnp3test.FuncOperate, both)); !slices.Equal(got, []uint8{2, 2}) {
		t.Errorf("operate: %v, want NO_SELECT twice", got)
	}
}

func TestReadOnlyMaster(t *testing.T) {
	c := polled()
	c.Masters[0].ReadOnly = true
	c.Restart = func(uint16, bool) (_ time.Duration, _ bool) { t.Error("restarted"); return }
	r := quiet(t, c)
	r.update(dnp3.Counter, 0, 5)
	if got := r.do(dnp3test.FuncDirect, dnp3test.Setpoint(0, 1)); !slices.Equal(dnp3test.Statuses(got), []uint8{9}) {
		t.Errorf("direct operate: %v, want NOT_AUTHORIZED", dnp3test.Statuses(got))
	}
	if got := r.do(dnp3test.FuncSelect, dnp3test.Setpoint(0, 1)); !slices.Equal(dnp3test.Statuses(got), []uint8{9}) {
		t.Errorf("select: %v, want NOT_AUTHORIZED", dnp3test.Statuses(got))
	}
	r.post(dnp3test.FuncDirectNR, dnp3test.Setpoint(0, 1))
	for _, f := range []struct {
		function uint8
		objects  []byte
	}{
		{dnp3test.FuncColdRestart, nil}, {dnp3test.FuncFreezeClear, dnp3test.All(20, 0)},
		{dnp3test.FuncAssignClass, append(dnp3test.Classes(0), dnp3test.All(30, 0)...)},
		{dnp3test.FuncWrite, dnp3test.Indexed(34, 3, 300, []byte{0, 0, 0, 0x40})},
	} {
		if got := r.do(f.function, f.objects); got.IIN&dnp3test.IINErrors == 0 {
			t.Errorf("function %d: indications %04x", f.function, got.IIN)
		}
	}
	if r.operator.selected+len(r.operator.operated) > 0 {
		t.Error("the handler was asked")
	}
	if number, _, _, _ := r.station.Value(dnp3.Counter, 0); number != 5 {
		t.Errorf("counter %v, want 5", number)
	}
	if got := r.do(dnp3test.FuncWrite, dnp3test.ClearRestart()); got.IIN&(dnp3test.IINErrors|dnp3test.IINRestart) != 0 {
		t.Errorf("a read-only master may clear its restart: indications %04x", got.IIN)
	}
}

// Commands are reported as events where that is asked for, to every master.
func TestCommandEvents(t *testing.T) {
	c := polled()
	c.Points[3].CommandClass = dnp3.Class1
	c.Points[7].CommandClass = dnp3.Class2
	r := quiet(t, c)
	r.do(dnp3test.FuncDirect, dnp3test.Relay(0, dnp3test.LatchOn), dnp3test.Setpoint(0, 16))
	got := r.do(dnp3test.FuncRead, dnp3test.Classes(1, 2))
	if len(got.Objects) != 2 || got.Objects[0].String() != fmt.Sprintf("g13v2[0] 1 at %d status 0", noon) || got.Objects[1].String() != fmt.Sprintf("g43v7[0] 16 at %d status 0", noon) {
		t.Errorf("events %v", got.Objects)
	}
}
