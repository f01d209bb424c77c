package relay

import "unsafe"

// The GPIO character device of Linux, version 2 (linux/gpio.h, since 5.10).
// Every field lies on a multiple of its own size and every structure ends on
// one, so that 32-bit and 64-bit processes agree on sizes and offsets.

const (
	nameSize  = 32 // GPIO_MAX_NAME_SIZE
	mostLines = 64 // GPIO_V2_LINES_MAX
	mostAttrs = 10 // GPIO_V2_LINE_NUM_ATTRS_MAX

	flagOutput       = 1 << 3 // GPIO_V2_LINE_FLAG_OUTPUT
	attrOutputValues = 2      // GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES
)

type chipInfo struct {
	name, label [nameSize]byte
	lines       uint32
}

type lineAttr struct {
	id, _  uint32
	values uint64
}

type lineInfo struct {
	name, consumer   [nameSize]byte
	offset, numAttrs uint32
	flags            uint64
	attrs            [mostAttrs]lineAttr
	_                [4]uint32
}

type configAttr struct {
	attr lineAttr
	mask uint64
}

type lineConfig struct {
	flags    uint64
	numAttrs uint32
	_        [5]uint32
	attrs    [mostAttrs]configAttr
}

type lineRequest struct {
	offsets         [mostLines]uint32
	consumer        [nameSize]byte
	config          lineConfig
	numLines        uint32
	eventBufferSize uint32
	_               [5]uint32
	fd              int32
}

type lineValues struct {
	bits, mask uint64
}

// The requests, numbered as asm-generic/ioctl.h does: direction, size, 0xB4,
// number. (MIPS, PowerPC and SPARC number otherwise; they are not built for.)
const (
	readOnly  = 2 << 30
	readWrite = 3 << 30
	gpioMagic = 0xB4 << 8

	getChipInfo = readOnly | uint(unsafe.Sizeof(chipInfo{}))<<16 | gpioMagic | 0x01
	getLineInfo = readWrite | uint(unsafe.Sizeof(lineInfo{}))<<16 | gpioMagic | 0x05
	getLine     = readWrite | uint(unsafe.Sizeof(lineRequest{}))<<16 | gpioMagic | 0x07
	setConfig   = readWrite | uint(unsafe.Sizeof(lineConfig{}))<<16 | gpioMagic | 0x0D
	getValues   = readWrite | uint(unsafe.Sizeof(lineValues{}))<<16 | gpioMagic | 0x0E
	setValues   = readWrite | uint(unsafe.Sizeof(lineValues{}))<<16 | gpioMagic | 0x0F
)

// output is the configuration of one line as an output that is driven to level
// from its first moment on.
func output(high bool) lineConfig {
	c := lineConfig{flags: flagOutput, numAttrs: 1}
	c.attrs[0] = configAttr{attr: lineAttr{id: attrOutputValues, values: bit(high)}, mask: 1}
	return c
}

func bit(high bool) uint64 {
	if high {
		return 1
	}
	return 0
}
