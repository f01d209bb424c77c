// Package app turns application fragments of DNP3 into headers and objects, and
// values into octets.
//
// Nothing here remembers a request or decides an answer. [Parse] takes a
// fragment apart as far as the control octet and the function; [Headers] walks
// its object headers without allocating and stops at the first one that does
// not hold together; [Layout] says what a variation of a point looks like.
// Indices have 16 bits everywhere.
//
// Requirement: SmartCAR R4, R16.
package app

import "errors"

// Function is the function code of a fragment.
type Function uint8

// Functions of the master.
const (
	Confirm             Function = 0
	Read                Function = 1
	Write               Function = 2
	Select              Function = 3
	Operate             Function = 4
	DirectOperate       Function = 5
	DirectOperateNR     Function = 6
	Freeze              Function = 7
	FreezeNR            Function = 8
	FreezeClear         Function = 9
	FreezeClearNR       Function = 10
	ColdRestart         Function = 13
	WarmRestart         Function = 14
	EnableUnsolicited   Function = 20
	DisableUnsolicited  Function = 21
	AssignClass         Function = 22
	DelayMeasure        Function = 23
	RecordCurrentTime   Function = 24
	AuthenticateRequest Function = 32
	AuthenticateNR      Function = 33
)

// Functions of the outstation.
const (
	Response             Function = 129
	UnsolicitedResponse  Function = 130
	AuthenticateResponse Function = 131
)

// Unanswered says whether the function asks for no answer.
func (f Function) Unanswered() bool {
	switch f {
	case Confirm, DirectOperateNR, FreezeNR, FreezeClearNR, AuthenticateNR:
		return true
	}
	return false
}

// carriesObjects says whether object headers of a request are followed by
// objects, and not only by their indices.
func (f Function) carriesObjects() bool {
	switch f {
	case Write, Select, Operate, DirectOperate, DirectOperateNR:
		return true
	}
	return f >= Response
}

// Bits of the control octet; the lowest four are the sequence number.
const (
	Fir     = 0x80
	Fin     = 0x40
	Con     = 0x20 // asks for a confirm
	Uns     = 0x10 // of an unsolicited response or its confirm
	SeqMask = 0x0f
)

// IIN holds the internal indications of a response: the first octet is the
// lower one.
type IIN uint16

// Internal indications.
const (
	Broadcast      IIN = 1 << 0 // a broadcast was heard
	Class1         IIN = 1 << 1 // more events of class 1
	Class2         IIN = 1 << 2
	Class3         IIN = 1 << 3
	NeedTime       IIN = 1 << 4
	LocalControl   IIN = 1 << 5
	DeviceTrouble  IIN = 1 << 6
	DeviceRestart  IIN = 1 << 7
	NoFunction     IIN = 1 << 8 // IIN2.0: function not supported
	ObjectUnknown  IIN = 1 << 9 // IIN2.1
	ParameterError IIN = 1 << 10
	EventOverflow  IIN = 1 << 11
	AlreadyRunning IIN = 1 << 12
	ConfigCorrupt  IIN = 1 << 13
)

// What can be wrong with a fragment.
var (
	ErrShort     = errors.New("shorter than its header")
	ErrNotWhole  = errors.New("not a fragment by itself (FIR and FIN)")
	ErrNotMaster = errors.New("a function of the outstation")
)

// Fragment is a request of a master.
type Fragment struct {
	Control  uint8
	Function Function
	Objects  []byte
}

// Seq is the sequence number.
func (f Fragment) Seq() uint8 { return f.Control & SeqMask }

// Parse takes a request apart. A request is one fragment; responses are not
// requests.
func Parse(octets []byte) (Fragment, error) {
	if len(octets) < 2 {
		return Fragment{}, ErrShort
	}
	f := Fragment{Control: octets[0], Function: Function(octets[1]), Objects: octets[2:]}
	if f.Control&(Fir|Fin) != Fir|Fin {
		return f, ErrNotWhole
	}
	if f.Function >= 0x80 { // 129 to 131, and the rest of their half kept back

		return f, ErrNotMaster
	}
	return f, nil
}

// Headers walks the object headers of the fragment.
func (f Fragment) Headers() Headers {
	return Headers{rest: f.Objects, objects: f.Function.carriesObjects()}
}
