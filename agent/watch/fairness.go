package watch

import "fmt"

// fairness says what was withheld from charging groups on a day: from how many,
// and from which most.
func fairness(o object) string {
	groups := o.list("groups")
	most, name, some := -1.0, "", 0
	for i := range groups {
		g := groups.at(i)
		share, _ := g.number("share_percent")
		if share > 0 {
			some++
		}
		if share > most {
			most, name = share, g.text("group")
		}
	}
	if some == 0 {
		return fmt.Sprintf("%s: nothing withheld from %d charging groups", o.text("date"), len(groups))
	}
	return fmt.Sprintf("%s: something withheld from %d of %d charging groups, most from %s (%.1f %%)", o.text("date"), some, len(groups), name, most)
}
