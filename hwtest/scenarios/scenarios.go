// Package scenarios holds the scenarios that come with the bench, by theme. Each
// is named after the promise that it proves.
//
// Requirements: those that each file names.
package scenarios

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"lvagent/hwtest/scenario"
)

//go:embed */*.yaml
var files embed.FS

// All returns the scenarios in order of their names. A fault in one is a fault
// of this program.
func All() (all []*scenario.Scenario, faults []scenario.Fault) {
	names, err := fs.Glob(files, "*/*.yaml")
	if err != nil {
		return nil, []scenario.Fault{{File: "hwtest/scenarios", Message: err.Error()}}
	}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			faults = append(faults, scenario.Fault{File: name, Message: fmt.Sprint(err)})
			continue
		}
		s, f := scenario.Parse("hwtest/scenarios/"+name, text)
		s.Name = strings.TrimSuffix(name, ".yaml")
		all, faults = append(all, s), append(faults, f...)
	}
	return all, faults
}
