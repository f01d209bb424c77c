package uplinktest

import "testing"

func TestFilters(t *testing.T) {
	tests := []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a/b/c", false},
		{"a/b/c", "a/b", false},
		{"a/#", "a/b/c", true},
		{"a/#", "a", true}, // the parent too: MQTT 3.1.1, 4.7.1.2
		{"a/+", "a/b", true},
		{"a/+", "a/b/c", false},
		{"a/+/c", "a/b/c", true},
		{"#", "a/b", true},
		{"b/#", "a/b", false},
	}
	for _, tt := range tests {
		if got := matches(tt.filter, tt.topic); got != tt.want {
			t.Errorf("%q takes %q: %t, want %t", tt.filter, tt.topic, got, tt.want)
		}
	}
}
