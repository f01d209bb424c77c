package outbox

import (
	"bytes"
	"strings"
	"testing"
)

func TestPack(t *testing.T) {
	var p packer
	for _, value := range [][]byte{{}, []byte("x"), bytes.Repeat([]byte("y"), worthIt), []byte(strings.Repeat(`{"Sum":1,"Weight":2}`, 5000)), []byte("again")} {
		packed := p.pack(value)
		got, err := unpack(packed)
		if err != nil || !bytes.Equal(got, value) {
			t.Errorf("%d octets came back as %d, %v", len(value), len(got), err)
		}
		if len(value) > 10_000 && len(packed) > len(value)/10 {
			t.Errorf("%d octets are packed into %d", len(value), len(packed))
		}
	}
	if got, err := unpack(p.pack(nil)); got != nil || err != nil {
		t.Errorf("nothing came back as %q, %v", got, err)
	}
}

func FuzzUnpack(f *testing.F) {
	var p packer
	f.Add(p.pack(bytes.Repeat([]byte("y"), worthIt)))
	f.Add([]byte{})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, stored []byte) {
		value, err := unpack(stored)
		if err == nil && len(value) > mostUnpacked {
			t.Errorf("%d octets of %d", len(value), len(stored))
		}
	})
}
