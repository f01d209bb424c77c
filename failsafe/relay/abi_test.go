package relay

import (
	"testing"
	"unsafe"
)

// TestABI holds sizes, offsets and numbers to those that a C compiler gives for
// <linux/gpio.h>, which are the same for 32-bit and 64-bit processes. Run it
// with GOARCH=386 as well, where Go aligns 64-bit fields to 4 octets.
func TestABI(t *testing.T) {
	var (
		chip    chipInfo
		line    lineInfo
		config  lineConfig
		attr    configAttr
		request lineRequest
		values  lineValues
	)
	tests := []struct {
		name      string
		got, want uintptr
	}{
		{"gpiochip_info", unsafe.Sizeof(chip), 68},
		{"gpiochip_info.label", unsafe.Offsetof(chip.label), 32},
		{"gpiochip_info.lines", unsafe.Offsetof(chip.lines), 64},
		{"gpio_v2_line_info", unsafe.Sizeof(line), 256},
		{"gpio_v2_line_info.consumer", unsafe.Offsetof(line.consumer), 32},
		{"gpio_v2_line_info.offset", unsafe.Offsetof(line.offset), 64},
		{"gpio_v2_line_info.num_attrs", unsafe.Offsetof(line.numAttrs), 68},
		{"gpio_v2_line_info.flags", unsafe.Offsetof(line.flags), 72},
		{"gpio_v2_line_info.attrs", unsafe.Offsetof(line.attrs), 80},
		{"gpio_v2_line_attribute", unsafe.Sizeof(attr.attr), 16},
		{"gpio_v2_line_attribute.values", unsafe.Offsetof(attr.attr.values), 8},
		{"gpio_v2_line_config_attribute", unsafe.Sizeof(attr), 24},
		{"gpio_v2_line_config_attribute.mask", unsafe.Offsetof(attr.mask), 16},
		{"gpio_v2_line_config", unsafe.Sizeof(config), 272},
		{"gpio_v2_line_config.num_attrs", unsafe.Offsetof(config.numAttrs), 8},
		{"gpio_v2_line_config.attrs", unsafe.Offsetof(config.attrs), 32},
		{"gpio_v2_line_request", unsafe.Sizeof(request), 592},
		{"gpio_v2_line_request.consumer", unsafe.Offsetof(request.consumer), 256},
		{"gpio_v2_line_request.config", unsafe.Offsetof(request.config), 288},
		{"gpio_v2_line_request.num_lines", unsafe.Offsetof(request.numLines), 560},
		{"gpio_v2_line_request.event_buffer_size", unsafe.Offsetof(request.eventBufferSize), 564},
		{"gpio_v2_line_request.fd", unsafe.Offsetof(request.fd), 588},
		{"gpio_v2_line_values", unsafe.Sizeof(values), 16},
		{"gpio_v2_line_values.mask", unsafe.Offsetof(values.mask), 8},
		{"GPIO_GET_CHIPINFO_IOCTL", uintptr(getChipInfo), 0x8044B401},
		{"GPIO_V2_GET_LINEINFO_IOCTL", uintptr(getLineInfo), 0xC100B405},
		{"GPIO_V2_GET_LINE_IOCTL", uintptr(getLine), 0xC250B407},
		{"GPIO_V2_LINE_SET_CONFIG_IOCTL", uintptr(setConfig), 0xC110B40D},
		{"GPIO_V2_LINE_GET_VALUES_IOCTL", uintptr(getValues), 0xC010B40E},
		{"GPIO_V2_LINE_SET_VALUES_IOCTL", uintptr(setValues), 0xC010B40F},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s = %#x, want %#x", tt.name, tt.got, tt.want)
		}
	}
}
