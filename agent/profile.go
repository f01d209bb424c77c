package agent

import (
	"fmt"
	"path"
	"strings"

	"lvagent/configs"
	"lvagent/meter/modbus"
)

// Profile reads a meter profile: a shipped one by its id, or a file, whose name
// ends in .yaml and counts from folder. It returns every fault of it; without a
// file there is none of that name.
func Profile(name, folder string) (p *modbus.Profile, file string, faults []configs.Fault) {
	var text []byte
	var err error
	if strings.HasSuffix(name, ".yaml") {
		file = beside(folder, name)
		text, err = readFile(file)
	} else {
		file = "meters/" + name + ".yaml"
		text, err = configs.Profiles.ReadFile(path.Clean(file))
		if err != nil {
			err = fmt.Errorf("there is no shipped profile %q; shipped are %s", name, strings.Join(configs.ProfileIDs(), ", "))
		}
	}
	if err != nil {
		return nil, "", []configs.Fault{{File: name, Message: err.Error()}}
	}
	p, wrong := modbus.ParseProfile(text)
	for _, f := range wrong {
		faults = append(faults, configs.Fault{File: file, Line: f.Line, Path: f.Path, Message: f.Message})
	}
	return p, file, faults
}
