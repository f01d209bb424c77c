package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"lvagent/agent/message"
)

func TestSchemaMessages(t *testing.T) {
	code, list, _ := invoke("schema", "messages")
	if code != 0 {
		t.Fatalf("exit %d", code)
	}
	for _, s := range message.Schemas() {
		if !strings.Contains("\n"+list, "\n"+s.Name+" ") {
			t.Errorf("%s is not listed", s.Name)
		}
		for _, args := range [][]string{{"schema", "messages", s.Name}, {"schema", "messages", "--strict", s.Name}} {
			code, out, _ := invoke(args...)
			var doc struct{ Title string }
			if err := json.Unmarshal([]byte(out), &doc); err != nil || code != 0 || doc.Title != s.Name {
				t.Errorf("%v: exit %d, title %q, %v", args, code, doc.Title, err)
			}
		}
	}
	if code, _, errs := invoke("schema", "messages", "nothing"); code != 1 || !strings.Contains(errs, `"nothing": there is none`) {
		t.Errorf("exit %d: %s", code, errs)
	}
}
