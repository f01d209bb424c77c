package report

import (
	"bytes"
	"fmt"
	"html/template"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"lvagent/hwtest/play"
	"lvagent/hwtest/scenario"
)

// page is what the template shows.
type page struct {
	*Summary
	Rows   []row
	Matrix []proof
}

type row struct {
	Entry
	Plots    []plot
	Verdicts []verdict
	Acts     []event
}

type verdict struct {
	scenario.Verdict
	When string
}

type event struct{ At, Text string }

type proof struct {
	ID        string
	Scenarios []Entry
}

// plot is a way over the time of a scenario: what its highest phase carried, what
// its groups were permitted, the states, and what the bench did.
type plot struct {
	Way            string
	Width, Height  int
	Load, Rating   string // points of a polyline
	Limits         []line
	States, Events []mark
	Top, Seconds   string
}

type line struct{ Name, Points, Colour string }

type mark struct {
	X, Y, Width float64
	Text        string
}

const (
	plotWidth, plotHeight = 860, 190
	plotLeft, plotTop     = 40, 34
)

var colours = []string{"#0a6", "#c60", "#07c", "#a3a"}

// HTML is the run as one page that needs nothing else.
func HTML(s *Summary, results []*play.Result) ([]byte, error) {
	p := page{Summary: s}
	byName := map[string]Entry{}
	for i, r := range results {
		e := s.All[i]
		byName[e.Name] = e
		w := row{Entry: e}
		for _, v := range r.Verdicts {
			w.Verdicts = append(w.Verdicts, verdict{v, fmt.Sprintf("%.1f s", v.At.Seconds())})
		}
		for _, o := range r.Timeline.Observations {
			if o.Kind == scenario.Acts {
				w.Acts = append(w.Acts, event{fmt.Sprintf("%.1f s", o.At.Seconds()), o.Text})
			}
		}
		for _, way := range r.Site {
			w.Plots = append(w.Plots, plotOf(r.Timeline, way))
		}
		p.Rows = append(p.Rows, w)
	}
	for _, id := range slices.SortedFunc(maps.Keys(s.Matrix), byNumber) {
		pr := proof{ID: id}
		for _, name := range s.Matrix[id] {
			pr.Scenarios = append(pr.Scenarios, byName[name])
		}
		p.Matrix = append(p.Matrix, pr)
	}
	var b bytes.Buffer
	if err := sheet.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("write page: %w", err)
	}
	return b.Bytes(), nil
}

// scale turns time and amperes into a place of the plot.
type scale struct {
	from, to time.Duration
	top      float64
}

func (s scale) x(at time.Duration) float64 {
	return plotLeft + (plotWidth-plotLeft-10)*float64(min(max(at, s.from), s.to)-s.from)/float64(max(1, s.to-s.from))
}

func (s scale) y(amps float64) float64 {
	return plotTop + (plotHeight-plotTop-20)*(1-min(max(amps, 0), s.top)/s.top)
}

func plotOf(t *scenario.Timeline, way play.SiteWay) plot {
	s := scale{from: -2 * time.Second, to: t.Now, top: max(10, way.Rating)}
	for i := range t.Observations {
		if o := &t.Observations[i]; o.Kind == scenario.Carries && strings.HasPrefix(o.Key, way.ID+".") {
			s.top = max(s.top, o.Number)
		}
	}
	s.top = math.Ceil(s.top/50) * 50
	p := plot{Way: way.ID, Width: plotWidth, Height: plotHeight, Top: fmt.Sprintf("%.0f A", s.top), Seconds: fmt.Sprintf("%.0f s", t.Now.Seconds())}
	phases := map[string]float64{}
	p.Load = steps(t, s, func(o *scenario.Observation) (float64, bool) {
		if o.Kind != scenario.Carries || !strings.HasPrefix(o.Key, way.ID+".") {
			return 0, false
		}
		phases[o.Key] = o.Number
		return slices.Max(slices.Collect(maps.Values(phases))), true
	})
	p.Rating = fmt.Sprintf("%.1f,%.1f %.1f,%.1f", s.x(s.from), s.y(way.Rating), s.x(s.to), s.y(way.Rating))
	for i, g := range way.Groups {
		points := steps(t, s, func(o *scenario.Observation) (float64, bool) {
			return o.Number, o.Kind == scenario.Permits && o.Key == g
		})
		p.Limits = append(p.Limits, line{g, points, colours[i%len(colours)]})
	}
	p.marks(t, s, way.ID)
	return p
}

// steps is a polyline of a value that stands until the next.
func steps(t *scenario.Timeline, s scale, value func(*scenario.Observation) (float64, bool)) string {
	var b strings.Builder
	last, any := 0.0, false
	for i := range t.Observations {
		o := &t.Observations[i]
		v, ok := value(o)
		if !ok {
			continue
		}
		if any {
			fmt.Fprintf(&b, "%.1f,%.1f ", s.x(o.At), s.y(last))
		}
		fmt.Fprintf(&b, "%.1f,%.1f ", s.x(o.At), s.y(v))
		last, any = v, true
	}
	if any {
		fmt.Fprintf(&b, "%.1f,%.1f", s.x(s.to), s.y(last))
	}
	return b.String()
}

// marks are the states of a way as a band, and what the bench did as ticks.
func (p *plot) marks(t *scenario.Timeline, s scale, way string) {
	state := ""
	for i := range t.Observations {
		o := &t.Observations[i]
		switch {
		case o.Kind == scenario.Acts:
			p.Events = append(p.Events, mark{X: s.x(o.At), Text: fmt.Sprintf("%.1f s: %s", o.At.Seconds(), o.Text)})
		case o.Kind == scenario.Messages && o.Key == "up/failsafe":
			for _, v := range scenario.Lookup(o.Body, "ways."+way+".state") {
				if now := fmt.Sprint(v); now != state {
					state = now
					if n := len(p.States); n > 0 {
						p.States[n-1].Width = max(0, s.x(o.At)-p.States[n-1].X)
					}
					p.States = append(p.States, mark{X: s.x(o.At), Text: now})
				}
			}
		}
	}
	if n := len(p.States); n > 0 {
		p.States[n-1].Width = max(0, s.x(s.to)-p.States[n-1].X)
	}
}

var sheet = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>lvbench: {{.Passed}} passed, {{.Failed}} failed</title>
<style>
body{font:15px/1.45 system-ui,sans-serif;max-width:940px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ddd;padding:.25em .5em;text-align:left;vertical-align:top}
.passed{color:#07602f}.failed,.broken{color:#b00020;font-weight:600}summary{cursor:pointer;padding:.3em 0}
svg{background:#fafafa;display:block;margin:.6em 0}svg text{font:11px system-ui,sans-serif}code{font-size:13px;overflow-wrap:anywhere}
</style></head><body>
<h1>lvbench</h1>
<p><b class="passed">{{.Passed}} passed</b>, <b{{if .Failed}} class="failed"{{end}}>{{.Failed}} failed</b>, {{.Broken}} broken by the rig, in {{printf "%.0f" .Seconds}} s.
Agent: {{.Agent}}. Evidence: <code>{{.Folder}}</code></p>
<h2>Requirements</h2>
<table><tr><th>requirement</th><th>scenarios</th></tr>
{{range .Matrix}}<tr><td>{{.ID}}</td><td>{{range .Scenarios}}<a class="{{.Verdict}}" href="#{{.Name}}">{{.Name}}</a> {{.Verdict}}<br>{{end}}</td></tr>
{{end}}</table>
<h2>Scenarios</h2>
{{range .Rows}}<details id="{{.Name}}"{{if ne .Verdict "passed"}} open{{end}}><summary><b class="{{.Verdict}}">{{.Verdict}}</b> {{.Name}}: {{.Promise}} ({{printf "%.1f" .Seconds}} s)</summary>
{{range .Reasons}}<p class="failed">{{.}}</p>{{end}}
{{range .Plots}}<svg width="{{.Width}}" height="{{.Height}}" role="img" aria-label="{{.Way}}: load, limits and states">
<text x="0" y="12">{{.Way}}</text><text x="0" y="44">{{.Top}}</text><text x="0" y="170">0 A</text><text x="815" y="187">{{.Seconds}}</text>
{{range .States}}<rect x="{{.X}}" y="18" width="{{.Width}}" height="13" fill="{{if eq .Text "FREE"}}#bfe5c8{{else if eq .Text "FAILSAFE"}}#f3b6b6{{else}}#f5e0a8{{end}}"><title>{{.Text}}</title></rect><text x="{{.X}}" y="28">{{.Text}}</text>{{end}}
<polyline points="{{.Rating}}" fill="none" stroke="#b00020" stroke-dasharray="4 4"><title>rating</title></polyline>
<polyline points="{{.Load}}" fill="none" stroke="#222" stroke-width="1.5"><title>load of the highest phase</title></polyline>
{{range .Limits}}<polyline points="{{.Points}}" fill="none" stroke="{{.Colour}}" stroke-width="2"><title>{{.Name}} is permitted</title></polyline>{{end}}
{{range .Events}}<line x1="{{.X}}" x2="{{.X}}" y1="34" y2="172" stroke="#888" stroke-dasharray="1 3"><title>{{.Text}}</title></line>{{end}}
{{range $i, $l := .Limits}}<text x="{{if eq $i 0}}60{{else if eq $i 1}}190{{else}}320{{end}}" y="187" fill="{{$l.Colour}}">{{$l.Name}} is permitted</text>{{end}}<text x="450" y="187">black: load of the highest phase</text>
</svg>{{end}}
<table><tr><th></th><th>expected</th><th>seen</th><th>at</th></tr>
{{range .Verdicts}}<tr><td class="{{if eq .Status "held"}}passed{{else}}failed{{end}}">{{.Status}}</td><td>{{.Expected}}</td><td>{{.Seen}}</td><td>{{.When}}</td></tr>
{{end}}</table>
{{if .Acts}}<p>{{range .Acts}}<code>{{.At}}</code> {{.Text}}<br>{{end}}</p>{{end}}
<p>Evidence: <code>{{.Evidence}}</code></p></details>
{{end}}</body></html>
`))
