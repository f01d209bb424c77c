package message

import (
	"encoding/hex"
	"time"
)

// DigestStream is the stream of the daily digests.
const DigestStream = "digest"

// Digest sums up what the records of a way came to between two moments, as a
// rule a UTC day: the records From to To of Stream, those that are still there
// counted and hashed. With it a consumer knows whether it has all of them, and
// has them unaltered, without asking for each.
type Digest struct {
	Way        string
	Start, End time.Time
	Stream     string
	From, To   uint64 // 0 and 0: there were no records
	Count      uint64
	Hash       [32]byte // SHA-256 over each payload as it was published and a line feed
	Values     uint64   // records with a value; the others have a reason
	Partial    uint64   // of the values, those that cover part of their period
	Reasons    []ReasonCount
}

// ReasonCount is how many records have no value for one reason.
type ReasonCount struct {
	Reason string
	Count  uint64
}

// AppendDigest appends a digest, without its own number.
func AppendDigest(dst []byte, agent string, d *Digest) []byte {
	w := head(dst, agent)
	w.text("way", d.Way)
	w.text("date", d.Start.UTC().Format(time.DateOnly))
	w.second("start", d.Start)
	w.second("end", d.End)
	w.text("stream", d.Stream)
	w.count("from", d.From)
	w.count("to", d.To)
	w.count("count", d.Count)
	w.text("hash", "sha256:"+hex.EncodeToString(d.Hash[:]))
	w.count("values", d.Values)
	w.count("partial", d.Partial)
	w.open("reasons")
	for _, r := range d.Reasons {
		w.count(r.Reason, r.Count)
	}
	w.shut()
	w.shut()
	return w.b
}

// Range is a run of numbers, with a reason where they are missing.
type Range struct {
	From, To uint64
	Reason   string
}

// Resent is the detail of a completed cmd/resend.
type Resent struct {
	Stream     string
	Generation uint32
	From, To   uint64
	Sent       uint64
	Missing    []Range
}

// AppendResent appends the detail as a JSON object.
func AppendResent(dst []byte, r *Resent) []byte {
	w := writer{b: append(dst, '{')}
	w.text("stream", r.Stream)
	w.count("g", uint64(r.Generation))
	w.count("from", r.From)
	w.count("to", r.To)
	w.count("sent", r.Sent)
	w.openArray("missing")
	for _, m := range r.Missing {
		w.open("")
		w.count("from", m.From)
		w.count("to", m.To)
		w.text("reason", m.Reason)
		w.shut()
	}
	w.shutArray()
	w.shut()
	return w.b
}
