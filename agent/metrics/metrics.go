// Package metrics is the door for Prometheus: numbers of the agent in its text
// format, made when they are asked for. What they mean is decided elsewhere.
//
// It is for somebody on this machine: it listens on loopback only, and there is
// nothing of a customer in it.
package metrics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Writer takes numbers, one by one, in any order.
type Writer struct {
	names  []string // in order of their first value
	values map[string]*bytes.Buffer
}

// Gauge writes what goes up and down. Labels are pairs of name and value.
func (w *Writer) Gauge(name string, v float64, labels ...string) {
	metrics.WriteGaugeFloat64(w.of(name, "gauge"), name+labelled(labels), v)
}

// Counter writes what only goes up while the agent runs.
func (w *Writer) Counter(name string, v uint64, labels ...string) {
	metrics.WriteCounterUint64(w.of(name, "counter"), name+labelled(labels), v)
}

// of keeps the values of one name together, as the format wants them.
func (w *Writer) of(name, kind string) io.Writer {
	b := w.values[name]
	if b == nil {
		b = &bytes.Buffer{}
		fmt.Fprintf(b, "# TYPE %s %s\n", name, kind)
		w.values[name] = b
		w.names = append(w.names, name)
	}
	return b
}

func labelled(pairs []string) string {
	if len(pairs) == 0 {
		return ""
	}
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		b.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		b.WriteString(pairs[i])
		b.WriteByte('=')
		b.WriteString(strconv.Quote(pairs[i+1]))
	}
	b.WriteByte('}')
	return b.String()
}

// Serve answers scrapes at http://listen/metrics until ctx ends.
func Serve(ctx context.Context, listen string, numbers func(context.Context, *Writer) error) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("open metrics: %w", err)
	}
	return ServeOn(ctx, l, numbers)
}

// ServeOn answers scrapes on l until ctx ends.
func ServeOn(ctx context.Context, l net.Listener, numbers func(context.Context, *Writer) error) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		all := Writer{values: map[string]*bytes.Buffer{}}
		if err := numbers(r.Context(), &all); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		var b bytes.Buffer
		for _, name := range all.names {
			b.Write(all.values[name].Bytes())
		}
		metrics.WriteProcessMetrics(&b)
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		w.Write(b.Bytes())
	})
	srv := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		if !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve metrics: %w", err)
		}
	case <-ctx.Done():
		srv.Close() // a scrape is asked again
		<-ended
	}
	return nil
}
