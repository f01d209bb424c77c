//go:build integration

package dnp3net

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lvagent/dnp3"
	"lvagent/dnp3/dnp3test"
)

// capture writes frames into a file that tshark reads, each in a TCP packet of
// its own, as if they had been caught on the way.
//
// Each request begins a connection of its own there: tshark takes segments whose
// number comes again after 64 for those of before.
type capture struct {
	octets bytes.Buffer
	frames int
	next   [2]uint32 // sequence numbers, of the outstation and of the master
	port   uint16    // of the master
}

func newCapture() *capture {
	c := &capture{}
	for _, v := range []any{uint32(0xa1b2c3d4), uint16(2), uint16(4), uint32(0), uint32(0), uint32(65535), uint32(101)} { // 101: raw IP
		c.put(v, binary.LittleEndian)
	}
	return c
}

func (c *capture) put(v any, order binary.ByteOrder) {
	if err := binary.Write(&c.octets, order, v); err != nil {
		panic(err)
	}
}

func (c *capture) add(sent bool, frame []byte) {
	if confirm := sent && len(frame) == 15; c.port == 0 || sent && !confirm {
		c.port = max(c.port, 29_999) + 1
		c.next = [2]uint32{}
	}
	from, to, ports, who := uint32(0x7f000001), uint32(0x7f000002), [2]uint16{20000, c.port}, 0
	if sent {
		from, to, ports, who = to, from, [2]uint16{c.port, 20000}, 1
	}
	n := uint32(40 + len(frame))
	for _, v := range []uint32{uint32(c.frames), 0, n, n} {
		c.put(v, binary.LittleEndian)
	}
	for _, v := range []any{uint16(0x4500), uint16(n), uint32(0), uint16(0x4006), uint16(0), from, to,
		ports[0], ports[1], c.next[who], c.next[1-who], uint16(0x5018), uint16(65535), uint32(0)} {
		c.put(v, binary.BigEndian)
	}
	c.octets.Write(frame)
	c.next[who] += uint32(len(frame))
	c.frames++
}

// tshark returns the lines of what it makes of the capture.
func (c *capture) tshark(t *testing.T, args ...string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "session.pcap")
	if err := os.WriteFile(file, c.octets.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tshark", append([]string{"-r", file, "-d", "tcp.port==20000,dnp3"}, args...)...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, complaints.String())
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// What tshark 4.0.17 does not know and calls malformed is not asked for here: the
// list of attributes (group 0 variation 255), double-bit events of relative time
// (4 variation 3), commands of 32 bits as events (43 variations 1 and 3, whose
// end it misses), and requests that list indices of variation 0.
//
// Every frame of a long session, in both directions, is one that tshark
// understands: as many as were sent, none malformed, no wrong check, no object
// it does not know, and the values are those that were told.
func TestEveryFrameIsUnderstoodByTshark(t *testing.T) {
	h := &controls{}
	c := Config{Listen: "127.0.0.1:0", PlainControls: true, Station: station(h, dnp3.Master{Address: 1, Unsolicited: true})}
	c.Station.Restart = func(uint16, bool) (time.Duration, bool) { return time.Second, true }
	c.Station.Identity = dnp3.Identity{Vendor: "Example", Product: "lvagent", Serial: "7", Software: "1.0", Hardware: "A", Location: "EPN-E1234", Name: "High Street 3"}
	for i := range uint16(300) {
		c.Station.Points = append(c.Station.Points, dnp3.Point{Type: dnp3.DoubleBitInput, Index: i, Class: dnp3.Class1})
	}
	c.Station.Points = append(c.Station.Points, dnp3.Point{Type: dnp3.OctetString, Index: 0, Class: dnp3.Class3},
		dnp3.Point{Type: dnp3.BinaryOutput, Index: 300, Class: dnp3.Class1, CommandClass: dnp3.Class1},
		dnp3.Point{Type: dnp3.AnalogOutput, Index: 300, Class: dnp3.Class1, CommandClass: dnp3.Class1},
		dnp3.Point{Type: dnp3.Counter, Index: 300, Class: dnp3.Class3, FrozenClass: dnp3.Class3})
	s := serve(t, c)
	caught := newCapture()
	m, err := dnp3test.Dial(s.Addr().String(), dnp3test.Config{Address: 1, Outstation: 1024, Trace: caught.add})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.WaitUnsolicited(patience); err != nil {
		t.Fatal(err)
	}
	do := func(function uint8, objects ...[]byte) dnp3test.Response {
		t.Helper()
		r, err := m.Do(function, objects...)
		if err != nil {
			t.Fatal(err)
		}
		if r.IIN&dnp3test.IINErrors != 0 {
			t.Fatalf("function %d, % x: indications %04x", function, objects, r.IIN)
		}
		return r
	}
	number := 0.0
	tell := func() {
		t.Helper()
		var changes []dnp3.Change
		for _, of := range []dnp3.Type{dnp3.BinaryInput, dnp3.DoubleBitInput, dnp3.Counter, dnp3.AnalogInput} {
			for _, index := range []uint16{0, 1, 255, 256, 299} {
				number++
				v := number
				if of == dnp3.BinaryInput {
					v = float64(int(number) % 2)
				}
				changes = append(changes, dnp3.Change{Type: of, Index: index, Number: v, Flags: dnp3.Online, Time: 1_795_608_000_000 + int64(number), Event: dnp3.Always})
			}
		}
		changes = append(changes, dnp3.Change{Type: dnp3.OctetString, Index: 0, Octets: "half past two", Flags: dnp3.Online, Event: dnp3.Always},
			dnp3.Change{Type: dnp3.BinaryOutput, Index: 300, Number: 1, Flags: dnp3.Online, Event: dnp3.Always, Time: 1_795_608_000_000},
			dnp3.Change{Type: dnp3.AnalogOutput, Index: 300, Number: 16.5, Flags: dnp3.Online, Event: dnp3.Always, Time: 1_795_608_000_000})
		if err := s.Update(changes...); err != nil {
			t.Fatal(err)
		}
	}
	do(dnp3test.FuncWrite, dnp3test.ClearRestart())
	if _, err := m.SyncTime(time.Now); err != nil {
		t.Fatal(err)
	}
	do(dnp3test.FuncWrite, dnp3test.TimeObject(1, time.Now().UnixMilli()))
	do(dnp3test.FuncDelay)
	// Every variation of events, and of static values in ranges and lists.
	for _, of := range []struct {
		group      uint8
		variations []uint8
	}{{2, []uint8{0, 1, 2, 3}}, {4, []uint8{0, 1, 2}}, {22, []uint8{0, 1, 2, 5, 6}}, {32, []uint8{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		{11, []uint8{0, 1, 2}}, {42, []uint8{0, 1, 2, 3, 4, 5, 6, 7, 8}}, {111, []uint8{0}}} {
		for _, v := range of.variations {
			tell()
			if r := do(dnp3test.FuncRead, dnp3test.All(of.group, v)); len(r.Events()) == 0 {
				t.Errorf("group %d variation %d: no events", of.group, v)
			}
			do(dnp3test.FuncRead, dnp3test.Classes(1, 2, 3))
		}
	}
	for _, of := range []struct {
		group      uint8
		variations []uint8
	}{{1, []uint8{0, 1, 2}}, {3, []uint8{0, 1, 2}}, {20, []uint8{0, 1, 2, 5, 6}}, {21, []uint8{0, 1, 2, 5, 6, 9, 10}}, {30, []uint8{0, 1, 2, 3, 4, 5, 6}}, {34, []uint8{1, 2, 3}}} {
		for _, v := range of.variations {
			do(dnp3test.FuncRead, dnp3test.All(of.group, v))
			do(dnp3test.FuncRead, dnp3test.Range(of.group, v, 250, 260))
			if v > 0 {
				do(dnp3test.FuncRead, []byte{of.group, v, 0x17, 2, 3, 5})
			}
		}
	}
	for _, v := range []uint8{0, 1, 2, 3, 4} {
		do(dnp3test.FuncRead, dnp3test.All(40, v))
	}
	for _, v := range []uint8{0, 1, 2} {
		do(dnp3test.FuncRead, dnp3test.All(10, v))
	}
	do(dnp3test.FuncRead, dnp3test.All(110, 0))
	do(dnp3test.FuncRead, dnp3test.All(50, 1))
	do(dnp3test.FuncRead, dnp3test.Range(0, 254, 0, 0))
	do(dnp3test.FuncFreeze, dnp3test.All(20, 0))
	do(dnp3test.FuncFreezeClear, dnp3test.Range(20, 0, 300, 300))
	for _, v := range []uint8{0, 1, 2, 5, 6} {
		do(dnp3test.FuncFreeze, dnp3test.Range(20, 0, 300, 300))
		do(dnp3test.FuncRead, dnp3test.All(23, v))
	}
	for _, command := range [][]byte{dnp3test.Relay(300, dnp3test.LatchOn), dnp3test.Relay(300, dnp3test.Trip), dnp3test.Setpoint(300, 16.5), dnp3test.Setpoint16(300, -3), dnp3test.Setpoint32(300, 70_000)} {
		if st, err := m.SelectOperate(command); err != nil || len(st) != 1 || st[0] != 0 {
			t.Fatalf("select and operate: %v, %v", st, err)
		}
		do(dnp3test.FuncDirect, command)
		if err := m.Post(dnp3test.FuncDirectNR, command); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []uint8{0, 1, 2} {
		do(dnp3test.FuncDirect, dnp3test.Relay(300, dnp3test.LatchOff))
		do(dnp3test.FuncRead, dnp3test.All(13, v))
	}
	for _, v := range []uint8{0, 2, 4, 5, 6, 7, 8} {
		do(dnp3test.FuncDirect, dnp3test.Setpoint(300, float32(v)))
		do(dnp3test.FuncRead, dnp3test.All(43, v))
	}
	do(dnp3test.FuncWrite, dnp3test.Indexed(34, 3, 299, []byte{0, 0, 0xa0, 0x40}))
	do(dnp3test.FuncAssignClass, append(dnp3test.Classes(1), dnp3test.Range(30, 0, 0, 10)...))
	do(dnp3test.FuncWarmRestart)
	do(dnp3test.FuncRead, dnp3test.Classes(1, 2, 3))
	do(dnp3test.FuncEnable, dnp3test.Classes(1, 2, 3))
	for range 20 {
		tell()
		if _, err := m.WaitUnsolicited(patience); err != nil {
			t.Fatal(err)
		}
	}
	do(dnp3test.FuncDisable, dnp3test.Classes(1, 2, 3))
	for range 5 {
		r, err := m.IntegrityPoll()
		if err != nil || len(r.Objects) < 1500 {
			t.Fatalf("%d objects, %v", len(r.Objects), err)
		}
	}
	if caught.frames < 800 {
		t.Errorf("%d frames: not a long session", caught.frames)
	}

	if seen := caught.tshark(t, "-Y", "dnp3", "-T", "fields", "-e", "frame.number"); len(seen) != caught.frames {
		t.Errorf("tshark sees %d DNP3 frames, %d were sent", len(seen), caught.frames)
	}
	// Requests name objects without carrying them, which the dissector of
	// unknown objects stumbles over: the outstation's frames only for that.
	for _, filter := range []string{
		"_ws.malformed",
		"dnp3.data_chunk.CRC.incorrect",
		"dnp3.unknown_object && dnp3.src == 1024",
		"_ws.expert.severity == error",
	} {
		if bad := caught.tshark(t, "-Y", filter, "-T", "fields", "-e", "frame.number", "-e", "dnp3.al.obj", "-e", "_ws.expert.message"); bad[0] != "" {
			t.Errorf("%s: %d frames, the first %q", filter, len(bad), bad[0])
		}
	}
	// What it reads is what was told: the last poll's analog of index 299.
	values := strings.Join(caught.tshark(t, "-Y", "dnp3.al.obj == 0x1e05", "-T", "fields", "-e", "dnp3.al.ana.float"), ",")
	for _, v := range strings.Split(values, ",") {
		if got, err := strconv.ParseFloat(v, 64); err == nil && got == number {
			return
		}
	}
	t.Errorf("tshark reads no analog of %v", number)
}
