package pq

import (
	"encoding/binary"
	"fmt"

	"lvagent/meter"
)

// State is one day of the running week as it is kept over a restart; there are
// seven, and only the one of today changes.
type State struct {
	Version  int
	Week     int64
	Day      int
	Volts    [meter.Phases][]byte
	THDV     [meter.Phases][]byte
	VUF      []byte
	Flags    []byte
	Rest     day
	Counters [3]counter
}

const stateVersion = 1

// Today returns the day of the open interval, and the day before where that has
// just ended, so that its last interval is kept too.
func (m *Monitor) Today() []State {
	_, slot := weekOf(m.open.index)
	d := slot / perDay
	days := []State{m.day(d)}
	if slot%perDay == 0 && d > 0 {
		days = append(days, m.day(d-1))
	}
	return days
}

func (m *Monitor) day(d int) State {
	s := State{Version: stateVersion, Week: m.week, Day: d, Rest: m.days[d], Counters: m.counters}
	from, to := d*perDay, (d+1)*perDay
	pack := func(values []uint16) (b []byte) {
		if values == nil {
			return nil
		}
		for _, v := range values[from:to] {
			b = binary.LittleEndian.AppendUint16(b, v)
		}
		return b
	}
	for p := range m.volts {
		s.Volts[p], s.THDV[p] = pack(m.volts[p]), pack(m.thdv[p])
	}
	s.VUF = pack(m.vuf)
	s.Flags = append([]byte(nil), m.flags[from:to]...)
	return s
}

// check returns what is wrong with a kept day.
func (s *State) check() error {
	if s.Version != stateVersion {
		return fmt.Errorf("version %d, want %d", s.Version, stateVersion)
	}
	if s.Day < 0 || s.Day > 6 || s.Week < 0 || s.Week > 1<<20 {
		return fmt.Errorf("day %d of week %d: there is none", s.Day, s.Week)
	}
	for _, b := range [...][]byte{s.Volts[0], s.Volts[1], s.Volts[2], s.THDV[0], s.THDV[1], s.THDV[2], s.VUF} {
		if len(b) != 0 && len(b) != 2*perDay {
			return fmt.Errorf("values of %d octets, want %d", len(b), 2*perDay)
		}
	}
	if len(s.Flags) != perDay {
		return fmt.Errorf("flags of %d intervals, want %d", len(s.Flags), perDay)
	}
	f := &s.Rest.Frequency
	if f.Readings < 0 || f.OutOf1 < 0 || f.OutOf1 > f.Readings || f.Min > f.Max || f.Min < 0 {
		return fmt.Errorf("frequency of %d readings, %d out, %d to %d mHz", f.Readings, f.OutOf1, f.Min, f.Max)
	}
	for i, n := range s.Rest.Events {
		if n < 0 || n > 1<<40 || s.Counters[i].Last < 0 || s.Rest.Down[i] < 0 || s.Rest.Doubtful < 0 {
			return fmt.Errorf("negative or huge counts: %d events, counter at %d", n, s.Counters[i].Last)
		}
	}
	return nil
}

// Resume takes up the kept days of the newest week among them. It returns what
// was wrong with those that it left out. It is to be called before the first
// reading.
func (m *Monitor) Resume(kept []State) (faults []error) {
	newest := int64(-1)
	good := kept[:0:0]
	for i := range kept {
		if err := kept[i].check(); err != nil {
			faults = append(faults, fmt.Errorf("supply of way %s, day %d: %w", m.cfg.Way, kept[i].Day, err))
			continue
		}
		good = append(good, kept[i])
		newest = max(newest, kept[i].Week)
	}
	last := -1
	for _, s := range good {
		if s.Week != newest {
			continue
		}
		from := s.Day * perDay
		unpack := func(to *[]uint16, b []byte) {
			if len(b) == 0 {
				return
			}
			if *to == nil {
				*to = make([]uint16, perWeek)
			}
			for i := range perDay {
				(*to)[from+i] = binary.LittleEndian.Uint16(b[2*i:])
			}
		}
		for p, has := range m.cfg.Phases {
			if has {
				unpack(&m.volts[p], s.Volts[p])
				unpack(&m.thdv[p], s.THDV[p])
			}
		}
		unpack(&m.vuf, s.VUF)
		copy(m.flags[from:], s.Flags)
		m.days[s.Day] = s.Rest
		if s.Day > last {
			last, m.counters = s.Day, s.Counters
		}
	}
	if last >= 0 {
		m.begun, m.week = true, newest
		m.open = interval{index: indexOf(startOf(newest, last*perDay))}
	}
	return faults
}
