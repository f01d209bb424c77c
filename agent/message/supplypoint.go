package message

import "fmt"

// mpanPrimes weigh the first twelve digits of a supply point's number; 11 is left
// out. Their sum modulo 11, and that modulo 10, is the thirteenth digit.
var mpanPrimes = [...]int{3, 5, 7, 13, 17, 19, 23, 29, 31, 37, 41, 43}

// ValidMPAN reports whether text is the core of a supply point's number (MPAN):
// thirteen digits of which the last checks the others.
func ValidMPAN(text string) bool {
	if len(text) != len(mpanPrimes)+1 {
		return false
	}
	sum := 0
	for i, weight := range mpanPrimes {
		if !isDigit(text[i]) {
			return false
		}
		sum += int(text[i]-'0') * weight
	}
	return int(text[len(mpanPrimes)]) == '0'+sum%11%10
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// supplyPoints reads a list of different supply points' numbers. They are personal
// data: what is wrong with one is said without it.
func (f *fields) supplyPoints(key string) []string {
	v, _ := f.get(key, required)
	list, ok := v.([]any)
	if !ok || len(list) == 0 || len(list) > maxTargets {
		f.wrong(key, "not a list of 1 to %d supply points", maxTargets)
		return nil
	}
	numbers := make([]string, 0, len(list))
	seen := make(map[string]bool, len(list))
	for i, e := range list {
		s, _ := e.(string)
		switch {
		case !ValidMPAN(s):
			f.wrong(key, "element %d is not 13 digits of which the last checks the others", i)
			return nil
		case seen[s]:
			f.wrong(key, "element %d comes twice", i)
			return nil
		}
		seen[s] = true
		numbers = append(numbers, s)
	}
	return numbers
}

// nameless refuses a way or a group that is called by a supply point's number:
// names are repeated in answers, records and logs.
func (f *fields) nameless(key string, names ...string) {
	for _, name := range names {
		if ValidMPAN(name) {
			f.wrong(key, "a supply point's number is no name; it belongs in mpans")
		}
	}
}

// withoutNumbers takes out of a text for people what may be a supply point's
// number, wherever somebody put it.
func withoutNumbers(text string) string {
	out := []byte(nil)
	for i := 0; i < len(text); {
		n := 0
		for i+n < len(text) && isDigit(text[i+n]) {
			n++
		}
		if n > len(mpanPrimes) {
			out = append(out, fmt.Sprintf("(%d digits)", n)...)
		} else {
			n = max(n, 1)
			out = append(out, text[i:i+n]...)
		}
		i += n
	}
	return string(out)
}
