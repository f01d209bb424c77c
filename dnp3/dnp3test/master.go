package dnp3test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"time"
)

// Functions that a master asks for.
const (
	FuncConfirm      = 0
	FuncRead         = 1
	FuncWrite        = 2
	FuncSelect       = 3
	FuncOperate      = 4
	FuncDirect       = 5
	FuncDirectNR     = 6
	FuncFreeze       = 7
	FuncFreezeNR     = 8
	FuncFreezeClear  = 9
	FuncColdRestart  = 13
	FuncWarmRestart  = 14
	FuncEnable       = 20
	FuncDisable      = 21
	FuncAssignClass  = 22
	FuncDelay        = 23
	FuncRecordTime   = 24
	FuncAuthenticate = 32
)

// Internal indications.
const (
	IINBroadcast      = 0x0001
	IINClass1         = 0x0002
	IINClass2         = 0x0004
	IINClass3         = 0x0008
	IINNeedTime       = 0x0010
	IINLocal          = 0x0020
	IINTrouble        = 0x0040
	IINRestart        = 0x0080
	IINNoFunction     = 0x0100
	IINObjectUnknown  = 0x0200
	IINParameterError = 0x0400
	IINOverflow       = 0x0800

	IINErrors = IINNoFunction | IINObjectUnknown | IINParameterError
)

// Request builds the fragment of a request.
func Request(seq, function uint8, objects ...[]byte) []byte {
	f := []byte{0xc0 | seq&0x0f, function}
	for _, o := range objects {
		f = append(f, o...)
	}
	return f
}

// Confirm builds the confirm of a response.
func Confirm(r Response) []byte { return []byte{0xc0 | r.Control&0x1f, FuncConfirm} }

// All names every object of a group and variation.
func All(group, variation uint8) []byte { return []byte{group, variation, 0x06} }

// Range names objects by start and stop.
func Range(group, variation uint8, start, stop uint16) []byte {
	return []byte{group, variation, 0x01, uint8(start), uint8(start >> 8), uint8(stop), uint8(stop >> 8)}
}

// Most names at most count events.
func Most(group, variation uint8, count uint8) []byte { return []byte{group, variation, 0x07, count} }

// Classes names events of classes, then the static class 0.
func Classes(classes ...uint8) (objects []byte) {
	for _, c := range classes {
		objects = append(objects, 60, c+1, 0x06)
	}
	return objects
}

// Integrity is what an integrity poll asks for.
func Integrity() []byte { return Classes(1, 2, 3, 0) }

// Indexed builds a header with one object behind its 16-bit index.
func Indexed(group, variation uint8, index uint16, object []byte) []byte {
	return append([]byte{group, variation, 0x28, 1, 0, uint8(index), uint8(index >> 8)}, object...)
}

// Codes of relay output blocks.
const (
	PulseOn  = 0x01
	LatchOn  = 0x03
	LatchOff = 0x04
	Close    = 0x41
	Trip     = 0x81
)

// Relay is a command to a binary output (group 12 variation 1), once, 100 ms on
// and off.
func Relay(index uint16, code uint8) []byte {
	return Indexed(12, 1, index, []byte{code, 1, 100, 0, 0, 0, 100, 0, 0, 0, 0})
}

// Setpoint is a command to an analog output (group 41 variation 3).
func Setpoint(index uint16, value float32) []byte {
	return Indexed(41, 3, index, append(binary.LittleEndian.AppendUint32(nil, math.Float32bits(value)), 0))
}

// Setpoint16 and Setpoint32 are whole numbers (variations 2 and 1).
func Setpoint16(index uint16, value int16) []byte {
	return Indexed(41, 2, index, []byte{uint8(value), uint8(value >> 8), 0})
}

// Setpoint32 is a whole number of 32 bits.
func Setpoint32(index uint16, value int32) []byte {
	return Indexed(41, 1, index, append(binary.LittleEndian.AppendUint32(nil, uint32(value)), 0))
}

// ClearRestart is what a master writes to clear IIN1.7.
func ClearRestart() []byte { return []byte{80, 1, 0x00, 7, 7, 0} }

// TimeObject is a time to write: variation 1 at once, 3 as of RECORD_CURRENT_TIME.
func TimeObject(variation uint8, milliseconds int64) []byte {
	t := binary.LittleEndian.AppendUint64(nil, uint64(milliseconds))
	return append([]byte{50, variation, 0x07, 1}, t[:6]...)
}

// Config says who a master is and how patient.
type Config struct {
	Address, Outstation uint16
	Timeout             time.Duration // of each answer, default 5 s
	// HoldConfirms does not confirm by itself.
	HoldConfirms bool
	// Trace is called with each frame that is sent and each that came.
	Trace func(sent bool, frame []byte)
}

// Master speaks to one outstation over a connection. It is used by one
// goroutine.
type Master struct {
	// Unsolicited is called with each unsolicited response, before its confirm.
	Unsolicited func(Response)
	Frames      struct{ Sent, Received int }

	conn    net.Conn
	config  Config
	held    []byte
	join    Join
	seq     uint8
	segment uint8
	latest  Response // unsolicited
	has     bool
}

// ErrTimeout is the error of an answer that did not come.
var ErrTimeout = errors.New("no answer in time")

// Dial connects to an outstation.
func Dial(address string, c Config) (*Master, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return New(conn, c), nil
}

// New is a master on a connection that is open.
func New(conn net.Conn, c Config) *Master {
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	return &Master{conn: conn, config: c}
}

// Close closes the connection.
func (m *Master) Close() error { return m.conn.Close() }

// Raw sends octets as they are.
func (m *Master) Raw(octets []byte) error {
	_, err := m.conn.Write(octets)
	return err
}

// Send sends a fragment to the outstation.
func (m *Master) Send(fragment []byte) error { return m.SendTo(m.config.Outstation, fragment) }

// SendTo sends a fragment to any address.
func (m *Master) SendTo(destination uint16, fragment []byte) error {
	frames, next := Segments(m.segment, destination, m.config.Address, fragment)
	m.segment = next
	for rest := frames; len(rest) > 0; {
		_, after, _, err := Cut(rest)
		if err != nil {
			return err
		}
		m.trace(true, rest[:len(rest)-len(after)])
		rest = after
	}
	return m.Raw(frames)
}

func (m *Master) trace(sent bool, frame []byte) {
	if sent {
		m.Frames.Sent++
	} else {
		m.Frames.Received++
	}
	if m.config.Trace != nil {
		m.config.Trace(sent, frame)
	}
}

// Link sends a link frame without data.
func (m *Master) Link(control uint8) error {
	f := Frame(control, m.config.Outstation, m.config.Address, nil)
	m.trace(true, f)
	return m.Raw(f)
}

// NextFrame waits for a frame.
func (m *Master) NextFrame(until time.Time) (LinkFrame, error) {
	buf := make([]byte, 4096)
	for {
		f, rest, need, err := Cut(m.held)
		if err != nil {
			return f, err
		}
		if need == 0 {
			m.trace(false, m.held[:len(m.held)-len(rest)])
			m.held = rest
			return f, nil
		}
		if err := m.conn.SetReadDeadline(until); err != nil {
			return f, err
		}
		n, err := m.conn.Read(buf)
		m.held = append(m.held, buf[:n]...)
		if n > 0 {
			continue
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return f, ErrTimeout
		}
		return f, err
	}
}

// Next waits for a fragment. Requests for the link's status are answered
// meanwhile.
func (m *Master) Next(until time.Time) (Response, error) {
	for {
		f, err := m.NextFrame(until)
		if err != nil {
			return Response{}, err
		}
		switch {
		case f.Control&0x80 != 0 || f.Destination != m.config.Address || f.Source != m.config.Outstation:
			return Response{}, fmt.Errorf("%w: frame %02x from %d to %d", ErrWire, f.Control, f.Source, f.Destination)
		case f.Control == 0x49:
			if err := m.Link(0x8b); err != nil {
				return Response{}, err
			}
		case f.Control == 0x44:
			fragment, whole, err := m.join.Add(f.Data)
			if err != nil {
				return Response{}, err
			}
			if whole {
				return ParseResponse(fragment)
			}
		}
	}
}

// take handles what came unasked; true when it was that.
func (m *Master) take(r Response) (bool, error) {
	if !r.Unsolicited() {
		return false, nil
	}
	m.latest, m.has = r, true
	if m.Unsolicited != nil {
		m.Unsolicited(r)
	}
	if r.Con() && !m.config.HoldConfirms {
		return true, m.Send(Confirm(r))
	}
	return true, nil
}

// Do sends a request and returns its response: the objects of all fragments,
// each confirmed where it asks for it, and the indications of the last.
func (m *Master) Do(function uint8, objects ...[]byte) (Response, error) {
	seq := m.seq
	m.seq = (m.seq + 1) & 0x0f
	if err := m.Send(Request(seq, function, objects...)); err != nil {
		return Response{}, err
	}
	var all Response
	for first := true; ; {
		r, err := m.Next(time.Now().Add(m.config.Timeout))
		if err != nil {
			return all, fmt.Errorf("function %d: %w", function, err)
		}
		if unasked, err := m.take(r); err != nil {
			return all, err
		} else if unasked {
			continue
		}
		if r.Seq() != seq || r.First() != first {
			if first { // of a request before this one
				continue
			}
			return all, fmt.Errorf("%w: fragment %d, want %d", ErrWire, r.Seq(), seq)
		}
		all.Objects = append(all.Objects, r.Objects...)
		all.Control, all.Function, all.IIN, all.Raw = r.Control, r.Function, r.IIN, r.Raw
		if r.Con() && !m.config.HoldConfirms {
			if err := m.Send(Confirm(r)); err != nil {
				return all, err
			}
		}
		if r.Final() || m.config.HoldConfirms {
			return all, nil
		}
		seq, first = (seq+1)&0x0f, false
		m.seq = (seq + 1) & 0x0f
	}
}

// Post sends a request that is not answered.
func (m *Master) Post(function uint8, objects ...[]byte) error {
	seq := m.seq
	m.seq = (m.seq + 1) & 0x0f
	return m.Send(Request(seq, function, objects...))
}

// WaitUnsolicited waits for the next unsolicited response.
func (m *Master) WaitUnsolicited(patience time.Duration) (Response, error) {
	until := time.Now().Add(patience)
	m.has = false
	for !m.has {
		r, err := m.Next(until)
		if err != nil {
			return r, err
		}
		if _, err := m.take(r); err != nil {
			return r, err
		}
	}
	return m.latest, nil
}

// IntegrityPoll reads all events, then everything.
func (m *Master) IntegrityPoll() (Response, error) { return m.Do(FuncRead, Integrity()) }

// EventPoll reads the events of classes 1, 2 and 3.
func (m *Master) EventPoll() (Response, error) { return m.Do(FuncRead, Classes(1, 2, 3)) }

// SelectOperate selects and operates commands; it returns the statuses of the
// operate, or of the select when that failed.
func (m *Master) SelectOperate(commands ...[]byte) ([]uint8, error) {
	for _, function := range []uint8{FuncSelect, FuncOperate} {
		r, err := m.Do(function, commands...)
		if err != nil {
			return nil, err
		}
		statuses := Statuses(r)
		for _, s := range statuses {
			if s != 0 {
				return statuses, nil
			}
		}
		if function == FuncOperate {
			return statuses, nil
		}
	}
	return nil, nil
}

// DirectOperate operates commands without a select.
func (m *Master) DirectOperate(commands ...[]byte) ([]uint8, error) {
	r, err := m.Do(FuncDirect, commands...)
	return Statuses(r), err
}

// Statuses are the statuses of the commands in an answer.
func Statuses(r Response) (statuses []uint8) {
	for _, o := range r.Objects {
		statuses = append(statuses, o.Status)
	}
	return statuses
}

// SyncTime sets the outstation's time by the procedure for networks: the
// outstation notes when a message came, and is then told what time that was.
func (m *Master) SyncTime(now func() time.Time) (Response, error) {
	sent := now()
	if r, err := m.Do(FuncRecordTime); err != nil || r.IIN&IINErrors != 0 {
		return r, err
	}
	return m.Do(FuncWrite, TimeObject(3, sent.UnixMilli()))
}
