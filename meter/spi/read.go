package spi

import (
	"errors"
	"fmt"
	"time"

	"lvagent/meter"
)

// Read takes the values of a second and returns at its end: a bus with such a
// meter has no other. It sets every sample of r to a value of this very second
// or to Missing with the reason. It returns an error when nothing of the second
// could be used, so that the device is opened and the chip started anew.
func (m *Meter) Read(r *meter.Reading) error {
	r.Way = m.cfg.Way
	r.Fail(meter.NoAnswer)
	if m.port == nil {
		return fmt.Errorf("read way %s: %w", m.cfg.Way, errClosed)
	}
	m.sums = sums{}
	var why meter.Reason
	var last error
	begin := time.Now()
	for k := range samples {
		time.Sleep(time.Until(begin.Add(time.Duration(k) * every)))
		switch reason, err := m.sample(); {
		case errors.Is(err, errRestart):
			// The samples before were proven too, yet a second with a reset in
			// it is no whole second.
			r.Fail(meter.Restarted)
			return m.restart(err)
		case err != nil && !errors.Is(err, ErrCheck):
			return fmt.Errorf("read way %s: %w", m.cfg.Way, err)
		case err != nil:
			why, last = why|meter.BadFrame, err
		default:
			why |= reason
		}
	}
	switch {
	case begin.Before(m.settled):
		r.Fail(meter.Restarted)
	case m.sums.n == 0:
		r.Fail(why)
		if last == nil {
			last = errNoValues
		}
		return fmt.Errorf("read way %s: nothing of a second can be used: %w", m.cfg.Way, last)
	default:
		m.sums.fill(r, &m.scale, why)
	}
	if err := m.verifyInTime(r); err != nil {
		return fmt.Errorf("read way %s: %w", m.cfg.Way, err)
	}
	return nil
}

var errNoValues = errors.New("the front end has no new values")

// errRestart says that the chip has to be configured anew.
var errRestart = errors.New("the front end has to be started anew")

// verifyInTime reads the configuration back once in verifyEvery. What was
// measured with another one is not known.
func (m *Meter) verifyInTime(r *meter.Reading) error {
	if time.Now().Before(m.verifyAt) {
		return nil
	}
	err := m.verify()
	switch {
	case err == nil:
		m.verifyAt = time.Now().Add(verifyEvery)
		return nil
	case errors.Is(err, ErrCheck):
		return nil // a bit on the wire; tried again in a second
	case errors.Is(err, errChanged):
		r.Fail(meter.Restarted)
		return m.restart(err)
	default:
		return err
	}
}

// restart configures the chip anew, in place.
func (m *Meter) restart(cause error) error {
	m.cfg.Log.Warn("front end starts anew", "err", cause)
	if err := m.start(); err != nil {
		return fmt.Errorf("start the front end anew: %w", err)
	}
	return nil
}

// sample adds one set of 200 ms values to the sums, or says why there is none.
// What shows a reset is read last: what was read before it is then known to be
// from before a reset.
func (m *Meter) sample() (meter.Reason, error) {
	ready, err := m.ready()
	if err != nil {
		return 0, err
	}
	var v, i, p, q [channels]uint32
	var n uint32
	if ready {
		for c := range register(channels) {
			for _, x := range [...]struct {
				to  *uint32
				reg register
			}{{&v[c], regVRMS}, {&i[c], regIRMS}, {&p[c], regWatt}, {&q[c], regVar}} {
				if *x.to, err = m.wire.read(x.reg + c*stride); err != nil {
					return 0, err
				}
			}
		}
		if n, err = m.wire.read(regNeutral); err != nil {
			return 0, err
		}
	}
	status, err := m.wire.read(regStatus1)
	if err != nil {
		return 0, err
	}
	run, err := m.wire.read(regRun)
	if err != nil {
		return 0, err
	}
	if status&bitsRestart != 0 || run != 1 {
		return 0, fmt.Errorf("%w: status 0x%08x, run 0x%x", errRestart, status, run)
	}
	if err := m.events(status); err != nil {
		return 0, err
	}
	if !ready {
		return meter.NoAnswer, nil
	}
	m.sums.add(&v, &i, &p, &q, n)
	return 0, nil
}

// ready reports whether there are new values, and takes note that they are
// taken. It waits a moment for values that are late.
func (m *Meter) ready() (bool, error) {
	for step := 0; ; step++ {
		status, err := m.wire.read(regStatus0)
		if err != nil {
			return false, err
		}
		if status&bitReady != 0 {
			// Before the values are read: values that come meanwhile then
			// count at the next sample and are not lost.
			return true, m.wire.write(regStatus0, bitReady)
		}
		if step == lateSteps {
			return false, nil
		}
		time.Sleep(notYet)
	}
}

// events counts dips and swells. While one lasts, its bit comes back in every
// sample, so a bit that was not there in the sample before is a new one; phases
// that dip together are one dip.
func (m *Meter) events(status uint32) error {
	seen := status & (bitDips | bitSwells)
	dip, swell := seen&bitDips != 0, seen&bitSwells != 0
	if seen != 0 {
		if err := m.wire.write(regStatus1, seen); err != nil {
			return err // it is there in the next sample too
		}
	}
	if !time.Now().Before(m.settled) { // what comes up from nothing is no dip
		if dip && !m.inDip {
			m.dips++
		}
		if swell && !m.inSwell {
			m.swells++
		}
	}
	m.inDip, m.inSwell = dip, swell
	return nil
}

// ReadSupply reads what the chip says of the supply, and how many dips and
// swells there were since the agent's start. It returns an error only when the
// device is gone.
func (m *Meter) ReadSupply(r *meter.SupplyReading) error {
	r.Way = m.cfg.Way
	r.Fail(meter.NotSupported)
	r.Dips = meter.Sample[meter.Count]{Value: m.dips, Quality: meter.Good}
	r.Swells = meter.Sample[meter.Count]{Value: m.swells, Quality: meter.Good}
	why, err := m.supply(r)
	if why != 0 {
		r.Frequency = meter.Sample[meter.Millihertz]{Reason: why}
		for _, p := range m.scale.phase {
			if p >= 0 {
				r.THDV[p] = meter.Sample[meter.PPM]{Reason: why}
				r.THDI[p] = meter.Sample[meter.PPM]{Reason: why}
			}
		}
	}
	if err != nil {
		return fmt.Errorf("read supply of way %s: %w", m.cfg.Way, err)
	}
	return nil
}

// supply fills in what the chip has, or says why none of it counts.
func (m *Meter) supply(r *meter.SupplyReading) (meter.Reason, error) {
	switch {
	case m.port == nil:
		return meter.NoAnswer, nil
	case time.Now().Before(m.settled):
		return meter.Restarted, nil
	}
	code, err := m.sure(regPeriod)
	r.Frequency = frequency(code, m.cfg.Calibration.hertz)
	for c, p := range m.scale.phase {
		if p < 0 || err != nil {
			continue
		}
		var v, i uint32
		if v, err = m.sure(regVTHD + register(c)*stride); err == nil {
			i, err = m.sure(regITHD + register(c)*stride)
		}
		r.THDV[p], r.THDI[p] = distortion(v), distortion(i)
	}
	// Last, as in sample: zeros after a reset are no distortion of zero.
	var status, run uint32
	if err == nil {
		if status, err = m.sure(regStatus1); err == nil {
			run, err = m.sure(regRun)
		}
	}
	switch {
	case errors.Is(err, ErrCheck):
		return meter.BadFrame, nil
	case err != nil:
		return meter.NoAnswer, err
	case status&bitsRestart != 0 || run != 1:
		return meter.Restarted, nil // started anew by the next Read
	}
	return 0, nil
}
