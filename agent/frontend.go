package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"lvagent/agent/core"
	"lvagent/agent/poll"
	"lvagent/configs"
	"lvagent/meter/spi"
)

// mostOctets is the largest calibration file, key or signature that is read.
const mostOctets = 1 << 20

// loadCalibration reads the calibration file of meter i, a front end on an SPI
// bus, and checks its signature where the site file names a key. Files that are
// named without a folder lie beside the site file.
func (s *Site) loadCalibration(src *configs.Source, i int, m *configs.Meter, folder string) (faults []configs.Fault) {
	if m.Calibration == "" {
		return nil // said already
	}
	at := fmt.Sprintf("meters[%d].calibration", i)
	file := beside(folder, m.Calibration)
	text, err := readFile(file)
	if err != nil {
		return []configs.Fault{src.Fault(at, "%v", err)}
	}
	if m.CalibrationKey != "" {
		if err := checkSignature(file, text, beside(folder, m.CalibrationKey)); err != nil {
			return []configs.Fault{src.Fault(at+"_key", "%v", err)}
		}
	}
	c, wrong := spi.ParseCalibration(text)
	for _, f := range wrong {
		faults = append(faults, configs.Fault{File: file, Line: f.Line, Path: f.Path, Message: f.Message})
	}
	s.calibrations[m.ID] = c
	return faults
}

func checkSignature(file string, text []byte, keyFile string) error {
	pem, err := readFile(keyFile)
	if err != nil {
		return err
	}
	key, err := spi.ParseKey(pem)
	if err != nil {
		return fmt.Errorf("%s %w", keyFile, err)
	}
	signature, err := readFile(spi.SignatureOf(file))
	if err != nil {
		return err
	}
	if err := spi.CheckSignature(text, signature, key); err != nil {
		return fmt.Errorf("%s: %w", spi.SignatureOf(file), err)
	}
	return nil
}

func beside(folder, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(folder, name)
}

// readFile reads a file that should be small.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostOctets+1))
	if err == nil && len(text) > mostOctets {
		err = fmt.Errorf("%s is larger than %d octets", name, mostOctets)
	}
	return text, err
}

// frontEnd is the bus of a way that a front end measures: each has one of its
// own, since it is read for most of a second.
func (s *Site) frontEnd(w *configs.Way, m *configs.Meter, log *slog.Logger) *busOf {
	wiring := setupOf(w, m)
	dev := spi.NewMeter(spi.Config{
		Device: configs.Device(m.URL), ClockKHz: m.Clock, Way: w.ID,
		Calibration: s.calibrations[m.ID], Log: log, Open: s.openSPI,
		Map: wiring.Map, Invert: wiring.Invert,
	})
	return &busOf{url: m.URL, link: dev, ways: []poll.Way{{
		Way: w.ID, Every: m.Poll, Source: dev, Supply: dev, Point: core.MeterPoint(m.ID), Range: rangeOf(w),
	}}}
}

// Remarks says what is no fault of the site file and yet not as it should be on
// the RTU: devices that are not there. The agent starts without them; their ways
// are measured once they are.
func (s *Site) Remarks() (remarks []string) {
	for _, m := range s.Config.Meters {
		if !configs.IsSPI(m.URL) {
			continue
		}
		switch _, err := os.Stat(configs.Device(m.URL)); {
		case errors.Is(err, fs.ErrNotExist):
			remarks = append(remarks, fmt.Sprintf("meter %s: there is no %s on this machine; the way is without values until there is", m.ID, configs.Device(m.URL)))
		case err != nil:
			remarks = append(remarks, fmt.Sprintf("meter %s: %v", m.ID, err))
		}
	}
	return remarks
}
