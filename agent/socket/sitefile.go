package socket

import (
	"context"
	"net/http"
)

// SiteFile is a person's order about the site file.
type SiteFile struct {
	Op     string `json:"op"`             // apply, confirm, rollback, state
	File   string `json:"file,omitempty"` // what the person calls it
	Text   string `json:"text,omitempty"`
	Within string `json:"within,omitempty"`
	By     string `json:"by"`
	Why    string `json:"why,omitempty"`
}

// SiteFileAnswer is what became of it, and what is on trial.
type SiteFileAnswer struct {
	Code    string   `json:"code,omitempty"` // empty: it was carried out
	Why     string   `json:"why,omitempty"`
	Faults  []string `json:"faults,omitempty"`
	Config  string   `json:"config"` // hash of the site file that the agent runs with
	Trial   string   `json:"trial,omitempty"`
	By      string   `json:"by,omitempty"`
	LeftS   float64  `json:"left_s,omitempty"`
	Started bool     `json:"started,omitempty"` // the agent runs with what is on trial
}

// SiteFiles is what the socket asks about the site file.
type SiteFiles interface {
	SiteFile(context.Context, SiteFile) (SiteFileAnswer, error)
}

func serveSiteFiles(mux *http.ServeMux, a SiteFiles) {
	mux.HandleFunc("POST /sitefile", func(w http.ResponseWriter, r *http.Request) {
		var o SiteFile
		if decode(w, r, "site file", &o) {
			answer, err := a.SiteFile(r.Context(), o)
			reply(w, answer, err)
		}
	})
}
