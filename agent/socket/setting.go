package socket

import (
	"context"
	"net/http"
)

// Setting is one thing that may be set in a meter.
type Setting struct {
	Meter     string `json:"meter"`
	Setting   string `json:"setting"`
	Unit      string `json:"unit,omitempty"`
	Takes     string `json:"takes"`
	Permitted bool   `json:"permitted"`       // by the site file
	Value     string `json:"value,omitempty"` // as just read
	Problem   string `json:"problem,omitempty"`
}

// Set is a person's order to set something in a meter.
type Set struct {
	Meter   string `json:"meter"`
	Setting string `json:"setting"`
	Value   string `json:"value"`
	Yes     bool   `json:"yes"` // else only what would change is found out
	By      string `json:"by"`
	Why     string `json:"why,omitempty"`
}

// SetAnswer is what came of it.
type SetAnswer struct {
	Outcome string `json:"outcome"`
	Old     string `json:"old,omitempty"`
	Now     string `json:"now,omitempty"`
	Why     string `json:"why,omitempty"`
}

// Settings is what the socket asks about what is set in meters.
type Settings interface {
	// Settings lists what may be set in a meter, or in all where it is empty.
	Settings(ctx context.Context, meter string) ([]Setting, error)
	Set(context.Context, Set) (SetAnswer, error)
}

func serveSettings(mux *http.ServeMux, a Settings) {
	mux.HandleFunc("GET /settings/{meter...}", func(w http.ResponseWriter, r *http.Request) {
		all, err := a.Settings(r.Context(), r.PathValue("meter"))
		reply(w, all, err)
	})
	mux.HandleFunc("POST /set", func(w http.ResponseWriter, r *http.Request) {
		var o Set
		if decode(w, r, "set", &o) {
			answer, err := a.Set(r.Context(), o)
			reply(w, answer, err)
		}
	})
}
