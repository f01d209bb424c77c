package window

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrCorrupt is a checkpoint that is not as it was written.
var ErrCorrupt = errors.New("checkpoint is corrupt")

const checkpointHead = "windows %08x\n"

// Encode returns checkpoints as they are stored: a line with their checksum, and
// JSON, so that a later version can read them.
func Encode(states []State) ([]byte, error) {
	body, err := json.Marshal(states)
	if err != nil {
		return nil, fmt.Errorf("encode checkpoints of %d windows: %w", len(states), err)
	}
	return append(fmt.Appendf(nil, checkpointHead, crc32.ChecksumIEEE(body)), body...), nil
}

// Decode returns the checkpoints that can be used, and what is wrong with the
// others: a window without a checkpoint starts anew, one with a wrong checkpoint
// would publish a false number.
func Decode(stored []byte) ([]State, error) {
	head, body, _ := bytes.Cut(stored, []byte("\n"))
	var want uint32
	if _, err := fmt.Sscanf(string(head)+"\n", checkpointHead, &want); err != nil {
		return nil, fmt.Errorf("decode checkpoints of %d octets: %w: no checksum", len(stored), ErrCorrupt)
	}
	if got := crc32.ChecksumIEEE(body); got != want {
		return nil, fmt.Errorf("decode checkpoints of %d octets: %w: crc 0x%08x, want 0x%08x", len(stored), ErrCorrupt, got, want)
	}
	var states []State
	if err := json.Unmarshal(body, &states); err != nil {
		return nil, fmt.Errorf("decode checkpoints: %w: %w", ErrCorrupt, err)
	}
	var faults []error
	good := states[:0]
	for i := range states {
		if err := states[i].check(); err != nil {
			faults = append(faults, fmt.Errorf("decode checkpoint of %.64q: %w: %w", states[i].Way, ErrCorrupt, err))
			continue
		}
		good = append(good, states[i])
	}
	return good, errors.Join(faults...)
}
