package modbus

import (
	"errors"
	"fmt"
	"io"
	"strings"

	lib "github.com/simonvetter/modbus"

	"lvagent/meter"
)

// Errors of a connection. After ErrTimeout and ErrBadFrame it is closed.
var (
	// ErrClosed: the connection was never opened, or was closed since.
	ErrClosed = errors.New("connection is not open")
	// ErrTimeout: no answer in time.
	ErrTimeout = errors.New("no answer in time")
	// ErrBadFrame: the reply was short, garbled or from another unit, so that
	// it is not known where the next reply begins.
	ErrBadFrame = errors.New("bad frame")
	// ErrUnproven: on this serial line it is not known to what the unit's next
	// answer would be, and no guard could tell now. Nothing was sent.
	ErrUnproven = errors.New("unit owes answers, and no guard could tell them from others")
	// ErrGuard: the unit refused its guard. The connection is closed.
	ErrGuard = errors.New("guard was refused")
	// ErrRequest: the request itself cannot be sent. Nothing was sent.
	ErrRequest = errors.New("request is not possible")
)

// Exception codes of Modbus (Application Protocol V1.1b3, section 7) that are
// treated apart from the others.
const (
	illegalAddress = 0x02
	gatewayNoPath  = 0x0a
	gatewayNoReply = 0x0b
)

// ExceptionError is a refusal by the meter or a gateway. The connection lives.
type ExceptionError struct {
	Code uint8 // 0: a code that Modbus does not define
	Text string
}

// Error says which exception it was.
func (e *ExceptionError) Error() string {
	if e.Code == 0 {
		return "exception: " + e.Text
	}
	return fmt.Sprintf("exception %d: %s", e.Code, e.Text)
}

var exceptionCodes = map[lib.Error]uint8{
	lib.ErrIllegalFunction:         1,
	lib.ErrIllegalDataAddress:      illegalAddress,
	lib.ErrIllegalDataValue:        3,
	lib.ErrServerDeviceFailure:     4,
	lib.ErrAcknowledge:             5,
	lib.ErrServerDeviceBusy:        6,
	lib.ErrMemoryParityError:       8,
	lib.ErrGWPathUnavailable:       gatewayNoPath,
	lib.ErrGWTargetFailedToRespond: gatewayNoReply,
}

// translate turns the library's error into one of ours.
func translate(err error) error {
	var le lib.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &le):
		if code, ok := exceptionCodes[le]; ok {
			return &ExceptionError{Code: code, Text: string(le)}
		}
		switch le {
		case lib.ErrRequestTimedOut:
			return ErrTimeout
		case lib.ErrUnexpectedParameters, lib.ErrConfigurationError:
			return fmt.Errorf("%w: %s", ErrRequest, le)
		default:
			return fmt.Errorf("%w: %s", ErrBadFrame, le)
		}
	case strings.HasPrefix(err.Error(), "unknown exception code"):
		// The library has no type for these, yet the meter did answer.
		return &ExceptionError{Text: err.Error()}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %w", ErrBadFrame, err)
	default:
		return err
	}
}

// keepsConnection reports whether the connection is still usable after err.
func keepsConnection(err error) bool {
	var ex *ExceptionError
	return err == nil || errors.As(err, &ex) || errors.Is(err, ErrRequest) || errors.Is(err, ErrUnproven)
}

// reason is the quality reason that err gives to the values asked for.
func reason(err error) meter.Reason {
	var ex *ExceptionError
	switch {
	case errors.As(err, &ex):
		if ex.Code == gatewayNoPath || ex.Code == gatewayNoReply {
			return meter.NoAnswer // the gateway speaks, the meter does not
		}
		return meter.Exception
	case errors.Is(err, ErrGuard):
		return meter.Exception
	case errors.Is(err, ErrBadFrame):
		return meter.BadFrame
	default:
		return meter.NoAnswer
	}
}

// isIllegalAddress reports whether a meter refused an address.
func isIllegalAddress(err error) bool {
	var ex *ExceptionError
	return errors.As(err, &ex) && ex.Code == illegalAddress
}
