package play

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"lvagent/hwtest/scenario"
)

// Watcher hears how a run goes on. Its methods are called by several goroutines,
// one call at a time.
type Watcher interface {
	Said(name, what string)
	Ended(r *Result)
}

// Check finds every fault of scenarios on a rig, before anything starts.
func Check(rig *Rig, all []*scenario.Scenario) (faults []scenario.Fault, err error) {
	for _, s := range all {
		f, err := rig.checkScenario(s)
		if err != nil {
			return faults, err
		}
		faults = append(faults, f...)
	}
	return faults, nil
}

// CheckSites has the agent itself look at the site file of each scenario, with
// placeholders for addresses.
func CheckSites(ctx context.Context, rig *Rig, all []*scenario.Scenario) (faults []scenario.Fault, err error) {
	folder, err := os.MkdirTemp("", "lvbench-check-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(folder)
	for i, s := range all {
		tree, err := merged(s.Given.Site)
		if err != nil {
			return nil, err
		}
		st, err := readSite(tree)
		if err != nil {
			return nil, err
		}
		w := wires{agent: "bench", store: folder, broker: "127.0.0.1:1", actuators: "tcp://127.0.0.1:2", meters: map[string]string{}}
		for j, m := range entries(tree, "meters") {
			w.meters[text(m, "id")] = fmt.Sprintf("tcp://127.0.0.1:%d", 10+j)
		}
		if needsDNP3(s) {
			w.dnp3 = "127.0.0.1:3"
		}
		st.connect(w)
		octets, err := st.file()
		if err != nil {
			return nil, err
		}
		file := filepath.Join(folder, fmt.Sprintf("site-%d.yaml", i))
		if err := os.WriteFile(file, octets, 0o600); err != nil {
			return nil, err
		}
		if out, err := rig.command(ctx, "check", file).CombinedOutput(); err != nil {
			faults = append(faults, scenario.Fault{File: s.File, Path: "given.site",
				Message: strings.ReplaceAll(strings.TrimSpace(string(out)), file, "the site file")})
		}
	}
	return faults, nil
}

// Run plays scenarios, as many at a time as the rig says, and returns their
// results in the same order. The evidence of each is in a folder of its own.
func Run(ctx context.Context, rig *Rig, all []*scenario.Scenario, folder string, to Watcher) ([]*Result, error) {
	results := make([]*Result, len(all))
	var mu sync.Mutex
	var wg sync.WaitGroup
	free := make(chan struct{}, cmp.Or(rig.Parallel, 1))
	for i, s := range all {
		dir := filepath.Join(folder, strings.ReplaceAll(s.Name, "/", "-"))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make a folder for the evidence: %w", err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			return nil, fmt.Errorf("the evidence of %s needs an empty folder: %s", s.Name, dir)
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			free <- struct{}{}
			defer func() { <-free }()
			say := func(text string) {
				mu.Lock()
				defer mu.Unlock()
				to.Said(s.Name, text)
			}
			r := Play(ctx, rig, s, fmt.Sprintf("bench-%d", i+1), dir, say)
			mu.Lock()
			defer mu.Unlock()
			results[i] = r
			to.Ended(r)
		}()
	}
	wg.Wait()
	return results, nil
}
