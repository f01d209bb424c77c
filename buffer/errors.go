package buffer

import (
	"errors"
	"fmt"
)

// Errors of opening.
var (
	// ErrLocked says that another process, or another Store of this one, has
	// the store open. Such a store is never replaced.
	ErrLocked = errors.New("store is in use by another process")

	// ErrMissing is the cause of a replacement where the store's file was gone
	// but its generation file shows that there had been one.
	ErrMissing = errors.New("store is missing")
)

// Errors of a store that is open.
var (
	// ErrDamaged says that the store's file cannot be used: torn, cut short,
	// foreign, or of another version. Close it and call OpenOrReplace.
	ErrDamaged = errors.New("store is damaged")

	// ErrTorn says that one record does not match its checksum. The rest of the
	// store is usable. The error is a *TornError.
	ErrTorn = errors.New("record is torn")

	// ErrInDoubt says that the disk failed so late in a commit that it may or
	// may not be kept. Close the store and open it again to see.
	ErrInDoubt = errors.New("commit is in doubt")

	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("store is closed")
)

// TornError names the record, or the key of the small state, that does not
// match its checksum. To go on behind torn records, acknowledge them up to To and
// append a record that tells of them in the same Batch.
type TornError struct {
	Stream    string
	N, To     uint64 // To is above N where a whole run is known to be lost
	Key       string // set instead of Stream and N where Get found it
	Got, Want uint32 // checksums; both 0 where the record is absent or too short
}

func (e *TornError) Error() string {
	what := fmt.Sprintf("record %s %d", e.Stream, e.N)
	if e.To > e.N {
		what = fmt.Sprintf("records %s %d to %d", e.Stream, e.N, e.To)
	}
	if e.Key != "" {
		what = fmt.Sprintf("key %q", e.Key)
	}
	if e.Got == 0 && e.Want == 0 {
		return what + ": torn: absent or too short"
	}
	return fmt.Sprintf("%s: torn: checksum 0x%08x, want 0x%08x", what, e.Got, e.Want)
}

// Is makes errors.Is(err, ErrTorn) true.
func (e *TornError) Is(target error) bool { return target == ErrTorn }

// damage marks err as ErrDamaged.
func damage(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}
