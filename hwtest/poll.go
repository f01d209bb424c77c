package hwtest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"lvagent/dnp3/dnp3test"
)

// PollConfig says which outstation is polled, and as which master.
type PollConfig struct {
	Connect            string
	Master, Outstation uint16
	For                time.Duration // how long events are listened for
}

// Poll is a master on DNP3: an integrity poll with its time and what is there, then
// the events of a while, a line each. It operates nothing.
func Poll(ctx context.Context, cfg PollConfig, w io.Writer) error {
	m, err := dnp3test.Dial(cfg.Connect, dnp3test.Config{Address: cfg.Master, Outstation: cfg.Outstation})
	if err != nil {
		return err
	}
	defer m.Close()
	began := time.Now()
	all, err := m.IntegrityPoll()
	if err != nil {
		return fmt.Errorf("integrity poll: %w", err)
	}
	took := time.Since(began)
	points, online := map[uint8]int{}, map[uint8]int{}
	for _, o := range all.Objects {
		if o.IsEvent() {
			continue
		}
		points[o.Group]++
		if o.Flags&1 != 0 {
			online[o.Group]++
		}
	}
	fmt.Fprintf(w, "integrity poll: %d objects in %v, IIN %04x\n", len(all.Objects), took.Round(100*time.Microsecond), all.IIN)
	for _, g := range slices.Sorted(maps.Keys(points)) {
		fmt.Fprintf(w, "group %d: %d points, %d online\n", g, points[g], online[g])
	}
	for end := began.Add(cfg.For); time.Now().Before(end); {
		events, err := m.EventPoll()
		if err != nil {
			return fmt.Errorf("event poll: %w", err)
		}
		for _, o := range events.Events() {
			fmt.Fprintln(w, o)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(min(time.Second, time.Until(end))):
		}
	}
	return nil
}
