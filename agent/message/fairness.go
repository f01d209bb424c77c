package message

import "time"

// FairnessStream is the stream of the daily reports on what was withheld from
// whom.
const FairnessStream = "fairness"

// Fairness is what was withheld from each charging group on a UTC day (R15).
type Fairness struct {
	Start, End time.Time // of the day; End of a day that is not over is now
	Groups     []FairShare
	// Spread is the highest share less the lowest, of groups without priority, in
	// millionths.
	Spread int64
}

// FairShare is a group's part. Times are in milliseconds, energies in Wh: what it
// might have drawn more at 230 V, at most.
type FairShare struct {
	Group, Way string
	Priority   bool
	Rank       int // 1: from it the highest share was withheld
	PPM        int64
	Accounted  int64 // ms of the day that are known
	Limited    int64
	Entitled   int64
	Withheld   int64
	Caution    int64 // withheld by the failsafe limit where no phase was loaded to 80 %
	Reasons    []FairReason
}

// FairReason is what was withheld for one reason.
type FairReason struct {
	Name     string
	Limited  int64
	Withheld int64
}

// AppendFairness appends a report, without its own number.
func AppendFairness(dst []byte, agent string, f *Fairness) []byte {
	w := head(dst, agent)
	w.text("date", f.Start.UTC().Format(time.DateOnly))
	w.second("start", f.Start)
	w.second("end", f.End)
	w.decimal("spread_percent", f.Spread/10, full)
	w.openArray("groups")
	for i := range f.Groups {
		w.fairShare(&f.Groups[i])
	}
	w.shutArray()
	w.shut()
	return w.b
}

// minutes writes milliseconds as minutes.
func (w *writer) minutes(name string, ms int64) { w.decimal(name, ms/60, tenths) }

func (w *writer) fairShare(s *FairShare) {
	w.open("")
	w.text("group", s.Group)
	w.text("way", s.Way)
	w.flag("priority", s.Priority)
	w.integer("rank", int64(s.Rank))
	w.decimal("share_percent", s.PPM/10, full)
	w.minutes("accounted_min", s.Accounted)
	w.minutes("curtailed_min", s.Limited)
	w.decimal("entitled_kwh", s.Entitled, full)
	w.decimal("withheld_kwh", s.Withheld, full)
	w.decimal("caution_kwh", s.Caution, full)
	w.open("reasons")
	for _, r := range s.Reasons {
		w.open(r.Name)
		w.minutes("curtailed_min", r.Limited)
		w.decimal("withheld_kwh", r.Withheld, full)
		w.shut()
	}
	w.shut()
	w.shut()
}

func fairnessSchema() node {
	sum := object(has("curtailed_min", number(), "min"), has("withheld_kwh", number(), "kWh"))
	return stored(
		has("date", node{kind: "string", format: "date"}, "UTC"), has("start", when(), ""), has("end", when(), ""),
		has("spread_percent", number(), "highest share less lowest, of groups without priority"),
		has("groups", list(object(
			has("group", text(), ""), has("way", text(), ""), has("priority", truth(), "shed last"),
			has("rank", count(), "1: from it the highest share was withheld; equal ones have the same"),
			has("share_percent", number(), "withheld of what it might have drawn"),
			has("accounted_min", number(), "min of the day that are known"),
			has("curtailed_min", number(), "min with a limit below the rating, while not known to be idle"),
			has("entitled_kwh", number(), "kWh at its rating and 230 V"),
			has("withheld_kwh", number(), "kWh that it might have drawn more, at most; an estimate"),
			has("caution_kwh", number(), "of these, by the failsafe limit while no phase of its was loaded to 80 %"),
			has("reasons", named(sum), "by what decided"),
		)), "in order of the site file"))
}
