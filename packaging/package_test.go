//go:build packaging

// Package packaging_test builds the packages and installs one, as root on Debian:
//
//	go test -tags packaging -count=1 -v ./packaging
package packaging_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lvagent/hwtest/bench"
)

// run runs a program and returns what it printed; a failure ends the test.
func run(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// build makes the packages of the commit that is checked out, in a clone of its own.
func build(t *testing.T) (dist string) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "lvagent")
	run(t, ".", "git", "clone", "-q", "--no-local", "..", folder)
	run(t, folder, "make", "deb")
	return filepath.Join(folder, "dist")
}

func TestPackages(t *testing.T) {
	dist := build(t)

	t.Run("two builds are equal", func(t *testing.T) {
		again := build(t)
		one, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(filepath.Join(again, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, two) {
			t.Errorf("built twice:\n%s\n%s", one, two)
		}
		if n := bytes.Count(one, []byte(".deb\n")); n != 3 {
			t.Errorf("%d packages in %s, want 3", n, one)
		}
	})
	t.Run("lintian finds nothing", func(t *testing.T) {
		debs, err := filepath.Glob(filepath.Join(dist, "*.deb"))
		if err != nil {
			t.Fatal(err)
		}
		t.Log(run(t, ".", "lintian", append([]string{"--allow-root", "--fail-on", "error,warning"}, debs...)...))
	})
	t.Run("the bill of materials is the binary's", func(t *testing.T) {
		file := only(t, dist, "*_armhf.cdx.json")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Format     string `json:"bomFormat"`
			Components []struct{ Name, Version, PURL string }
		}
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		has := map[string]bool{}
		for _, c := range doc.Components {
			if c.Version == "" || !strings.HasPrefix(c.PURL, "pkg:golang/") {
				t.Errorf("%+v has no version or address", c)
			}
			has[c.Name] = true
		}
		for _, name := range []string{"std", "go.etcd.io/bbolt", "github.com/eclipse/paho.mqtt.golang"} {
			if !has[name] {
				t.Errorf("%s does not name %s", file, name)
			}
		}
	})
	t.Run("installed, it measures and publishes as its own user", func(t *testing.T) {
		install(t, only(t, dist, "*_amd64.deb"))
	})
}

func only(t *testing.T, folder, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s in %s: %v, %v; want one file", pattern, folder, found, err)
	}
	return found[0]
}

// install puts the package into a Debian tree of its own, runs the agent in it
// as the unit's user, and waits for what it measures.
func install(t *testing.T, deb string) {
	tree := filepath.Join(t.TempDir(), "root")
	run(t, ".", "mmdebstrap", "--quiet", "--variant=essential",
		"--include=systemd,procps", "bookworm", tree)
	run(t, ".", "mount", "-t", "proc", "proc", filepath.Join(tree, "proc"))
	defer run(t, ".", "umount", filepath.Join(tree, "proc"))
	unit := "/lib/systemd/system/lvagent.service"

	world := bench.NewWorld(1)
	meters, err := bench.StartMeters(world)
	if err != nil {
		t.Fatal(err)
	}
	defer meters.Close()
	meters.Step(0, 0.4)
	broker, err := bench.StartBroker()
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	centre, err := bench.JoinCentre(broker.Addr(), "bench-1", "scada-1")
	if err != nil {
		t.Fatal(err)
	}
	defer centre.Close()

	site := bench.Site{
		Agent: "bench-1", Store: "/var/lib/lvagent", Meters: meters.URL(), Broker: broker.Addr(), Issuer: "scada-1",
		Window: 10 * time.Second, Timers: bench.Timers{HeartbeatPeriod: time.Second, HeartbeatTimeout: 4 * time.Second,
			Stable: 3 * time.Second, Init: 6 * time.Second, RestorePeriod: 4 * time.Second, BackoffMax: time.Second},
	}
	text, err := site.File(world)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(tree, "etc/lvagent"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "etc/lvagent/site.yaml"), text, 0o644); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	run(t, ".", "cp", deb, filepath.Join(tree, "lvagent.deb"))
	t.Log(run(t, ".", "chroot", tree, "dpkg", "--install", "/lvagent.deb"))

	run(t, ".", "systemd-analyze", "verify", "--man=no", "--root="+tree, unit)
	run(t, ".", "systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", filepath.Join(tree, unit))
	for _, file := range []string{"usr/share/man/man1/lvagent-run.1.gz", "usr/share/bash-completion/completions/lvagent"} {
		if _, err := os.Stat(filepath.Join(tree, file)); err != nil {
			t.Error(err)
		}
	}

	var log bytes.Buffer
	cmd := exec.Command("chroot", "--userspec=lvagent:lvagent", tree, "/usr/bin/lvagent", "run", "--config", "/etc/lvagent/site.yaml")
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Errorf("the agent ended with %v\n%s", err, log.String())
		}
	}()
	heard := map[string]int{}
	load := time.NewTicker(500 * time.Millisecond) // what stands still is held for frozen
	defer load.Stop()
	for deadline := time.After(time.Minute); ; {
		select {
		case <-load.C:
			meters.Step(meters.Now(), 0.4)
		case m := <-centre.Heard():
			heard[m.Topic]++
			var r struct {
				L1 struct{ V struct{ Mean *float64 } }
			}
			if !strings.HasPrefix(m.Topic, "up/hh/W") || json.Unmarshal(m.Payload, &r) != nil || r.L1.V.Mean == nil {
				continue
			}
			t.Logf("%v from dpkg to the first record at the broker: %s", time.Since(began).Round(10*time.Millisecond), m.Payload)
			return
		case err := <-ended:
			ended <- err
			t.Fatalf("the agent ended: %v\n%s", err, log.String())
		case <-deadline:
			cmd.Process.Signal(syscall.SIGTERM)
			t.Fatalf("no record within a minute; heard %v\n%s", heard, log.String())
		}
	}
}
