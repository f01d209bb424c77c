package audit

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"lvagent/failsafe"
)

// Verifier takes records in any order, some of them perhaps twice, and says
// whether they are whole chains.
type Verifier struct {
	links  []link
	faults []Fault
}

// link is what is remembered of a record.
type link struct {
	chain              string
	n                  uint64
	prev, hash         [sha256.Size]byte
	lostFrom, lostThen uint64
	where              string
}

// Fault is a place where a chain breaks.
type Fault struct {
	Chain string `json:"chain,omitempty"`
	N     uint64 `json:"n,omitempty"`
	Where string `json:"where"`
	What  string `json:"what"`
}

// Lost are numbers whose records are missing, and whose loss the chain itself
// declares.
type Lost struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Chain is what was found of one chain.
type Chain struct {
	Chain   string `json:"chain"`
	From    uint64 `json:"from"`
	To      uint64 `json:"to"`
	Records int    `json:"records"`
	Prev    string `json:"prev"` // of the first; unless that is record 1, nothing here proves it
	Head    string `json:"head"` // the hash of the last; compare it with one that was kept elsewhere
	Lost    []Lost `json:"declared_lost"`
}

// Report is the result of a verification.
type Report struct {
	Records int     `json:"records"`
	Chains  []Chain `json:"chains"`
	Faults  []Fault `json:"faults"`
}

// Add takes a record as it was published or exported, or the bare record. Where
// is how a fault names its place.
func (v *Verifier) Add(body []byte, where string) {
	var m struct{ Record json.RawMessage }
	err := json.Unmarshal(body, &m)
	if err == nil && m.Record != nil {
		body = m.Record
	}
	var r struct {
		Chain string `json:"chain"`
		N     uint64 `json:"n"`
		Prev  string `json:"prev"`
		From  uint64 `json:"lost_from"`
		To    uint64 `json:"lost_to"`
	}
	var text []byte
	if err == nil {
		err = json.Unmarshal(body, &r)
	}
	if err == nil {
		text, err = Canonical(body)
	}
	l := link{chain: r.Chain, n: r.N, lostFrom: r.From, lostThen: r.To, where: where}
	if err == nil {
		var prev []byte
		if prev, err = hex.DecodeString(r.Prev); err == nil && (len(prev) != len(l.prev) || r.Chain == "" || r.N == 0) {
			err = fmt.Errorf("chain %q, n %d, prev of %d octets: want a chain, 1 or more, %d octets", r.Chain, r.N, len(prev), len(l.prev))
		}
		copy(l.prev[:], prev)
	}
	if err != nil {
		v.faults = append(v.faults, Fault{Where: where, What: "is no audit record: " + err.Error()})
		return
	}
	l.hash = sha256.Sum256(text)
	v.links = append(v.links, l)
}

// Report verifies what was added. With heads it also says whether the chains end
// before them: records that were cut off at the end leave no other trace.
func (v *Verifier) Report(heads ...failsafe.AuditHead) Report {
	rep := Report{Records: len(v.links), Chains: []Chain{}, Faults: append([]Fault{}, v.faults...)}
	fault := func(l *link, format string, args ...any) {
		rep.Faults = append(rep.Faults, Fault{l.chain, l.n, l.where, fmt.Sprintf(format, args...)})
	}
	slices.SortStableFunc(v.links, func(a, b link) int { return cmp.Or(cmp.Compare(a.chain, b.chain), cmp.Compare(a.n, b.n)) })
	var last *link
	for i := range v.links {
		l := &v.links[i]
		if last == nil || last.chain != l.chain {
			rep.Chains = append(rep.Chains, Chain{Chain: l.chain, From: l.n, Prev: hex.EncodeToString(l.prev[:]), Lost: []Lost{}})
			if l.n == 1 && l.prev != [sha256.Size]byte{} {
				fault(l, "is the first record, and yet names one before it")
			}
			if l.lostThen > 0 && l.n > 1 {
				c := &rep.Chains[len(rep.Chains)-1]
				c.Lost = append(c.Lost, Lost{l.lostFrom, l.lostThen})
			}
		}
		c := &rep.Chains[len(rep.Chains)-1]
		if last != nil && last.chain == l.chain {
			switch {
			case l.n == last.n && l.hash == last.hash:
				rep.Records-- // sent twice
				continue
			case l.n == last.n:
				fault(l, "another record %d is at %s, with other contents", l.n, last.where)
				continue
			case l.n == last.n+1:
				if l.prev != last.hash {
					fault(l, "does not follow record %d: prev is %x, that record's hash is %x; one of the two was altered", last.n, l.prev, last.hash)
				}
			case l.lostFrom > 0 && l.lostFrom <= last.n+1 && l.lostThen == l.n-1:
				c.Lost = append(c.Lost, Lost{last.n + 1, l.lostThen})
			default:
				fault(l, "records %d to %d before it are missing, and no record declares them lost", last.n+1, l.n-1)
			}
		}
		c.Records++
		c.To, c.Head = l.n, hex.EncodeToString(l.hash[:])
		last = l
	}
	for _, h := range heads {
		v.endsAt(&rep, h)
	}
	return rep
}

// endsAt checks a chain against a head that was kept elsewhere.
func (v *Verifier) endsAt(rep *Report, h failsafe.AuditHead) {
	if h.Chain == "" {
		return
	}
	i := slices.IndexFunc(v.links, func(l link) bool { return l.chain == h.Chain && l.n == h.N })
	if i >= 0 {
		if hash := hex.EncodeToString(v.links[i].hash[:]); hash != h.Hash {
			rep.Faults = append(rep.Faults, Fault{h.Chain, h.N, v.links[i].where, fmt.Sprintf("its hash is %s; the head that was kept is %s", hash, h.Hash)})
		}
		return
	}
	to := uint64(0)
	for _, c := range rep.Chains {
		if c.Chain == h.Chain {
			to = c.To
		}
	}
	if to < h.N {
		rep.Faults = append(rep.Faults, Fault{h.Chain, h.N, "the end", fmt.Sprintf("records %d to %d are missing at the end", to+1, h.N)})
	}
}
