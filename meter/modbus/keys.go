package modbus

// The keys of a profile. The parser, the JSON Schema and the reference are made
// of these tables.

// Bounds of a profile file.
const (
	schemaVersion = 1
	maxSource     = 256 << 10
	maxRegisters  = 125 // of one request, by the Modbus specification
	maxWays       = 64
	maxText       = 64 // words
	maxEntries    = 64 // of registers
)

var (
	textShape     = &shape{is: aText}
	numberShape   = &shape{is: aNumber}
	durationShape = &shape{is: aDuration}
	flagShape     = &shape{is: aFlag}
	addressShape  = wholeOf(0, 0x10000)
	wordShape     = wholeOf(0, 0xffff)
	functionShape = wholeOf(3, 4)
	typeShape     = oneOf(numberKinds...)
	orderShape    = oneOf(orderNames()...)
	countShape    = wholeOf(1, 4)
)

var profileShape = groupOf(
	key{"schema", wholeOf(schemaVersion, schemaVersion), true, "Version of this format."},
	key{"id", textShape, true, "What a site file calls the profile: small letters, digits and hyphens, 64 at most."},
	key{"vendor", textShape, true, "Who makes the meter."},
	key{"models", listOf(textShape), true, "The types of meter that the profile is for."},
	key{"firmware", textShape, false, "For which firmware the map holds, where that matters."},
	key{"evidence", evidenceShape, true, "How far the map can be trusted."},
	key{"base", wholeOf(0, 1), true, "Number of the first register in the maker's document: every address in this file is counted from it. On the wire it is always 0."},
	key{"serial", serialShape, false, "The meter's own settings on a serial line."},
	key{"timeout", durationShape, false, "How long the meter may take to answer. Default 1s."},
	key{"refresh", durationShape, false, "How often the meter takes new values; a faster poll reads repeats."},
	key{"max_read_regs", wholeOf(1, maxRegisters), false, "Most registers of one request. Default 125."},
	key{"max_gap", wholeOf(0, maxRegisters), false, "Most registers without use between two that are read together. Default 0."},
	key{"no_read", listOf(pairOf(addressShape)), false, "[first, last] of registers that no request may touch."},
	key{"exact_blocks", listOf(pairOf(addressShape)), false, "[first, last] of registers that the meter gives only as a whole."},
	key{"single_word_only", listOf(addressShape), false, "Registers that mean what they mean only when read alone."},
	key{"value_aligned", flagShape, false, "The meter refuses a read that starts or ends inside a value."},
	key{"defaults", encodingShape, false, "What holds for a register that does not say."},
	key{"ways", waysShape, false, "How a device that measures several ways lays them out. Default a single way."},
	key{"sunspec", sunspecShape, false, "Find the registers in a SunSpec map; every address then counts from the model's own number."},
	key{"identify", identifyShape, false, "By what the meter is known."},
	key{"serial_number", textRegisterShape, false, "Where the meter's serial number is."},
	key{"signs", signsShape, false, "The meter's sign conventions."},
	key{"ratios", ratiosShape, false, "Ratios of the instrument transformers."},
	key{"registers", listOf(registerShape), true, "The measured quantities."},
	key{"not_supported", listOf(oneOf(fastNames...)), false, "Quantities of v, i, p, q, n that the meter does not have. Without n it is derived from the phases where v, p and q are there."},
	key{"enabled", enabledShape, false, "A register that says whether the device measures the way at all."},
	key{"status", listOf(statusShape), false, "Bits of the meter that make values doubtful."},
	key{"restarts", restartsShape, false, "A counter of the meter's own restarts: values after a restart are suspect once."},
	key{"writes", listOf(writeShape), false, "What may be set in the meter, each only where a site permits it. Nothing else is ever written."},
	key{"vectors", listOf(vectorShape), true, "Tests: raw words and the values that they stand for."},
)

var evidenceShape = groupOf(
	key{"level", oneOf("bench", "vendor", "third-party"), true, "bench: checked on a real meter. vendor: from the maker's document. third-party: from others who read such meters."},
	key{"source", textShape, true, "Where the map was taken from."},
)

var serialShape = groupOf(
	key{"baud", wholeOf(1200, 115200), false, "Bits a second."},
	key{"parity", oneOf("none", "even", "odd"), false, "Parity."},
	key{"stop_bits", wholeOf(1, 2), false, "Stop bits."},
	key{"turnaround", durationShape, false, "From the end of a request to the start of its answer."},
	key{"gap", durationShape, false, "Quiet that the meter wants between an answer and the next request."},
)

var encodingShape = groupOf(
	key{"fc", functionShape, false, "3 holding registers, 4 input registers. Default 3."},
	key{"type", typeShape, false, "How the words make a number."},
	key{"order", orderShape, false, "Order of the octets. Default ABCD, the most significant first."},
	key{"words", countShape, false, "How many registers, of the types that leave it open."},
	key{"scope", scopeShape, false, "Default way."},
)

var (
	anyWhole   = wholeOf(0, 1<<64-1)
	scopeShape = oneOf("way", "device")
)

var waysShape = groupOf(
	key{"kind", oneOf(waysNames...), true, "stride: way n is (n-1) strides further on. bases: every address of a way counts from its base. unit: way n answers as the n-th unit, from the site's on."},
	key{"count", wholeOf(1, maxWays), false, "How many ways, of stride and unit."},
	key{"stride", wholeOf(1, 0xffff), false, "Registers from one way to the next."},
	key{"bases", listOf(addressShape), false, "Where each way begins."},
)

var sunspecShape = groupOf(
	key{"models", listOf(wholeOf(1, 0xfffe)), true, "Numbers of the model, any of which will do. The n-th in the map is way n."},
	key{"bases", listOf(wordShape), false, "Where the map may begin, on the wire. Default 40000, 50000, 0."},
)

// placeKeys are those of a register with a request of its own.
func placeKeys(kinds []string, more ...key) []key {
	return append([]key{
		{"fc", functionShape, false, "Default as in defaults."},
		{"addr", addressShape, true, "Address."},
		{"type", oneOf(kinds...), false, "How the words make a number or a text."},
		{"order", orderShape, false, "Order of the octets."},
		{"words", wholeOf(1, maxText), false, "How many registers, of the types that leave it open."},
	}, more...)
}

var identifyShape = groupOf(
	key{"on_mismatch", oneOf("refuse", "warn"), false, "refuse: no value of another meter counts. warn: every value is suspect. Default refuse."},
	key{"match", listOf(matchShape), true, "Registers, each of which must hold what is said."},
)

var matchShape = groupOf(placeKeys(kindNames[u16:],
	key{"raw", listOf(anyWhole), false, "Any of these numbers."},
	key{"hex", textShape, false, "These words, four digits each."},
	key{"ascii", listOf(textShape), false, "Any of these texts, without blanks at the ends."},
	key{"regex", textShape, false, "A regular expression for the text (RE2)."},
)...)

var textRegisterShape = groupOf(placeKeys(kindNames[u16:])...)

var signsShape = groupOf(
	key{"p", oneOf("import", "export"), false, "The direction in which the meter's P is positive. Import, the default, is out of the substation into the way."},
	key{"q", oneOf("iec", "inverted", "by-load"), false, "iec: positive for inductive import (quadrants 1 and 2), the default. inverted: negative there. by-load: positive for an inductive load whichever way P flows."},
)

var ratioShape = groupOf(
	key{"fixed", numberShape, false, "The ratio itself."},
	key{"primary", ratioRegisterShape, false, "The register of the primary value."},
	key{"secondary", ratioRegisterShape, false, "The register of the secondary value."},
	key{"by", numberShape, false, "What the primary is divided by where there is no secondary. Default 1."},
)

var ratioRegisterShape = groupOf(placeKeys(numberKinds, key{"scale", numberShape, false, "Default 1."})...)

var ratiosShape = groupOf(
	key{"applied_by", oneOf("meter", "agent"), true, "meter: the registers are primary values. agent: they are secondary values and are multiplied here."},
	key{"ct", ratioShape, false, "Current transformers."},
	key{"vt", ratioShape, false, "Voltage transformers."},
	key{"neutral_ct", ratioShape, false, "The neutral's own transformer. Default like the others."},
)

var registerShape = groupOf(
	key{"quantity", oneOf(quantityNames...), true, "v, i, p, q and n (neutral current) are read at each poll, the others at the slow period: f, v_line (L1-L2, L2-L3, L3-L1), thd_v, thd_i, dips, swells, interruptions, wh_import, wh_export, temperature."},
	key{"addr", listOf(addressShape), true, "One address for each phase; one for a quantity without phases."},
	key{"plus", listOf(addressShape), false, "Registers of the same type that are added."},
	key{"minus", listOf(addressShape), false, "Registers of the same type that are taken away."},
	key{"sign", signShape, false, "Where the sign is when the register holds the magnitude only."},
	key{"sf", listOf(addressShape), false, "Signed 16-bit registers with the power of ten: one, or one for each phase."},
	key{"fc", functionShape, false, "3 holding registers, 4 input registers."},
	key{"type", typeShape, false, "How the words make a number."},
	key{"order", orderShape, false, "Order of the octets."},
	key{"words", countShape, false, "How many registers, of the types that leave it open."},
	key{"scope", scopeShape, false, "device: the same for all ways of the device. Default way."},
	key{"unit", textShape, true, "Unit of the register once scaled."},
	key{"scale", numberShape, false, "What the raw number is multiplied by. Default 1."},
	key{"offset", numberShape, false, "What is then added, in the unit."},
	key{"invalid", listOf(anyWhole), false, "Raw numbers that mean \"not available\"."},
	key{"range", pairOf(numberShape), false, "[lowest, highest] that is plausible, in V, A, W, var, Hz, %, Wh or °C; outside of it a value counts as missing."},
)

var signShape = groupOf(
	key{"addr", listOf(addressShape), true, "One register, or one for each phase."},
	key{"bit", listOf(wholeOf(0, 15)), true, "The bit that is set for negative: one, or one for each phase."},
)

// bitKeys are those of a register that is looked at bit by bit.
func bitKeys(more ...key) []key {
	return append([]key{
		{"fc", functionShape, false, "Default as in defaults."},
		{"addr", addressShape, true, "Address."},
		{"type", oneOf("u16", "u32", "bitfield"), false, "Default u16."},
		{"words", countShape, false, "How many registers, of a bitfield."},
		{"scope", scopeShape, false, "Default way."},
	}, more...)
}

var enabledShape = groupOf(bitKeys(
	key{"mask", anyWhole, false, "The bits that count. Default all."},
	key{"equals", anyWhole, true, "What they are when the way is measured."},
)...)

var remarkNames = []string{"restarted", "out_of_range", "frozen", "mismatch"}

var statusShape = groupOf(bitKeys(
	key{"mask", anyWhole, true, "The bits that count."},
	key{"equals", anyWhole, false, "What they are when the remark holds. Default all set."},
	key{"means", oneOf(remarkNames...), true, "Why the values are doubtful."},
	key{"quality", oneOf("missing", "suspect"), true, "What becomes of them."},
	key{"quantities", listOf(oneOf(fastNames...)), false, "Which. Default all."},
	key{"phases", listOf(oneOf("L1", "L2", "L3")), false, "Of which of the meter's inputs. Default all."},
)...)

var restartsShape = groupOf(
	key{"fc", functionShape, false, "Default as in defaults."},
	key{"addr", addressShape, true, "Address."},
	key{"type", oneOf("u16", "u32"), false, "Default u16."},
	key{"order", orderShape, false, "Order of the octets."},
)

// writtenKeys are those of holding registers that are written.
func writtenKeys(more ...key) []key {
	return append([]key{
		{"addr", addressShape, true, "Address of the holding register."},
		{"fc", wholeOf(6, 16), true, "6 writes one register, 16 several."},
		{"type", oneOf("u16", "s16", "u32", "s32", "f32"), false, "How the words make a number: u16, s16, u32, s32 or f32."},
		{"order", orderShape, false, "Order of the octets."},
	}, more...)
}

var writeShape = groupOf(writtenKeys(
	key{"name", textShape, true, "What people and site files call it: small letters, digits and _, 32 at most."},
	key{"unit", textShape, false, "Unit of the number, for people."},
	key{"values", listOf(numberShape), false, "The numbers that it takes, as in the register."},
	key{"range", pairOf(numberShape), false, "[lowest, highest] that it takes, instead of values."},
	key{"unlock", listOf(unlockShape), false, "What is written before it, in order."},
	key{"only_if", listOf(matchShape), false, "Registers that tell the right meter, besides identify. Without identify there must be one."},
)...)

var unlockShape = groupOf(writtenKeys(key{"value", numberShape, true, "The number that is written."})...)

var vectorShape = groupOf(
	key{"name", textShape, true, "What is special about it."},
	key{"channel", wholeOf(1, maxWays), false, "Way of the device. Default 1."},
	key{"ct", numberShape, false, "Ratio, where the agent applies it."},
	key{"vt", numberShape, false, "Ratio, where the agent applies it."},
	key{"neutral_ct", numberShape, false, "Ratio, where the agent applies it."},
	key{"words", listOf(imageShape), true, "Contents of registers."},
	key{"want", wantShape, true, "What they stand for: whole thousandths (mV, mA, mW, mvar, mHz), millionths for thd_v and thd_i, thousandths of °C, Wh, counts; or why there is no value: sentinel, not_a_number, out_of_range, mismatch, not_supported."},
)

var imageShape = groupOf(
	key{"fc", functionShape, true, "3 or 4."},
	key{"addr", addressShape, true, "Address of the first word, as on the wire plus base."},
	key{"raw", listOf(wordShape), true, "The words."},
)

var wantShape = func() *shape {
	s := groupOf()
	for _, name := range quantityNames {
		s.keys = append(s.keys, key{name, listOf(&shape{is: aValue}), false, "One for each phase; one for a quantity without phases."})
	}
	return s
}()
