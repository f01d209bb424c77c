package link

// Secondary is the answering end of the link towards one primary station. The
// zero value is a link that was not reset yet.
type Secondary struct {
	reset bool
	fcb   bool // expected of the next frame with FCV
	last  Function
}

// Receive takes the header of a frame from the primary. Answer says whether
// reply is to be sent, deliver whether the frame's data is for the transport
// layer. Frames of secondary stations are not for it.
func (s *Secondary) Receive(h Header) (reply Function, answer, deliver bool) {
	fcb, fcv := h.Control&FCB != 0, h.Control&FCV != 0
	switch h.Function() {
	case UnconfirmedUserData:
		return 0, false, !fcv
	case RequestLinkStatus:
		return LinkStatus, !fcv, false
	case ResetLinkStates:
		if fcv {
			return 0, false, false
		}
		// The count begins anew, so that data repeated from before the reset
		// is new again: a master that restarted has no memory of it.
		*s = Secondary{reset: true, fcb: true, last: Ack}
		return Ack, true, false
	case TestLinkStates, ConfirmedUserData:
		switch {
		case !fcv:
			return 0, false, false
		case !s.reset:
			return Nack, true, false
		case fcb != s.fcb: // the answer was lost: say it again
			return s.last, true, false
		}
		s.fcb = !s.fcb
		s.last = Ack
		return Ack, true, h.Function() == ConfirmedUserData
	default:
		return NotSupported, true, false
	}
}
