// Sbom prints what a Go binary is made of as a CycloneDX 1.5 document: the
// modules that the linker put into it, with their versions and checksums, read
// from the binary itself and not from what the sources say it should contain.
//
//	go run ./packaging/sbom BINARY > BINARY.cdx.json
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
)

type document struct {
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Version    int         `json:"version"`
	Metadata   metadata    `json:"metadata"`
	Components []component `json:"components"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref,omitempty"`
	Name       string     `json:"name"`
	Version    string     `json:"version,omitempty"`
	PURL       string     `json:"purl,omitempty"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: sbom BINARY")
		os.Exit(2)
	}
	doc, err := describe(os.Args[1])
	if err != nil {
		fmt.Fprintf(os.Stderr, "sbom: %v\n", err)
		os.Exit(1)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	if err := out.Encode(doc); err != nil {
		fmt.Fprintf(os.Stderr, "sbom: %v\n", err)
		os.Exit(1)
	}
}

func describe(binary string) (*document, error) {
	made, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	octets, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(octets)
	self := component{
		Type: "application", Ref: made.Main.Path, Name: filepath.Base(binary), Version: os.Getenv("VERSION"),
		Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}},
	}
	for _, s := range made.Settings {
		switch s.Key {
		case "GOOS", "GOARCH", "GOARM", "CGO_ENABLED", "-trimpath":
			self.Properties = append(self.Properties, property{"go:" + s.Key, s.Value})
		}
	}
	doc := &document{Format: "CycloneDX", Spec: "1.5", Version: 1, Metadata: metadata{self}}
	doc.Components = append(doc.Components, library("std", made.GoVersion, "pkg:golang/std@"+made.GoVersion[len("go"):], ""))
	for _, m := range made.Deps {
		doc.Components = append(doc.Components, module(m))
	}
	return doc, nil
}

func module(m *debug.Module) component {
	if m.Replace != nil {
		m = m.Replace
	}
	return library(m.Path, m.Version, "pkg:golang/"+m.Path+"@"+m.Version, m.Sum)
}

// library gives the checksum of go.sum as a property: it is not one of a file.
func library(name, version, purl, sum string) component {
	c := component{Type: "library", Ref: purl, Name: name, Version: version, PURL: purl}
	if sum != "" {
		c.Properties = []property{{"go:sum", sum}}
	}
	return c
}
