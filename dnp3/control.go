package dnp3

import (
	"bytes"
	"math"
	"time"

	"lvagent/dnp3/app"
)

// control carries out SELECT, OPERATE and DIRECT_OPERATE: the answer repeats the
// objects, each with its status.
func (s *session) control(f app.Fragment, now time.Duration, wall int64) app.IIN {
	n, iin := countCommands(f)
	verdict := app.Success
	switch {
	case iin != 0:
		// Nothing of a request that does not hold together is carried out.
		s.selected = s.selected[:0]
		return iin
	case !s.responseTakes(len(f.Objects)):
		s.selected = s.selected[:0]
		return app.ParameterError
	case n > s.o.config.MostControls:
		verdict = app.TooManyOps
	case s.readOnly():
		verdict = app.NotAuthorized
	case f.Function == app.Operate:
		verdict = s.matchSelect(f, now)
	}
	if f.Function == app.Operate {
		s.selected = s.selected[:0]
	}
	// The objects are copied first: their statuses are written into the copy.
	at := len(s.response.octets)
	s.response.octets = append(s.response.octets, f.Objects...)
	echo := f
	echo.Objects = s.response.octets[at:]
	good := verdict == app.Success
	headers := echo.Headers()
	for {
		h, ok := headers.Next()
		if !ok {
			break
		}
		for i := range int(h.Count) {
			index, object := h.Object(i)
			status := verdict
			if status == app.Success {
				status = s.command(f.Function, h, index, object, now, wall)
			}
			app.SetStatus(object, status)
			if status != app.Success {
				good = false
			}
			if status == app.NotSupported {
				iin |= app.ParameterError
			}
		}
	}
	if f.Function == app.Select && good {
		s.selected = append(s.selected[:0], f.Objects...)
		s.selectedSeq, s.selectedUntil = f.Seq(), now+s.master.SelectTimeout
	}
	return iin
}

func (s *session) responseTakes(n int) bool { return len(s.response.octets)+n <= s.response.most }

// readOnly says whether the master may change nothing.
func (s *session) readOnly() bool { return s.master.ReadOnly || s.conn.peer.ReadOnly }

// countCommands says how many commands a request has, and what is wrong with it.
func countCommands(f app.Fragment) (n int, iin app.IIN) {
	headers := f.Headers()
	for {
		h, ok := headers.Next()
		switch {
		case !ok:
			if headers.Err() == nil && n == 0 {
				return 0, app.ParameterError
			}
			return n, iin | headers.IIN()
		case !app.IsCommand(h.Group, h.Variation):
			return n, app.ObjectUnknown
		case !h.IsRange() && !h.IsPrefixed():
			return n, app.ParameterError // a count does not say which
		}
		n += int(h.Count)
	}
}

// matchSelect says whether an operate belongs to the select before it: the next
// number, the same objects, in time.
func (s *session) matchSelect(f app.Fragment, now time.Duration) app.Status {
	switch {
	case len(s.selected) == 0 || f.Seq() != (s.selectedSeq+1)&app.SeqMask || !bytes.Equal(f.Objects, s.selected):
		return app.NoSelect
	case now > s.selectedUntil:
		return app.Timeout
	}
	return app.Success
}

// command checks one command and hands it to the handler.
func (s *session) command(function app.Function, h app.Header, index uint32, object []byte, now time.Duration, wall int64) app.Status {
	c, ok := app.DecodeCommand(h.Group, h.Variation, uint16(index), object)
	of := BinaryOutput
	if c.Analog {
		of = AnalogOutput
	}
	position := s.o.db.find(of, index)
	switch {
	case !ok || position < 0 || s.o.config.Controls == nil:
		return app.NotSupported
	case c.Analog && (math.IsNaN(c.Value) || math.IsInf(c.Value, 0)):
		return app.OutOfRange
	case !c.Analog && (c.Count != 1 || c.Queue || c.Clear || c.Op < app.PulseOn || c.Op > app.LatchOff || c.Relay > app.Trip):
		return app.NotSupported
	}
	if function == app.Select {
		return s.o.config.Controls.Select(s.master.Address, c)
	}
	status := s.o.config.Controls.Operate(s.master.Address, c)
	s.counts.Commands++
	m := app.Measurement{Number: c.Value, Status: status, Time: wall}
	k := analogCommand
	if !c.Analog {
		k = binaryCommand
		if c.Op == app.LatchOn || c.Op == app.PulseOn && c.Relay != app.Trip {
			m.Number = 1
		}
	}
	s.o.event(k, position, c.Index, 0, m, now)
	return status
}
