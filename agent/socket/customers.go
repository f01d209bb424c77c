package socket

import (
	"context"
	"net/http"
)

// OptOut refuses a request for a group in the name of its customers.
type OptOut struct {
	Group string `json:"group"`
	Event string `json:"event"` // id of the command
	By    string `json:"by"`
}

// Customers is what the socket asks in the name of customers (R15).
type Customers interface {
	OptOut(context.Context, OptOut) (Answer, error)
}

func serveCustomers(mux *http.ServeMux, a Customers) {
	mux.HandleFunc("POST /optout", func(w http.ResponseWriter, r *http.Request) {
		var o OptOut
		if decode(w, r, "optout", &o) {
			answer, err := a.OptOut(r.Context(), o)
			reply(w, answer, err)
		}
	})
}
