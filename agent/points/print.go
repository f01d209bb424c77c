package points

import (
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	"lvagent/dnp3"
)

// Entry is a point as the list prints it.
type Entry struct {
	Type     string  `json:"type"`
	Index    uint16  `json:"index"`
	Name     string  `json:"name"`
	Unit     string  `json:"unit"`
	Class    int     `json:"class"` // 0: no events
	Deadband float64 `json:"deadband,omitempty"`
	MQTT     string  `json:"mqtt,omitempty"`
	There    bool    `json:"there"` // false: reserved, or no way or group has the slot
}

// Entries returns the list as it is printed.
func Entries(rows []Row) []Entry {
	all := make([]Entry, 0, len(rows))
	for i := range rows {
		r := &rows[i]
		all = append(all, Entry{r.Type.String(), r.Index, r.Name(), r.Unit(), int(r.Class), r.Deadband, r.MQTT, r.Slot < 0 || r.Owner != ""})
	}
	return all
}

// WriteJSON prints the list for machines.
func WriteJSON(w io.Writer, rows []Row) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", " ")
	return out.Encode(struct {
		Version int     `json:"version"`
		Points  []Entry `json:"points"`
	}{Version, Entries(rows)})
}

// WriteCSV prints the list for a spreadsheet or a master's import.
func WriteCSV(w io.Writer, rows []Row) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"type", "index", "name", "unit", "class", "deadband", "mqtt", "there"}); err != nil {
		return err
	}
	for _, e := range Entries(rows) {
		if err := out.Write([]string{e.Type, strconv.Itoa(int(e.Index)), e.Name, e.Unit, strconv.Itoa(e.Class), strconv.FormatFloat(e.Deadband, 'g', -1, 64), e.MQTT, strconv.FormatBool(e.There)}); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// WriteMarkdown prints the list for people, a table for each type.
func WriteMarkdown(w io.Writer, rows []Row) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "# DNP3 points, list version %d\n", Version)
	for t := dnp3.BinaryInput; t <= dnp3.OctetString; t++ {
		static, event := t.Groups()
		heading := false
		for _, e := range Entries(rows) {
			if e.Type != t.String() {
				continue
			}
			if !heading {
				heading = true
				fmt.Fprintf(b, "\n## %s (groups %d and %d)\n\n| index | point | unit | class | deadband | on MQTT |\n|---|---|---|---|---|---|\n", strings.ToUpper(e.Type[:1])+e.Type[1:], static, event)
			}
			deadband := ""
			if e.Deadband > 0 {
				deadband = strconv.FormatFloat(e.Deadband, 'g', -1, 64)
			}
			fmt.Fprintf(b, "| %d | %s | %s | %d | %s | %s |\n", e.Index, e.Name, e.Unit, e.Class, deadband, e.MQTT)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Profile is what a device profile says besides the points.
type Profile struct {
	Device, Version, Name string
	Address               uint16
	Masters               []uint16
	Listen                string
	Secure, Unsolicited   bool
}

// The parts of the profile document that we fill in, after the structure of the
// DNP3 device profile's XML schema of 2014.
type (
	profileDoc struct {
		XMLName xml.Name  `xml:"DNP3DeviceProfileDocument"`
		XMLNS   string    `xml:"xmlns,attr"`
		Schema  string    `xml:"schemaVersion,attr"`
		Header  docHeader `xml:"documentHeader"`
		Device  refDevice `xml:"referenceDevice"`
	}
	docHeader struct {
		Name        string `xml:"documentName"`
		Description string `xml:"documentDescription"`
	}
	refDevice struct {
		Description string        `xml:"description"`
		Config      configuration `xml:"configuration"`
		Database    database      `xml:"database"`
	}
	configuration struct {
		Function    value   `xml:"deviceConfig>deviceFunction>currentValue>outstation"`
		Vendor      string  `xml:"deviceConfig>vendorName>currentValue>value"`
		Device      string  `xml:"deviceConfig>deviceName>currentValue>value"`
		Software    string  `xml:"deviceConfig>softwareVersion>currentValue>value"`
		Requests    string  `xml:"deviceConfig>dnpLevelSupported>currentValue>level"`
		Listen      string  `xml:"networkConfig>ipAddress>currentValue>address"`
		Secure      bool    `xml:"networkConfig>tlsMutual>currentValue>value"`
		Address     uint16  `xml:"linkConfig>dataLinkAddress>currentValue>value"`
		SelfAddress bool    `xml:"linkConfig>selfAddressSupport>currentValue>value"`
		Confirmed   string  `xml:"linkConfig>sendsConfirmedUserDataFrames>currentValue>value"`
		Fragment    int     `xml:"applConfig>maxTransmittedFragmentSize>currentValue>value"`
		Unsolicited bool    `xml:"unsolicitedConfig>supportsUnsolicitedReporting>currentValue>value"`
		Masters     []value `xml:"masters>master"`
		SecureAuth  string  `xml:"securityConfig>secureAuthentication>currentValue>value"`
	}
	value struct {
		Value string `xml:",chardata"`
	}
	database struct {
		Groups []pointGroup `xml:",any"`
	}
	pointGroup struct {
		XMLName xml.Name
		Points  []pointDoc `xml:"dataPoints>dataPoint"`
	}
	pointDoc struct {
		Index       uint16   `xml:"index,attr"`
		Name        string   `xml:"name"`
		Description string   `xml:"description,omitempty"`
		Class       string   `xml:"changeEventClass"`
		Units       string   `xml:"units,omitempty"`
		Deadband    *float64 `xml:"deadband,omitempty"`
	}
)

// profileGroups are the schema's names of the types.
var profileGroups = [...]string{dnp3.BinaryInput: "binaryInputGroup", dnp3.DoubleBitInput: "doubleBitInputGroup", dnp3.BinaryOutput: "binaryOutputGroup",
	dnp3.Counter: "counterGroup", dnp3.AnalogInput: "analogInputGroup", dnp3.AnalogOutput: "analogOutputGroup", dnp3.OctetString: "octetStringGroup"}

// WriteProfile prints a device profile: what the outstation is and its points.
func WriteProfile(w io.Writer, p *Profile, rows []Row) error {
	doc := profileDoc{
		XMLNS: "http://www.dnp3.org/DNP3/DeviceProfile/November2014", Schema: "2.11.00",
		Header: docHeader{"Device profile of " + p.Name, fmt.Sprintf("Made by lvagent %s from its point list, version %d.", p.Version, Version)},
		Device: refDevice{Description: p.Name, Config: configuration{
			Vendor: "lvagent", Device: p.Device, Software: p.Version, Requests: "3", Listen: p.Listen, Secure: p.Secure, Address: p.Address,
			Confirmed: "when asked", Fragment: dnp3.MostFragment, Unsolicited: p.Unsolicited, SecureAuth: "not offered",
		}},
	}
	for _, m := range p.Masters {
		doc.Device.Config.Masters = append(doc.Device.Config.Masters, value{strconv.Itoa(int(m))})
	}
	for t := dnp3.BinaryInput; t <= dnp3.OctetString; t++ {
		g := pointGroup{XMLName: xml.Name{Local: profileGroups[t]}}
		for i := range rows {
			r := &rows[i]
			if r.Type != t {
				continue
			}
			d := pointDoc{Index: r.Index, Name: r.Name(), Units: r.Unit(), Description: r.MQTT, Class: "none"}
			if r.Class != dnp3.NoEvents {
				d.Class = map[dnp3.Class]string{dnp3.Class1: "one", dnp3.Class2: "two", dnp3.Class3: "three"}[r.Class]
			}
			if r.Deadband > 0 {
				d.Deadband = &r.Deadband
			}
			g.Points = append(g.Points, d)
		}
		if len(g.Points) > 0 {
			doc.Device.Database.Groups = append(doc.Device.Database.Groups, g)
		}
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	out := xml.NewEncoder(w)
	out.Indent("", " ")
	if err := out.Encode(doc); err != nil {
		return fmt.Errorf("write device profile: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}
