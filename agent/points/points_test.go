package points

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"lvagent/dnp3"
)

var update = flag.Bool("update", false, "write the generated files anew")

// A point that was published stays where it is and means what it meant: masters
// of a whole fleet are configured by this list. The file is never made anew: who
// adds a point, in a reserved place, adds its line.
func TestNoPointEverMoves(t *testing.T) {
	f, err := os.Open("testdata/published-1.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	published, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	now := map[string]string{}
	for _, e := range Entries(List(&Site{})) {
		now[e.Type+" "+itoa(e.Index)] = e.Name + ", " + e.Unit
	}
	listed := map[string]bool{}
	for _, p := range published {
		listed[p[0]+" "+p[1]] = true
		if got := now[p[0]+" "+p[1]]; got != p[2]+", "+p[3] {
			t.Errorf("%s %s was published as %q, is %q", p[0], p[1], p[2]+", "+p[3], got)
		}
	}
	for at, point := range now {
		if !listed[at] {
			t.Errorf("%s, %q, is not in the published list", at, point)
		}
	}
	if len(published) < 1000 {
		t.Errorf("%d points were published; the file is not whole", len(published))
	}
}

func itoa(n uint16) string {
	var b [5]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}

// Each place is taken once, whoever is at the site and in whatever order.
func TestPlaces(t *testing.T) {
	full := &Site{Periods: true}
	for i := range full.Ways {
		full.Ways[i] = "W" + itoa(uint16(i))
	}
	for i := 1; i < GroupSlots; i++ {
		full.Groups[i] = "G" + itoa(uint16(i))
	}
	empty, there := List(&Site{}), List(full)
	if len(empty) != len(there) {
		t.Fatalf("%d points at an empty site, %d at a full one", len(empty), len(there))
	}
	taken := map[[2]int]string{}
	for i := range there {
		at := [2]int{int(there[i].Type), int(there[i].Index)}
		if other, is := taken[at]; is {
			t.Errorf("%s is where %s is", there[i].Name(), other)
		}
		taken[at] = there[i].Name()
		if empty[i].Type != there[i].Type || empty[i].Index != there[i].Index || empty[i].Quantity != there[i].Quantity {
			t.Errorf("%s moves when the site is full", there[i].Name())
		}
		if there[i].Index >= 2000 {
			t.Errorf("%s has index %d", there[i].Name(), there[i].Index)
		}
	}
	if _, err := dnp3.New(dnp3.Config{Address: 1024, Masters: []dnp3.Master{{Address: 1}}, Points: Points(there)}); err != nil {
		t.Errorf("an outstation does not take the list: %v", err)
	}
}

// docs/points.md and the device profile are what the program prints.
func TestPrintedLists(t *testing.T) {
	var md, profile, sheet bytes.Buffer
	rows := List(&Site{})
	for _, err := range []error{WriteMarkdown(&md, rows), WriteCSV(&sheet, rows),
		WriteProfile(&profile, &Profile{Device: "lvagent", Version: "any", Name: "any substation", Address: 1024, Unsolicited: true}, rows)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, got := range map[string][]byte{"../../docs/points.md": md.Bytes(), "../../docs/points.csv": sheet.Bytes(), "../../docs/dnp3-device-profile.xml": profile.Bytes()} {
		if *update {
			if err := os.WriteFile(name, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the program prints; go test ./agent/points -update", name)
		}
	}
	dec, points := xml.NewDecoder(&profile), 0
	for {
		tok, err := dec.Token()
		if tok == nil {
			if err.Error() != "EOF" {
				t.Error(err)
			}
			break
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "dataPoint" {
			points++
		}
	}
	if points != len(rows) {
		t.Errorf("%d points in the profile, %d in the list", points, len(rows))
	}
}

func TestNames(t *testing.T) {
	site := &Site{}
	site.Ways[3], site.Groups[2] = "W3", "G1"
	rows := List(site)
	name := func(ty dnp3.Type, index uint16) string {
		i := slices.IndexFunc(rows, func(r Row) bool { return r.Type == ty && r.Index == index })
		if i < 0 {
			return ""
		}
		return rows[i].Name()
	}
	for _, tt := range []struct {
		t     dnp3.Type
		index uint16
		want  string
	}{
		{dnp3.AnalogInput, 150, "W3 L1 V"}, {dnp3.AnalogInput, 163, "W3 L2 I"}, {dnp3.AnalogInput, 0, "transformer L1 V"}, {dnp3.AnalogInput, 200, "way 4 L1 V"},
		{dnp3.AnalogOutput, 4, "G1 limit"}, {dnp3.BinaryOutput, 8, "G1 hold off"}, {dnp3.BinaryOutput, 9, "G1 release"}, {dnp3.AnalogOutput, 40, "heartbeat"}, {dnp3.Counter, 200, ""},
	} {
		if got := name(tt.t, tt.index); tt.want != "" && got != tt.want {
			t.Errorf("%v %d is %q, want %q", tt.t, tt.index, got, tt.want)
		}
	}
	if strings.Contains(name(dnp3.Counter, 200), "way") {
		t.Error("the count of commands belongs to a way")
	}
}

// A substation's name and its masters come through the XML as they are, and what
// XML cannot have does not break it.
func TestProfileOfAnyName(t *testing.T) {
	for name, want := range map[string]string{`Höhe & <Tal> "1"`: `Höhe & <Tal> "1"`, "a\x00b\ufffe": "a\ufffdb\ufffd", "two\nlines": "two\ufffdlines"} {
		var out bytes.Buffer
		if err := WriteProfile(&out, &Profile{Device: "d", Version: "v", Name: name, Address: 7, Masters: []uint16{1, 2}}, nil); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Name    string   `xml:"referenceDevice>description"`
			Masters []uint16 `xml:"referenceDevice>configuration>masters>master"`
		}
		if err := xml.Unmarshal(out.Bytes(), &got); err != nil || got.Name != want || !slices.Equal(got.Masters, []uint16{1, 2}) {
			t.Errorf("%q: %+v, %v", name, got, err)
		}
	}
}
