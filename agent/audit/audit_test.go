package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"
)

func TestCanonical(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"members by name", `{"b":1, "a" : {"d":null,"c":[true,false]}}`, `{"a":{"c":[true,false],"d":null},"b":1}`},
		{"upper case first", `{"a":1,"B":2}`, `{"B":2,"a":1}`},
		{"numbers", `[0,-1,9007199254740991]`, `[0,-1,9007199254740991]`},
		{"escapes that are needed", `"\u0022\\\/\u0008\f\n\r\t\u001F\u007f"`, "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u001f\u007f\""},
		{"escapes that are not", `"\u00e4<&>\u2028\ud83d\ude00"`, "\"ä<&>\u2028😀\""},
		{"empty", `{ }`, `{}`},
		{"a fraction", `1.0`, ""},
		{"an exponent", `1e3`, ""},
		{"minus nothing", `-0`, ""},
		{"a name twice", `{"a":1,"a":1}`, ""},
		{"two values", `1 2`, ""},
		{"cut off", `{"a":[1`, ""},
		{"not UTF-8", "\"\xff\"", ""},
		{"nested without end", strings.Repeat("[", 100) + strings.Repeat("]", 100), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Canonical([]byte(tt.in))
			if string(got) != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %s, %v, want %s", got, err, tt.want)
			}
		})
	}
}

func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"b":[1,-2,{"a":"\u00e4\n"}],"a":null}`))
	f.Add([]byte(`{"a":"\ud800"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		once, err := Canonical(in)
		if err != nil {
			return
		}
		twice, err := Canonical(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q is %q, and that is %q, %v", in, once, twice, err)
		}
	})
}

var (
	frame  = Frame{Agent: "S1", Boot: "b1", Config: "sha256:00", Version: "dev"}
	moment = Moment{Wall: time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC), Mono: 90 * time.Second, Clock: "synced"}
)

// chain returns n records, as published, and the head.
func chain(t *testing.T, head failsafe.AuditHead, n int) (records []string, _ failsafe.AuditHead) {
	t.Helper()
	for range n {
		limit := meter.Milliamps(1000 * (head.N + 1))
		text, next, err := Append(head, frame, moment, failsafe.Decision{Kind: failsafe.DecidedSetpoint, Group: "G1", ToLimit: &limit})
		if err != nil {
			t.Fatal(err)
		}
		head = next
		records = append(records, fmt.Sprintf(`{"g":1,"s":"audit","n":%d,"v":1,"agent":"S1","record":%s}`, head.N+40, text))
	}
	return records, head
}

func TestVerify(t *testing.T) {
	type change func(t *testing.T, all []string, head failsafe.AuditHead) []string
	tests := []struct {
		name    string
		change  change
		records int
		faults  []string // what each says, in part
		lost    string
	}{
		{"whole", nil, 6, nil, "[]"},
		{"in another order, some twice", func(_ *testing.T, a []string, _ failsafe.AuditHead) []string {
			slices.Reverse(a)
			return append(a, a[2], a[4])
		}, 6, nil, "[]"},
		{"written by another JSON library", func(t *testing.T, a []string, _ failsafe.AuditHead) []string {
			for i := range a {
				var m any
				if err := json.Unmarshal([]byte(a[i]), &m); err != nil {
					t.Fatal(err)
				}
				text, err := json.MarshalIndent(m, "", " ")
				if err != nil {
					t.Fatal(err)
				}
				a[i] = string(text)
			}
			return a
		}, 6, nil, "[]"},
		{"the end of a chain alone", func(_ *testing.T, a []string, _ failsafe.AuditHead) []string { return a[3:] }, 3, nil, "[]"},
		{"a value altered", func(_ *testing.T, a []string, _ failsafe.AuditHead) []string {
			a[2] = strings.Replace(a[2], `"to_ma":3000`, `"to_ma":9000`, 1)
			return a
		}, 6, []string{"does not follow record 3"}, "[]"},
		{"the last value altered", func(_ *testing.T, a []string, _ failsafe.AuditHead) []string {
			a[5] = strings.Replace(a[5], `"to_ma":6000`, `"to_ma":9000`, 1)
			return a
		}, 6, []string{"the head that was kept is"}, "[]"},
		{"a record taken out", func(_ *testing.T, a []string, _ failsafe.AuditHead) []string { return slices.Delete(a, 2, 3) },
			5, []string{"records 3 to 3 before it are missing"}, "[]"},
		{"the end cut off", func(_ *testing.T, a []string, _ failsafe.AuditHead) []string { return a[:4] },
			4, []string{"records 5 to 6 are missing at the end"}, "[]"},
		{"another record of the same number", func(t *testing.T, a []string, _ failsafe.AuditHead) []string {
			return append(a, strings.Replace(a[2], `"to_ma":3000`, `"to_ma":9000`, 1))
		}, 7, []string{"with other contents"}, "[]"},
		{"records renumbered over a hole", func(_ *testing.T, a []string, _ failsafe.AuditHead) []string {
			a = slices.Delete(a, 2, 3)
			a[2] = strings.Replace(a[2], `"n":4,"prev"`, `"n":3,"prev"`, 1)
			return a
		}, 5, []string{"does not follow record 2", "records 4 to 4 before it are missing"}, "[]"},
		{"no records at all", func(_ *testing.T, _ []string, _ failsafe.AuditHead) []string {
			return []string{"{", `{"record":{}}`, `7`}
		},
			0, []string{"no audit record", "no audit record", "no audit record", "records 1 to 6 are missing at the end"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all, head := chain(t, failsafe.AuditHead{}, 6)
			if tt.change != nil {
				all = tt.change(t, all, head)
			}
			v := &Verifier{}
			for i, r := range all {
				v.Add([]byte(r), fmt.Sprint("line ", i+1))
			}
			got := v.Report(head)
			if got.Records != tt.records || len(got.Faults) != len(tt.faults) {
				t.Fatalf("%d records, faults %+v, want %d, %q", got.Records, got.Faults, tt.records, tt.faults)
			}
			for i := range tt.faults {
				if !strings.Contains(got.Faults[i].What, tt.faults[i]) {
					t.Errorf("fault %q, want %q", got.Faults[i].What, tt.faults[i])
				}
			}
			if tt.lost != "" && fmt.Sprint(got.Chains[0].Lost) != tt.lost {
				t.Errorf("declared lost %v, want %s", got.Chains[0].Lost, tt.lost)
			}
		})
	}
}

// A chain goes on over a restart: whole where the store has it all, with a record
// of the loss where it has not.
func TestResume(t *testing.T) {
	all, kept := chain(t, failsafe.AuditHead{}, 6)
	_, early := chain(t, failsafe.AuditHead{}, 4)
	none := failsafe.AuditHead{}
	tests := []struct {
		name             string
		stored, kept     failsafe.AuditHead
		stateLost        bool
		n                uint64 // of the next record
		why              string
		lostFrom, lostTo uint64
	}{
		{"a first start", none, none, false, 1, "", 0, 0},
		{"both there", kept, kept, false, 7, "", 0, 0},
		{"the state is older than the store", kept, early, false, 7, "", 0, 0},
		{"the state alone is lost", kept, none, true, 7, "", 0, 0},
		{"the store lacks the last ones", early, kept, false, 7, "NOT_STORED", 5, 6},
		{"another store", none, kept, false, 7, "STORE_REPLACED", 1, 6},
		{"everything is lost", none, none, true, 1, "STATE_LOST", 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			head, broken := Resume(tt.stored, tt.kept, tt.stateLost)
			if (broken != nil) != (tt.why != "") || broken != nil && (broken.Rule != tt.why || broken.LostFrom != tt.lostFrom || broken.LostTo != tt.lostTo) {
				t.Fatalf("break %+v, want %s %d to %d", broken, tt.why, tt.lostFrom, tt.lostTo)
			}
			v := &Verifier{}
			for i := range all[:tt.stored.N] {
				v.Add([]byte(all[i]), fmt.Sprint(i))
			}
			d := failsafe.Decision{Kind: failsafe.DecidedStart}
			if broken != nil {
				d = *broken
			}
			text, next, err := Append(head, frame, moment, d)
			if err != nil || next.N != tt.n {
				t.Fatalf("next record is %d, want %d: %v", next.N, tt.n, err)
			}
			v.Add(text, "next")
			if r := v.Report(next); len(r.Faults) > 0 || tt.lostTo > 0 && fmt.Sprint(r.Chains[0].Lost) != fmt.Sprint([]Lost{{tt.lostFrom, tt.lostTo}}) {
				t.Errorf("report %+v", r)
			}
		})
	}
}

// The worked example of docs/audit.md, verified by the few lines that the page
// gives, and by nothing of this package.
func TestTheExampleOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := strings.Cut(string(page), "```jsonl\n")
	example, _, ended := strings.Cut(example, "```")
	if !found || !ended {
		t.Fatal("the page has no example")
	}
	lines := strings.Split(strings.TrimSpace(example), "\n")
	prev, n := strings.Repeat("0", 64), uint64(0)
	for _, line := range lines {
		var m struct{ Record map[string]any }
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		if m.Record["prev"] != prev || fmt.Sprint(m.Record["n"]) != fmt.Sprint(n+1) {
			t.Errorf("record %v follows %v, want %d after %s", m.Record["n"], m.Record["prev"], n+1, prev)
		}
		var text bytes.Buffer
		e := json.NewEncoder(&text) // sorts the members of a map by name
		e.SetEscapeHTML(false)
		if err := e.Encode(m.Record); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(bytes.TrimSuffix(text.Bytes(), []byte("\n")))
		prev, n = hex.EncodeToString(sum[:]), n+1
	}
	if len(lines) < 3 || !strings.Contains(string(page), "`"+prev+"`") {
		t.Errorf("%d records; the page does not give their head %s", len(lines), prev)
	}
	v := &Verifier{}
	for _, line := range lines {
		v.Add([]byte(line), "the page")
	}
	if r := v.Report(failsafe.AuditHead{Chain: chainOf(t, lines), N: n, Hash: prev}); len(r.Faults) > 0 {
		t.Errorf("faults %+v", r.Faults)
	}
}

func chainOf(t *testing.T, lines []string) string {
	t.Helper()
	var m struct{ Record Record }
	if err := json.Unmarshal([]byte(lines[0]), &m); err != nil {
		t.Fatal(err)
	}
	return m.Record.Chain
}
