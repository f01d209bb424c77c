package message

import (
	"strings"
	"testing"
)

func TestCheckDigit(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       bool
	}{
		{"one", "2012345678906", true},
		{"another", "1012345678903", true},
		{"a sum of 10 modulo 11 is checked by 0", "1099999900080", true},
		{"one digit wrong", "2012345678806", false},
		{"two digits changed places", "2021345678906", false},
		{"check digit wrong", "2012345678907", false},
		{"12 digits", "201234567890", false},
		{"14 digits", "20123456789060", false},
		{"a letter", "2O12345678906", false},
		{"a letter in place of the check digit", "201234567890A", false},
		{"digits of another script", "20123456789٦", false},
		{"spaces", "20 1234 5678 906", false},
		{"empty", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ValidMPAN(tt.text); got != tt.want {
				t.Errorf("= %v, want %v", got, tt.want)
			}
		})
	}
	// Whatever digit is wrong, it is noticed.
	const good = "2012345678906"
	for i := range good {
		for d := byte('0'); d <= '9'; d++ {
			if wrong := good[:i] + string(d) + good[i+1:]; wrong != good && ValidMPAN(wrong) {
				t.Errorf("%s is taken for a number", wrong)
			}
		}
	}
}

// No answer to a command repeats a supply point's number, wherever it stood.
func TestRefusalsRepeatNoNumber(t *testing.T) {
	const number = "2012345678906"
	for name, payload := range map[string]string{
		"as it should be, but twice":    `{` + headText + `,"class":"network","target":{"mpans":["` + number + `","` + number + `"]},"start_in":"0s","limit":"none"}`,
		"with a wrong check digit":      `{` + headText + `,"class":"network","target":{"mpans":["2012345678907"]},"start_in":"0s","limit":"none"}`,
		"as a number":                   `{` + headText + `,"class":"network","target":{"mpans":[` + number + `]},"start_in":"0s","limit":"none"}`,
		"as a group":                    `{` + headText + `,"class":"network","target":{"groups":["` + number + `"]},"start_in":"0s","limit":"none"}`,
		"as a way":                      `{` + headText + `,"class":"network","target":{"way":"` + number + `"},"start_in":"0s","limit":"none"}`,
		"as a phase":                    `{` + headText + `,"class":"network","target":{"way":"W3","phases":["` + number + `"]},"start_in":"0s","limit":"none"}`,
		"as a class":                    `{` + headText + `,"class":"` + number + `","target":{"way":"W3"},"start_in":"0s","limit":"none"}`,
		"as a limit":                    `{` + headText + `,"class":"network","target":{"way":"W3"},"start_in":"0s","limit":{"amps":` + number + `}}`,
		"as a duration":                 `{` + headText + `,"class":"network","target":{"way":"W3"},"start_in":"` + number + `","limit":"none"}`,
		"as a key that comes twice":     `{"` + number + `":1,"` + number + `":2}`,
		"as a sequence":                 `{"id":"c","issuer":"i","epoch":1,"seq":` + number + number + `}`,
		"with the digits before a core": `{` + headText + `,"class":"018011002012345678906","target":{"way":"W3"},"start_in":"0s","limit":"none"}`,
	} {
		_, r := Decode("lv/v1/a/cmd/limit", []byte(payload), false)
		if r == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(r.Detail, "12345678") {
			t.Errorf("%s: answered %s", name, r.Detail)
		}
	}
}
