package configs

import (
	"strings"
	"testing"
	"time"

	"lvagent/meter"
	"lvagent/meter/loading"
)

func TestLoading(t *testing.T) {
	text := strings.Replace(good, "meter: m3, rating_a: 300}", `meter: m3, rating_a: 300, sustained_a: {summer: 250, winter: 320}, cyclic_a: 350,
     fuse: {rating_a: 315, derating: 0.8, curve: [{multiple: 1.6, time: 4h}, {multiple: 3, time: 30s}]}}`, 1)
	c, _, faults := Parse("site.yaml", []byte(text))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	l := c.Loading(&c.Ways[0])
	if got := [...]meter.Milliamps{l.Sustained[loading.Summer][1], l.Sustained[loading.Mid][1], l.Sustained[loading.Winter][1]}; got != [...]meter.Milliamps{250_000, 300_000, 320_000} {
		t.Errorf("sustained %v", got)
	}
	if l.Fuse == nil || l.Fuse.Carry != 252_000 || len(l.Fuse.Curve) != 2 || l.Fuse.Curve[0] != (loading.Melting{Multiple: 1_600_000, Time: 4 * time.Hour}) || l.Fuse.Tau != 30 {
		t.Errorf("fuse %+v", l.Fuse)
	}
	if l.Cyclic != 350_000 || l.CyclicLoss != 500_000 || l.Cable.Tau != 120 {
		t.Errorf("%+v", l)
	}
	other := c.Loading(&c.Ways[1])
	if other.Fuse != nil || other.Sustained[loading.Winter] != [meter.Phases]meter.Milliamps{200_000, 250_000, 300_000} {
		t.Errorf("a way without details: %+v", other)
	}
	tx := c.TransformerLoading("TX", time.Second)
	if *tx.Transformer != loading.Distribution(tx.Transformer.Rated) || tx.Transformer.Rated != 695_602 || tx.Firm != 500_000_000 || tx.Ambient[0] != 7_000 {
		t.Errorf("transformer %+v %+v", *tx.Transformer, tx)
	}
}

func TestFaultsOfLoading(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"busbar offset", "transformer_kva: 500", "transformer_kva: 500, busbar_offset_v: 31", "1: site.busbar_offset_v: must be 0 to 30"},
		{"months", "transformer_kva: 500", "transformer_kva: 500, transformer: {ambient_c: [1, 2]}", "1: site.transformer.ambient_c: must have twelve"},
		{"a temperature", "transformer_kva: 500", "transformer_kva: 500, transformer: {hot_spot_c: 20}", "1: site.transformer.hot_spot_c: must be 80 to 180"},
		{"part of a minute", "transformer_kva: 500", "transformer_kva: 500, transformer: {oil_tau: 90m30s}", "1: site.transformer.oil_tau: must be whole minutes"},
		{"season", "rating_a: 300}", "rating_a: 300, sustained_a: {autumn: 3}}", "6: ways[0].sustained_a.autumn: unknown key"},
		{"generation", "rating_a: 300}", "rating_a: 300, generation: solar}", "6: ways[0].generation: must be unknown or none or some"},
		{"negative", "rating_a: 300}", "rating_a: 300, cyclic_a: -1}", "6: ways[0].cyclic_a: must be 0 to"},
		{"derating in percent", "rating_a: 300}", "rating_a: 300, fuse: {derating: 90}}", "6: ways[0].fuse.derating: must be 0.3 to 1"},
		{"a curve that rises", "rating_a: 300}", "rating_a: 300, fuse: {curve: [{multiple: 2, time: 1s}, {multiple: 3, time: 2s}]}}", "6: ways[0].fuse.curve[1].multiple: a larger current must melt sooner"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, faults := Parse("site.yaml", []byte(strings.Replace(good, tt.old, tt.new, 1)))
			if len(faults) != 1 || !strings.HasPrefix(faults[0].String(), "site.yaml:"+tt.want) {
				t.Errorf("faults = %q, want %q", faults, tt.want)
			}
		})
	}
}
