package spi_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"lvagent/meter/spi"
)

func TestCalibrationFaults(t *testing.T) {
	tests := []struct {
		name, old, new string
		want           string // the start of a fault
	}{
		{"no schema", "schema: 1\n", "", "1: schema: is missing"},
		{"another schema", "schema: 1", "schema: 2", "1: schema: must be 1 to 1, not 2"},
		{"no board", "board: LV9-000123\n", "", "1: board: is missing"},
		{"an empty board", "LV9-000123", `""`, `2: board: must be text, not ""`},
		{"another chip", "chip: ade9000", "chip: ade7880", `3: chip: must be ade9000, not "ade7880"`},
		{"unknown key", "board:", "colour: red\nboard:", "2: colour: unknown key; known here are schema"},
		{"a key twice", "board:", "chip: ade9000\nboard:", "4: chip: is there twice"},
		{"no channels", "channels:\n", "channels: []\nx:\n", "4: channels: there is none"},
		{"channels that are no list", "channels:\n", "channels: 3\nx:\n", `4: channels: must be a list, not "3"`},
		{"a channel that is none", "channel: B", "channel: D", `6: channels[1].channel: must be A, B or C, not "D"`},
		{"a channel twice", "channel: B", "channel: A", "6: channels[1].channel: A is there twice"},
		{"a phase twice", "phase: L2", "phase: L1", "6: channels[1].phase: L1 is there twice"},
		{"a phase that is none", "phase: L2", "phase: L4", `6: channels[1].phase: must be L1, L2 or L3, not "L4"`},
		{"no voltage", "full_scale_v: 500, full_scale_a: 2.5, ct_ratio: 400}\n  - {channel: B", "full_scale_a: 2.5, ct_ratio: 400}\n  - {channel: B", "5: channels[0].full_scale_v: is missing"},
		{"a word for a number", "ct_ratio: 400}\nneutral", "ct_ratio: many}\nneutral", `7: channels[2].ct_ratio: must be a number, not "many"`},
		{"not a number", "ct_ratio: 400}\nneutral", "ct_ratio: .nan}\nneutral", "7: channels[2].ct_ratio: must be a number"},
		{"infinite", "ct_ratio: 400}\nneutral", "ct_ratio: Inf}\nneutral", "7: channels[2].ct_ratio: must be a number"},
		{"a ratio that was forgotten", "ct_ratio: 400}\nneutral", "ct_ratio: 0.1}\nneutral", "7: channels[2]: full scale is 0.25 A on the primary side"},
		{"a ratio that was applied twice", "ct_ratio: 400}\nneutral", "ct_ratio: 40001}\nneutral", "7: channels[2]: full scale is 1e+05 A on the primary side"},
		{"a gain of nothing", "ct_ratio: 400}\nneutral", "gain_v: 0}\nneutral", "7: channels[2].gain_v: must be 0.5 to 2, not 0"},
		{"half a step of phase", "ct_ratio: 400}\nneutral", "phase_cal: 0.5, ct_ratio: 400}\nneutral", "7: channels[2].phase_cal: must be a whole number, not 0.5"},
		{"a truth that is none", "ct_ratio: 400}\nneutral", "invert: 1, ct_ratio: 400}\nneutral", `7: channels[2].invert: must be true or false, not "1"`},
		{"a board that clips the nominal voltage", "phase: L3, full_scale_v: 500", "phase: L3, full_scale_v: 230", "7: channels: channel C is at full scale at 230.0 V, below the swell of 253.0 V"},
		{"a board for other voltages", "phase: L3, full_scale_v: 500", "phase: L3, full_scale_v: 4000", "7: channels: channel C is at full scale at 4000.0 V, more than 10 times"},
		{"a version with more in it", "chip: ade9000", "chip: ade9000\nversion: 0xc1", "4: version: the lowest six bits"},
		{"a version in octal", "chip: ade9000", "chip: ade9000\nversion: 010", "4: version: must be a whole number"},
		{"a frequency in between", "chip: ade9000", "chip: ade9000\nfrequency: 55", "4: frequency: must be 50 or 60, not 55"},
		{"a dip above the nominal", "chip: ade9000", "chip: ade9000\ndip: 1.2", "4: dip: must be 0.1 to 0.99"},
		{"no current of the neutral", "neutral: {full_scale_a: 2.5, ", "neutral: {", "8: neutral.full_scale_a: is missing"},
		{"a neutral that is a number", "neutral: {full_scale_a: 2.5, ct_ratio: 400}", "neutral: 3", `8: neutral: must have keys, not be "3"`},
		{"a second document", "neutral:", "---\nneutral:", "8: a second document"},
		{"an alias", "board: LV9-000123", "board: &a LV9\nversion: *a", "3: version: must be a whole number, not an alias"},
		{"no yaml", "schema: 1", "schema: [1", "1: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(calibration, tt.old, tt.new, 1)
			if text == calibration {
				t.Fatal("nothing was changed")
			}
			c, faults := spi.ParseCalibration([]byte(text))
			if c != nil {
				t.Error("there is a calibration all the same")
			}
			for _, f := range faults {
				if strings.HasPrefix(f.String(), tt.want) {
					return
				}
			}
			t.Errorf("faults = %v, want one that starts with %q", faults, tt.want)
		})
	}
	if _, faults := spi.ParseCalibration(nil); len(faults) != 1 || faults[0].String() != "1: the file is empty" {
		t.Errorf("nothing: %v", faults)
	}
	if _, faults := spi.ParseCalibration(make([]byte, 1<<20)); len(faults) != 1 {
		t.Errorf("a megabyte: %v", faults)
	}
	both := strings.NewReplacer("board: LV9-000123", "board: ''", "phase: L2", "phase: L9").Replace(calibration)
	if _, faults := spi.ParseCalibration([]byte(both)); len(faults) != 2 {
		t.Errorf("two faults: %v", faults)
	}
}

// The files in testdata were made by the commands in docs/spi.md.
func TestASignatureOfOpenSSL(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	key, err := spi.ParseKey(read("board-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	text, signature := read("board.yaml"), read(spi.SignatureOf("board.yaml"))
	if err := spi.CheckSignature(text, signature, key); err != nil {
		t.Error(err)
	}
	if _, faults := spi.ParseCalibration(text); len(faults) > 0 {
		t.Error(faults)
	}
	for i := range text {
		text[i] ^= 1
		if spi.CheckSignature(text, signature, key) == nil {
			t.Fatalf("octet %d was changed and is signed all the same", i)
		}
		text[i] ^= 1
	}
	if err := spi.CheckSignature(text, signature[:63], key); err == nil || !strings.Contains(err.Error(), "63 octets") {
		t.Errorf("a short signature: %v", err)
	}
}

func TestKeysThatAreNone(t *testing.T) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":       "",
		"no key":        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		"a private key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
		"an RSA key":    rsaKey,
	} {
		if _, err := spi.ParseKey([]byte(text)); err == nil {
			t.Errorf("%s is a key", name)
		}
	}
}

const rsaKey = `-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDUn8WwT6NgUtUAxcrS1N+0b4wO
Q+V9RzGovCVDyBh9QpXPbLMZkCS/5/lawJ//HMnIAlM6bzEY4lN6drJiCXHtEfiB
x23470ZobEpQFbT8ivrzNyI10DGgHBTMfzmcYjTAaXweCJWCOCJKRbwxo1No90YF
rXvtr1ztLO+hGJHTUwIDAQAB
-----END PUBLIC KEY-----
`
