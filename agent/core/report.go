package core

import (
	"context"
	"fmt"
)

// Report returns one of the loop's reports as a JSON object, for people on site.
func (l *Loop) Report(ctx context.Context, name string) (body []byte, err error) {
	reports := map[string]func(*Loop) []byte{"pq": (*Loop).supplyWeeks, "loading": (*Loop).capacity, "wiring": (*Loop).wiringReport, "evs": (*Loop).charging, "fairness": (*Loop).fairnessReport}
	write, ok := reports[name]
	if !ok {
		return nil, fmt.Errorf("report %q: there is none", name)
	}
	err = l.Ask(ctx, func(l *Loop) { body = write(l) })
	return body, err
}
