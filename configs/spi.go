package configs

import (
	"regexp"
	"strings"
	"time"
)

// FrontEnd is the profile of a meter on an SPI bus: the chip, of which the board
// has a calibration file of its own.
const FrontEnd = "ade9000"

// IsSPI reports whether a meter with the url is a front end on an SPI bus.
func IsSPI(url string) bool { return strings.HasPrefix(url, "spi:") }

// Device returns the device file that an spi url names.
func Device(url string) string { return strings.TrimPrefix(url, "spi://") }

var devicePattern = regexp.MustCompile(`^spi:///dev/spidev[0-9]{1,4}\.[0-9]{1,2}$`)

// defaultClock is slow enough for a ribbon cable, and fast enough by far.
const defaultClock = 1000

// validateSPI checks a meter on an SPI bus. Others holds the meter of each url.
func (m *Meter) validateSPI(s *Source, at string, others map[string]string) {
	if !devicePattern.MatchString(m.URL) {
		s.add(at+".url", "must be spi:///dev/spidevB.C, with the bus and the chip select, not %q", m.URL)
	} else if other := others[m.URL]; other != "" {
		s.add(at+".url", "meter %s is already on this chip select", other)
	}
	others[m.URL] = m.ID
	if m.Profile != FrontEnd {
		s.add(at+".profile", "a meter on an SPI bus must be %s, not %q", FrontEnd, m.Profile)
	}
	if m.Calibration == "" {
		s.add(at+".calibration", "must name the calibration file of the board")
	}
	if m.Poll != time.Second {
		s.add(at+".poll", "a meter on an SPI bus is read once a second, not every %s", m.Poll)
	}
	s.between(at+".clock_khz", m.Clock, 100, 20_000)
	for _, key := range []string{"unit", "bus", "timeout", "turnaround", "writes"} {
		if _, given := s.lines[at+"."+key]; given {
			s.add(at+"."+key, "is for meters on Modbus")
		}
	}
}

// withoutSPI faults what only a meter on an SPI bus has.
func (m *Meter) withoutSPI(s *Source, at string) {
	for _, key := range []string{"calibration", "calibration_key", "clock_khz"} {
		if _, given := s.lines[at+"."+key]; given {
			s.add(at+"."+key, "is for meters on an SPI bus")
		}
	}
}

// wiredToSPI faults what a way on an SPI bus says of its meter and the board's
// calibration file says already.
func (w *Way) wiredToSPI(s *Source, at string) {
	for _, key := range []string{"channel", "ct_ratio", "vt_ratio", "neutral_ct_ratio", "neutral"} {
		if _, given := s.lines[at+"."+key]; given {
			s.add(at+"."+key, "way %s: its meter is on an SPI bus; that is in the board's calibration file", w.ID)
		}
	}
}
