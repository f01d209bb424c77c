package spi

// register is the address of a register of the ADE9000. Addresses and bits are
// those of its Technical Reference Manual UG-1098 and of public register
// headers; docs/spi.md says which came from where.
type register uint16

const (
	regConfig0  register = 0x060
	regDICoeff  register = 0x072
	regStatus0  register = 0x402
	regStatus1  register = 0x403
	regMask0    register = 0x405
	regMask1    register = 0x406
	regVLevel   register = 0x40F
	regDipLevel register = 0x410
	regSwell    register = 0x414
	regPeriod   register = 0x41B // of the three voltages together
	regLast32   register = 0x423
	regRun      register = 0x480
	regConfig1  register = 0x481
	regDipCyc   register = 0x48B
	regSwellCyc register = 0x48C
	regAccMode  register = 0x492
	regConfig3  register = 0x493
	regZeroX    register = 0x49A
	regChecksum register = 0x4A8
	regCRC      register = 0x4A9
	regLast16   register = 0x4AC
	regLastCmd  register = 0x4AE
	regConfig2  register = 0x4AF
	regEPConfig register = 0x4B0
	regForceCRC register = 0x4B4
	regGain     register = 0x4B9
	regLock     register = 0x4BF
	regVersion  register = 0x4FE
	regNeutral  register = 0x268 // rms of ten or twelve cycles

	// Of channel A; B and C lie one and two strides further.
	regPhaseCal register = 0x006
	regWatt     register = 0x210
	regVar      register = 0x211
	regVTHD     register = 0x217
	regITHD     register = 0x218
	regIRMS     register = 0x21B // of ten or twelve cycles
	regVRMS     register = 0x21C // of ten or twelve cycles
	stride      register = 0x20
)

// Bits of STATUS0 and STATUS1. Writing a 1 clears one.
const (
	bitReady = 1 << 20 // STATUS0: the values of ten or twelve cycles are new

	bitSwells    = 7 << 20
	bitDips      = 7 << 23
	bitReset     = 1 << 16 // the chip has come up from a reset
	bitChanged   = 1 << 26 // the configuration is not what it was
	bitCRCDone   = 1 << 27
	bitFatal     = 1<<28 | 1<<29 | 1<<31 // ERROR0, 1 and 3; 2 is corrected
	bitsRestart  = bitReset | bitChanged | bitFatal
	bitSoftReset = 1 // of CONFIG1

	unlockKey = 0x4AD1 // into WR_LOCK
)

// Codes at full scale (UG-1098 table 8).
const (
	fullRMS  = 52_702_092
	fullWatt = 20_694_066
	oneTHD   = 1 << 27
)

// size is how many octets the register has on the wire.
func (r register) size() int {
	if r >= regRun && r <= regVersion {
		return 2
	}
	return 4
}

// setting is a register with what it has to hold.
type setting struct {
	reg   register
	value uint32
}
