package socket

import (
	"context"
	"encoding/json"
	"net/http"
)

// Force makes masters on DNP3 see a value that is not measured, for
// commissioning; or ends that.
type Force struct {
	Type  string  `json:"type"` // as in the point list, such as "analog input"
	Index uint16  `json:"index"`
	Value float64 `json:"value"`
	For   string  `json:"for,omitempty"`
	End   bool    `json:"end,omitempty"`
	By    string  `json:"by"`
}

// Forcer is asked to force points, and what is forced.
type Forcer interface {
	Force(context.Context, Force) error
	Forced(context.Context) ([]byte, error)
}

func serveForces(mux *http.ServeMux, f Forcer) {
	mux.HandleFunc("POST /force", func(w http.ResponseWriter, r *http.Request) {
		var o Force
		if decode(w, r, "force", &o) {
			reply(w, struct{}{}, f.Force(r.Context(), o))
		}
	})
	mux.HandleFunc("GET /forced", func(w http.ResponseWriter, r *http.Request) {
		body, err := f.Forced(r.Context())
		reply(w, json.RawMessage(body), err)
	})
}
