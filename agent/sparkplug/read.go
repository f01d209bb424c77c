package sparkplug

import (
	"slices"
	"strings"

	"lvagent/agent/uplink/sparkplugpb"
)

// What a reader of any node's messages needs to know (agent/watch).

// Values of the property Quality.
const (
	QualityBad   = int64(bad)
	QualityGood  = int64(good)
	QualityStale = int64(stale)
)

var typeNames = [...]string{"", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float", "Double",
	"Boolean", "String", "DateTime", "Text", "UUID", "DataSet", "Bytes", "File", "Template"}

// TypeName returns the name of a datatype (6.4.16), or nothing.
func TypeName(kind uint32) string {
	if kind >= uint32(len(typeNames)) {
		return ""
	}
	return typeNames[kind]
}

// Signed returns a whole number as its datatype means it: on the wire a negative
// one is the large number with the same bits.
func Signed(kind uint32, x uint64) any {
	switch kind {
	case 1:
		return int64(int8(x))
	case 2:
		return int64(int16(x))
	case 3:
		return int64(int32(x))
	case 4:
		return int64(x)
	default:
		return x
	}
}

// NodeBdSeq returns the number of the connection that a birth or death is of.
func NodeBdSeq(p *sparkplugpb.Payload) uint64 {
	i := slices.IndexFunc(p.Metrics, func(m *sparkplugpb.Metric) bool { return m.GetName() == bdSeqName })
	if i < 0 {
		return 0
	}
	return p.Metrics[i].GetLongValue() + uint64(p.Metrics[i].GetIntValue())
}

// Unit returns the unit of one of our metrics, or nothing.
func Unit(name string) string {
	at := strings.LastIndexByte(name, '/')
	if at < 0 {
		return ""
	}
	group := strings.HasPrefix(name, groupPrefix)
	switch last := name[at+1:]; {
	case group && (last == "Limit" || last == "Feedback"):
		return "A"
	case name == halfHourPrefix+"Coverage":
		return "%"
	case last == "Import" || last == "Export":
		return "kWh"
	case last == "V" || last == "VMin" || last == "VMax":
		return "V"
	case last == "I" || last == "IMax":
		return "A"
	case last == "P" || last == "PMax":
		return "W"
	case last == "Q":
		return "var"
	}
	return ""
}
