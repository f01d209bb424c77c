package socket

import "net/http"

// Topology is a person's word on how a way is supplied.
type Topology struct {
	Way   string `json:"way"`
	State string `json:"state"` // normal, back-fed, paralleled, dead
	For   string `json:"for,omitempty"`
	By    string `json:"by"`
	Why   string `json:"why"`
}

func serveTopology(mux *http.ServeMux, a Alarms) {
	mux.HandleFunc("POST /topology", func(w http.ResponseWriter, r *http.Request) {
		var o Topology
		if decode(w, r, "topology", &o) {
			reply(w, struct{}{}, a.Topology(r.Context(), o))
		}
	})
}
