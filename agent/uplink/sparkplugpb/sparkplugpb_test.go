package sparkplugpb

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGeneratedIsCurrent makes the generated file anew and compares. A protoc of
// another version writes itself into the head, which is not compared.
func TestGeneratedIsCurrent(t *testing.T) {
	if _, err := exec.LookPath("protoc"); err != nil {
		t.Fatal("no protoc: .ci/install protoc")
	}
	folder := t.TempDir()
	plugin := filepath.Join(folder, "protoc-gen-go")
	root := filepath.Join("..", "..", "..")
	run := func(dir, name string, args ...string) {
		t.Helper()
		c := exec.Command(name, args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	run(root, "go", "build", "-modfile=packaging/tools/go.mod", "-o", plugin, "google.golang.org/protobuf/cmd/protoc-gen-go")
	run(".", "protoc", "--plugin=protoc-gen-go="+plugin, "--go_out="+folder, "--go_opt=paths=source_relative", "sparkplug_b.proto")
	made, err := os.ReadFile(filepath.Join(folder, "sparkplug_b.pb.go"))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile("sparkplug_b.pb.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(body(made), body(kept)) {
		t.Error("sparkplug_b.pb.go is not what sparkplug_b.proto says; run make generate")
	}
}

// body is a generated file from its package clause on.
func body(text []byte) []byte { return text[max(bytes.Index(text, []byte("\npackage ")), 0):] }

func TestParseIsBounded(t *testing.T) {
	many := new(Payload)
	for range Command.Metrics + 1 {
		many.Metrics = append(many.Metrics, new(Metric))
	}
	b, err := Append(nil, many)
	if err != nil {
		t.Fatal(err)
	}
	for name, payload := range map[string][]byte{"metrics": b, "octets": make([]byte, Command.Octets+1)} {
		if _, err := Parse(payload, Command); !errors.Is(err, ErrTooLarge) {
			t.Errorf("too many %s: %v", name, err)
		}
	}
	if _, err := Parse([]byte{0xff}, Publication); err == nil {
		t.Error("garbage was read")
	}
}
