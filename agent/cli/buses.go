package cli

import (
	"fmt"
	"io"
	"time"
)

// busStatus is how a bus does.
type busStatus struct {
	Bus  string
	Ways []struct {
		Way         string
		Polls, Good uint64
		Late, Trip  spread
	}
}

type spread struct{ Half, Most99, Max time.Duration }

func (s spread) String() string {
	const step = 100 * time.Microsecond
	return fmt.Sprintf("%s\t%s\t%s", s.Half.Round(step), s.Most99.Round(step), s.Max.Round(step))
}

// printBuses shows how the meters are read: how many polls were good, how late
// they began and how long they took.
func (s *status) printBuses(w io.Writer) {
	fmt.Fprintln(w, "\nBUS\tWAY\tPOLLS\tGOOD\tLATE 50 %\t99 %\tMOST\tTAKES 50 %\t99 %\tMOST")
	for _, b := range s.Buses {
		for i, way := range b.Ways {
			name := ""
			if i == 0 {
				name = b.Bus
			}
			good := "-"
			if way.Polls > 0 {
				good = fmt.Sprintf("%.1f %%", 100*float64(way.Good)/float64(way.Polls))
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", name, way.Way, way.Polls, good, way.Late, way.Trip)
		}
	}
}
