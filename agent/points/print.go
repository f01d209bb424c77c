package points

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

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

// profileGroups are the schema's names of the types.
var profileGroups = [...]string{dnp3.BinaryInput: "binaryInputGroup", dnp3.DoubleBitInput: "doubleBitInputGroup", dnp3.BinaryOutput: "binaryOutputGroup",
	dnp3.Counter: "counterGroup", dnp3.AnalogInput: "analogInputGroup", dnp3.AnalogOutput: "analogOutputGroup", dnp3.OctetString: "octetStringGroup"}

// WriteProfile prints a device profile: what the outstation is and its points,
// after the structure of the DNP3 device profile's XML schema of 2014.
func WriteProfile(w io.Writer, p *Profile, rows []Row) error {
	d := document{w: bufio.NewWriter(w)}
	d.w.WriteString(`<?xml version="1.0" encoding="UTF-8"?>`)
	d.open("DNP3DeviceProfileDocument", "xmlns", "http://www.dnp3.org/DNP3/DeviceProfile/November2014", "schemaVersion", "2.11.00")
	d.open("documentHeader")
	d.leaf("documentName", "Device profile of "+p.Name)
	d.leaf("documentDescription", fmt.Sprintf("Made by lvagent %s from its point list, version %d.", p.Version, Version))
	d.close()
	d.open("referenceDevice")
	d.leaf("description", p.Name)
	d.open("configuration")
	for _, part := range []struct {
		name   string
		values [][3]string
	}{
		{"deviceConfig", [][3]string{{"deviceFunction", "outstation", ""}, {"vendorName", "value", "lvagent"}, {"deviceName", "value", p.Device},
			{"softwareVersion", "value", p.Version}, {"dnpLevelSupported", "level", "3"}}},
		{"networkConfig", [][3]string{{"ipAddress", "address", p.Listen}, {"tlsMutual", "value", strconv.FormatBool(p.Secure)}}},
		{"linkConfig", [][3]string{{"dataLinkAddress", "value", strconv.Itoa(int(p.Address))}, {"selfAddressSupport", "value", "false"},
			{"sendsConfirmedUserDataFrames", "value", "when asked"}}},
		{"applConfig", [][3]string{{"maxTransmittedFragmentSize", "value", strconv.Itoa(dnp3.MostFragment)}}},
		{"unsolicitedConfig", [][3]string{{"supportsUnsolicitedReporting", "value", strconv.FormatBool(p.Unsolicited)}}},
		{"masters", nil},
		{"securityConfig", [][3]string{{"secureAuthentication", "value", "not offered"}}},
	} {
		if part.name == "masters" && len(p.Masters) == 0 {
			d.leaf(part.name, "")
			continue
		}
		d.open(part.name)
		for _, v := range part.values {
			d.open(v[0])
			d.open("currentValue")
			d.leaf(v[1], v[2])
			d.close()
			d.close()
		}
		if part.name == "masters" {
			for _, m := range p.Masters {
				d.leaf("master", strconv.Itoa(int(m)))
			}
		}
		d.close()
	}
	d.close()
	d.open("database")
	for t := dnp3.BinaryInput; t <= dnp3.OctetString; t++ {
		d.group(t, rows)
	}
	d.close()
	d.close()
	d.close()
	d.w.WriteString("\n")
	if err := d.w.Flush(); err != nil {
		return fmt.Errorf("write device profile: %w", err)
	}
	return nil
}

// group prints the points of a type, if there are any.
func (d *document) group(t dnp3.Type, rows []Row) {
	begun := false
	for i := range rows {
		r := &rows[i]
		if r.Type != t {
			continue
		}
		if !begun {
			d.open(profileGroups[t])
			d.open("dataPoints")
			begun = true
		}
		d.open("dataPoint", "index", strconv.Itoa(int(r.Index)))
		d.leaf("name", r.Name())
		if r.MQTT != "" {
			d.leaf("description", r.MQTT)
		}
		class := map[dnp3.Class]string{dnp3.NoEvents: "none", dnp3.Class1: "one", dnp3.Class2: "two", dnp3.Class3: "three"}[r.Class]
		d.leaf("changeEventClass", class)
		if unit := r.Unit(); unit != "" {
			d.leaf("units", unit)
		}
		if r.Deadband > 0 {
			d.leaf("deadband", strconv.FormatFloat(r.Deadband, 'g', -1, 64))
		}
		d.close()
	}
	if begun {
		d.close()
		d.close()
	}
}

// document prints XML, indented. The library for it would take 64 KiB of an RTU's
// flash for this one page.
type document struct {
	w     *bufio.Writer
	names []string
}

func (d *document) line() { d.w.WriteString("\n" + strings.Repeat(" ", len(d.names))) }

// open begins an element with attributes as names and values.
func (d *document) open(name string, attributes ...string) {
	d.line()
	d.w.WriteString("<" + name)
	for i := 0; i < len(attributes); i += 2 {
		d.w.WriteString(" " + attributes[i] + `="` + escaped(attributes[i+1]) + `"`)
	}
	d.w.WriteString(">")
	d.names = append(d.names, name)
}

func (d *document) close() {
	name := d.names[len(d.names)-1]
	d.names = d.names[:len(d.names)-1]
	d.line()
	d.w.WriteString("</" + name + ">")
}

func (d *document) leaf(name, text string) {
	d.line()
	d.w.WriteString("<" + name + ">" + escaped(text) + "</" + name + ">")
}

// escaped is text as XML has it, without what XML cannot have.
func escaped(text string) string {
	return html.EscapeString(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0xfffe || r == 0xffff {
			return utf8.RuneError
		}
		return r
	}, text))
}
