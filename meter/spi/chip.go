package spi

import (
	"errors"
	"fmt"
	"time"
)

const (
	// comeUp is how long the chip may take after a reset. Analog Devices' own
	// driver waits 50 ms; before, the chip does not answer.
	comeUp, comeUpStep = 500 * time.Millisecond, 20 * time.Millisecond
	// checksumWithin is how long it may take over the checksum of its
	// configuration, for which the manual says 10.8 ms.
	checksumWithin, checksumStep = 200 * time.Millisecond, 15 * time.Millisecond
	// tries is how often a transfer is repeated while the chip is configured.
	// A bus with so many errors that this does not help can't be measured over.
	tries = 3
)

var (
	errAbsent     = errors.New("no front end answers")
	errNoChecksum = errors.New("the front end does not compute the checksum of its configuration")
)

// start resets the chip, writes its configuration, reads it back and has it
// measure. From here to settled its values mean nothing.
func (m *Meter) start() error {
	m.settled = time.Now().Add(comeUp + settling) // until it is known better
	if err := m.reset(); err != nil {
		return err
	}
	version, err := m.sure(regVersion)
	if err != nil {
		return err
	}
	if want := m.cfg.Calibration.version; want != 0 && version&versionMask != want {
		return fmt.Errorf("the chip has version 0x%04x, the calibration of board %s is for 0x%04x", version&versionMask, m.cfg.Calibration.board, want)
	}
	for _, s := range m.config {
		if err := m.put(s.reg, s.value); err != nil {
			return fmt.Errorf("configure: %w", err)
		}
	}
	if err := m.put(regRun, 1); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	m.settled = time.Now().Add(settling)
	if err := m.takeChecksum(); err != nil {
		return err
	}
	if err := m.verify(); err != nil {
		return err
	}
	m.verifyAt = time.Now().Add(verifyEvery)
	m.inDip, m.inSwell = false, false
	m.cfg.Log.Info("front end started", "board", m.cfg.Calibration.board, "version", version)
	return nil
}

// versionMask leaves out of VERSION what is not the version.
const versionMask = 0xffc0

// reset brings the chip to its defaults and waits until it is up.
func (m *Meter) reset() error {
	// A lock that somebody else left would make all that follows void. Neither
	// write can be checked: after the second the chip hears nothing for a time.
	if err := m.wire.put(regLock, unlockKey); err != nil {
		return err
	}
	if err := m.wire.put(regConfig1, bitSoftReset); err != nil {
		return err
	}
	var status uint32
	var err error
	for until := time.Now().Add(comeUp); time.Now().Before(until); {
		time.Sleep(comeUpStep)
		if status, err = m.wire.read(regStatus1); err == nil && status&bitReset != 0 {
			return m.again(func() error { return m.wire.write(regStatus1, bitReset) })
		}
		if err != nil && !errors.Is(err, ErrCheck) {
			return err
		}
	}
	if err == nil {
		err = &CheckError{Register: uint16(regStatus1), Check: "not reset", Got: status, Want: bitReset}
	}
	return fmt.Errorf("%w: %w", errAbsent, err)
}

// takeChecksum has the chip compute the checksum of its configuration, against
// which it then watches it.
func (m *Meter) takeChecksum() error {
	if err := m.again(func() error { return m.wire.write(regForceCRC, 1) }); err != nil {
		return err
	}
	for until := time.Now().Add(checksumWithin); ; {
		time.Sleep(checksumStep)
		status, err := m.sure(regStatus1)
		if err != nil {
			return err
		}
		if status&bitReset != 0 {
			return errReset
		}
		if status&bitCRCDone != 0 {
			break
		}
		if !time.Now().Before(until) {
			return errNoChecksum
		}
	}
	sum, err := m.sure(regChecksum)
	if err != nil {
		return err
	}
	m.checksum = sum
	return m.again(func() error { return m.wire.write(regStatus1, bitCRCDone|bitChanged|bitDips|bitSwells) })
}

var errReset = errors.New("the front end was reset")

// verify reads the whole configuration back.
func (m *Meter) verify() error {
	for _, s := range m.config {
		if err := m.holds(s.reg, s.value); err != nil {
			return err
		}
	}
	if err := m.holds(regRun, 1); err != nil {
		return err
	}
	return m.holds(regChecksum, m.checksum)
}

// holds returns an error when a register does not hold want.
func (m *Meter) holds(r register, want uint32) error {
	got, err := m.sure(r)
	if err == nil && got != want {
		err = fmt.Errorf("%w: register 0x%03x: got 0x%x, want 0x%x", errChanged, uint16(r), got, want)
	}
	return err
}

var errChanged = errors.New("the configuration is not as written")

// put writes a register and reads it back.
func (m *Meter) put(r register, v uint32) error {
	return m.again(func() error {
		if err := m.wire.write(r, v); err != nil {
			return err
		}
		got, err := m.wire.read(r)
		if err == nil && got != v {
			err = &CheckError{Register: uint16(r), Check: "read-back", Got: got, Want: v}
		}
		return err
	})
}

// sure reads a register, again if need be.
func (m *Meter) sure(r register) (v uint32, err error) {
	err = m.again(func() error { v, err = m.wire.read(r); return err })
	return v, err
}

// again tries what may fail by a bit on the wire.
func (m *Meter) again(do func() error) (err error) {
	for range tries {
		if err = do(); !errors.Is(err, ErrCheck) {
			return err
		}
	}
	return err
}
