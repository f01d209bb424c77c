package failsafe

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Who asks why current was withheld gets a reason: each rule that there is has
// one, and "other" is left to what withholds nothing.
func TestEachRuleHasAReason(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?m)Rule\w+ +Rule = "(.+)"$`)
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range named.FindAllStringSubmatch(string(text), -1) {
			found++
			if got := Rule(rule[1]).reason(); (got == ByOther) != (Rule(rule[1]) == RuleRating) {
				t.Errorf("%q is accounted as %v", rule[1], got)
			}
		}
	}
	if found < 20 {
		t.Errorf("%d rules found", found)
	}
	for rule, want := range map[Rule]string{RuleTurn: "turn", RuleLocal: "local", RuleInhibit: "inhibit", RuleSchedule: "schedule", RuleLockout: "lockout"} {
		if got := rule.reason().String(); got != want {
			t.Errorf("%q is accounted as %s, want %s", rule, got, want)
		}
	}
	if all := Reasons(); all[len(all)-1] != ByOther || len(all) != len(Account{}.By) {
		t.Errorf("reasons %v", all)
	}
}

// What an input or the switch withholds is accounted as that, and all that is
// withheld has a reason.
func TestWithheldOnSiteIsAccountedAsThat(t *testing.T) {
	x := newSite(t, testConfig())
	x.free()
	before := x.group("G1").Total
	x.inhibits = []string{"G1"}
	x.run(10*m, true)
	x.inhibits, x.at = nil, Local
	x.run(10*m, true)
	a := x.group("G1").Total.Since(before)
	if a.By[ByInhibit].Limited != (10*m).Milliseconds() || a.By[ByLocal].Limited != (10*m-s).Milliseconds() || a.By[ByOther].Limited != 0 {
		t.Errorf("accounted %+v", a)
	}
}
