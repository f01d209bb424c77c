package socket

import (
	"context"
	"encoding/json"
	"net/http"
)

// Shelve is a person's order not to hear of an alarm for a while, or to hear of
// it again.
type Shelve struct {
	Alarm        string `json:"alarm"`
	End          bool   `json:"end,omitempty"`
	OutOfService bool   `json:"out_of_service,omitempty"`
	For          string `json:"for,omitempty"`
	By           string `json:"by"`
	Why          string `json:"why"`
}

// Ack is a person's acknowledgement of a latched alarm.
type Ack struct {
	Alarm string `json:"alarm"`
	By    string `json:"by"`
}

// Alarms is what the socket asks about alarms, about how ways are supplied, about
// what is set in meters, and about the site file.
type Alarms interface {
	Forcer
	Settings
	SiteFiles
	Topology(context.Context, Topology) error
	Shelve(context.Context, Shelve) error
	Ack(context.Context, Ack) error
}

// serveAlarms adds the orders about alarms to mux.
func serveAlarms(mux *http.ServeMux, a Alarms) {
	serveTopology(mux, a)
	serveForces(mux, a)
	serveSettings(mux, a)
	serveSiteFiles(mux, a)
	mux.HandleFunc("POST /shelve", func(w http.ResponseWriter, r *http.Request) {
		var o Shelve
		if decode(w, r, "shelve", &o) {
			reply(w, struct{}{}, a.Shelve(r.Context(), o))
		}
	})
	mux.HandleFunc("POST /ack", func(w http.ResponseWriter, r *http.Request) {
		var o Ack
		if decode(w, r, "ack", &o) {
			reply(w, struct{}{}, a.Ack(r.Context(), o))
		}
	})
}

// decode reads a request, or answers what is wrong with it.
func decode(w http.ResponseWriter, r *http.Request, what string, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		http.Error(w, what+": "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}
