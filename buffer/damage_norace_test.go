//go:build !race

package buffer

import "testing"

// A store that was closed cleanly is not checked page by page, so bbolt may read
// through a pointer that leads out of its mapping. The fault is caught, but not
// where the race detector follows the same pointer outside of Go.
func TestFlippedBitsOfACleanStore(t *testing.T) { flipBits(t, true) }
