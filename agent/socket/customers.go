package socket

import (
	"context"
	"encoding/json"
	"net/http"
)

// OptOut refuses a request for a group in the name of its customers.
type OptOut struct {
	Group string `json:"group"`
	Event string `json:"event"` // id of the command
	By    string `json:"by"`
}

// SupplyPoints is an order about the register of supply points. Their numbers go no
// further than the agent's memory.
type SupplyPoints struct {
	Group   string   `json:"group,omitempty"`
	Numbers []string `json:"numbers,omitempty"`
	All     bool     `json:"all,omitempty"` // of an erasure
}

// Erased says how many entries an erasure took out.
type Erased struct {
	Count int `json:"count"`
}

// Customers is what the socket asks in the name of customers (R15).
type Customers interface {
	OptOut(context.Context, OptOut) (Answer, error)
	AddSupplyPoints(context.Context, SupplyPoints) error
	// SupplyPoints returns the register as a JSON list, without numbers.
	SupplyPoints(context.Context) ([]byte, error)
	EraseSupplyPoints(context.Context, SupplyPoints) (int, error)
}

func serveCustomers(mux *http.ServeMux, a Customers) {
	mux.HandleFunc("POST /optout", func(w http.ResponseWriter, r *http.Request) {
		var o OptOut
		if decode(w, r, "optout", &o) {
			answer, err := a.OptOut(r.Context(), o)
			reply(w, answer, err)
		}
	})
	mux.HandleFunc("GET /mpan", func(w http.ResponseWriter, r *http.Request) {
		body, err := a.SupplyPoints(r.Context())
		reply(w, json.RawMessage(body), err)
	})
	mux.HandleFunc("POST /mpan/add", func(w http.ResponseWriter, r *http.Request) {
		var o SupplyPoints
		if decode(w, r, "mpan", &o) {
			reply(w, struct{}{}, a.AddSupplyPoints(r.Context(), o))
		}
	})
	mux.HandleFunc("POST /mpan/erase", func(w http.ResponseWriter, r *http.Request) {
		var o SupplyPoints
		if decode(w, r, "mpan", &o) {
			n, err := a.EraseSupplyPoints(r.Context(), o)
			reply(w, Erased{n}, err)
		}
	})
}
