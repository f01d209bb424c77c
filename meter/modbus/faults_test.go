package modbus

import (
	"fmt"
	"strings"
	"testing"
)

// everything is a profile that uses every key.
const everything = `schema: 1
id: test-everything
vendor: Nobody
models: [T1]
firmware: from 2.1
evidence: {level: bench, source: made up}
base: 0
serial: {baud: 19200, parity: even, stop_bits: 1, turnaround: 20ms, gap: 5ms}
timeout: 1s
refresh: 1s
max_read_regs: 60
max_gap: 10
no_read: [[90, 99]]
exact_blocks: [[200, 209]]
single_word_only: [220]
value_aligned: true
defaults: {fc: 3, type: f32, order: ABCD, scope: way}
ways: {kind: stride, count: 3, stride: 1000}
identify:
  on_mismatch: warn
  match:
    - {addr: 220, type: u16, raw: [1]}
    - {addr: 230, type: string, words: 2, ascii: [AB]}
    - {addr: 234, type: string, words: 1, regex: "^C"}
    - {addr: 236, type: u32, hex: "0001 0002"}
serial_number: {addr: 240, type: u32}
signs: {p: export, q: inverted}
ratios:
  applied_by: agent
  ct: {primary: {addr: 244, type: u16}, by: 5}
  vt: {fixed: 2}
registers:
  - {quantity: v, addr: [0, 2, 4], unit: V, scope: device}
  - {quantity: i, addr: [6, 8, 10], unit: A}
  - {quantity: p, addr: [200, 202, 204], unit: W, offset: 0.5}
  - {quantity: q, addr: [20, 22, 24], minus: [30, 32, 34], type: u32, unit: var, scale: 0.1, invalid: [0xffffffff]}
  - {quantity: n, addr: [40], type: sign-magnitude, words: 2, unit: mA, sf: [42], sign: {addr: [43], bit: [3]}}
enabled: {addr: 50, mask: 1, equals: 1}
status:
  - {addr: 51, type: bitfield, words: 2, mask: 1, means: restarted, quality: suspect}
restarts: {addr: 53, type: u32}
vectors:
  - name: of the second way
    channel: 2
    ct: 10
    words: [{fc: 3, addr: 0, raw: [0x4366, 0, 0x4366, 0, 0x4366, 0]}, {fc: 3, addr: 1006, raw: [0x3f80, 0, 0, 0, 0, 0]}, {fc: 3, addr: 1050, raw: [1]}]
    want: {v: [460000, 460000, 460000], i: [10000, 0, 0]}
`

func TestProfileOfEverything(t *testing.T) {
	p := parsed(t, everything)
	want := "[{3 0 55} {3 200 10}]"
	if got := fmt.Sprint(p.Blocks()); got != want {
		t.Errorf("requests %s, want %s", got, want)
	}
	if p.Ways() != 3 || p.Firmware() != "from 2.1" || p.Serial().Baud != 19200 || p.Refresh().Seconds() != 1 {
		t.Errorf("%+v", p.Serial())
	}
}

func TestFaultsOfEverything(t *testing.T) {
	for _, tt := range []struct {
		name, old, new string
		want           []string // line: path: beginning of the message
	}{
		{"serial line that is none", "baud: 19200", "baud: 100", []string{"8: serial.baud: 100 is outside 1200 to 115200"}},
		{"exact block longer than a request", "max_read_regs: 60", "max_read_regs: 9", []string{"14: exact_blocks[0]: takes 10 registers, max_read_regs is 9"}},
		{"exact block in no_read", "[[90, 99]]", "[[209, 210]]", []string{"14: exact_blocks[0]: meets another block or a no_read range"}},
		{"exact block of three", "[[200, 209]]", "[[200, 205, 209]]", []string{"14: exact_blocks[0]: want 2 elements, got 3"}},
		{"value half in an exact block", "[200, 202, 204]", "[200, 202, 209]", []string{"35: registers[2].addr[2]: lies partly in an exact block"}},
		{"another request cuts a value", "serial_number: {addr: 240", "serial_number: {addr: 7", []string{"26: serial_number: cuts through registers[1].addr[0]", "26: serial_number: cuts through registers[1].addr[1]"}},
		{"words of a type that has them", "{addr: 240, type: u32}", "{addr: 240, type: u32, words: 2}", []string{"26: serial_number.words: type u32 takes 2"}},
		{"text without length", "words: 2, ascii: [AB]", "ascii: [AB]", []string{"23: identify.match[1].words: is missing: a string has no length"}},
		{"two ways to match", "type: u16, raw: [1]", "type: u16, raw: [1], hex: \"0001\"", []string{"22: identify.match[0]: wants one of raw, hex, ascii and regex, got 2"}},
		{"no way to match", "type: u16, raw: [1]", "type: u16", []string{"22: identify.match[0]: wants one of raw, hex, ascii and regex, got 0"}},
		{"text of a number", "type: u16, raw: [1]", "type: u16, ascii: [A]", []string{"22: identify.match[0].ascii: does not go with type u16"}},
		{"number of a text", "ascii: [AB]", "raw: [1]", []string{"23: identify.match[1].raw: does not go with type string"}},
		{"matches nothing", "type: u16, raw: [1]", "type: u16, raw: []", []string{"22: identify.match[0]: matches nothing"}},
		{"bad expression", `regex: "^C"`, `regex: "("`, []string{"24: identify.match[2].regex: error parsing"}},
		{"hex of another length", `"0001 0002"`, `"0001"`, []string{"25: identify.match[3].hex: 1 words, the register has 2"}},
		{"hex that is none", `"0001 0002"`, `"0001 2"`, []string{"25: identify.match[3].hex: \"2\" is no word", "25: identify.match[3].hex: 1 words"}},
		{"ratio of nothing", "vt: {fixed: 2}", "vt: {fixed: 0}", []string{"31: ratios.vt.fixed: 0 is not above 0"}},
		{"ratio without a value", "vt: {fixed: 2}", "vt: {by: 2}", []string{"31: ratios.vt: wants one of fixed and primary"}},
		{"both of plus and minus", "minus: [30, 32, 34]", "minus: [30, 32, 34], plus: [60, 62, 64]", []string{"36: registers[3].minus: plus and minus together"}},
		{"minus of two phases", "minus: [30, 32, 34]", "minus: [30, 32]", []string{"36: registers[3].minus: 2 addresses, want 3"}},
		{"scale factor of two phases", "quantity: q, addr: [20, 22, 24]", "quantity: q, sf: [60, 61], addr: [20, 22, 24]", []string{"36: registers[3].sf: 2 addresses, want 3"}},
		{"bits of two phases", "bit: [3]", "bit: [3, 4]", []string{"37: registers[4].sign.bit: 2 bits, want 1 or 1"}},
		{"bit that is none", "bit: [3]", "bit: [16]", []string{"37: registers[4].sign.bit[0]: 16 is outside 0 to 15", "37: registers[4].sign.bit: 0 bits"}},
		{"no bit counts", "words: 2, mask: 1", "words: 2, mask: 0", []string{"40: status[0].mask: no bit counts"}},
		{"stride of nothing", ", stride: 1000}", "}", []string{"18: ways.stride: is missing"}},
		{"bases and stride", "stride: 1000}", "stride: 1000, bases: [1]}", []string{"18: ways.bases: says nothing for ways of kind stride"}},
		{"a way beyond the last register", "count: 3, stride: 1000", "count: 4, stride: 30000", []string{"34: registers[1].addr[0], way 4: ends after the last register"}},
		{"a way that lies on the device's own", "addr: [0, 2, 4]", "addr: [994, 996, 1009]", []string{"33: registers[0].addr[2]: overlaps registers[1].addr[1] in way 2", "34: registers[1].addr[2]: overlaps registers[0].addr[2] in way 2"}},
		{"channel that is not there", "channel: 2", "channel: 4", []string{"44: vectors[0].channel: there are 3 ways"}},
		{"ratio of nothing in a vector", "ct: 10", "ct: -1", []string{"45: vectors[0].ct: -1 is not above 0"}},
		{"unit of a slow quantity", "enabled:", "  - {quantity: f, addr: [60], unit: kHz}\nenabled:", []string{"38: registers[5].unit: unknown \"kHz\", want one of Hz, mHz"}},
		{"SunSpec and ways", "ways: {", "sunspec: {models: [203]}\nways: {", []string{"18: sunspec: wants base 0 and no ways"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if strings.Count(everything, tt.old) != 1 {
				t.Fatalf("%q is in the profile %d times", tt.old, strings.Count(everything, tt.old))
			}
			_, faults := ParseProfile([]byte(strings.Replace(everything, tt.old, tt.new, 1)))
			ok := len(faults) == len(tt.want)
			for i := 0; ok && i < len(faults); i++ {
				ok = strings.HasPrefix(faults[i].String(), tt.want[i])
			}
			if !ok {
				t.Errorf("got\n  %v\nwant\n  %s", faults, strings.Join(tt.want, "\n  "))
			}
		})
	}
}
