package message

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"os"
	"testing"
)

// signer is the key of the documentation: its seed is the octets 0 to 31.
func signer() ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	return ed25519.NewKeyFromSeed(seed)
}

func sign(t *testing.T, topic, payload string) (sig string) {
	t.Helper()
	c, r := Decode(topic, []byte(payload), false)
	if r != nil {
		t.Fatal(r)
	}
	return base64.StdEncoding.EncodeToString(ed25519.Sign(signer(), SignedText(topic, c.Canonical)))
}

// R16: a command of an issuer with a key counts only as what was signed: that
// text, on that topic, by that key.
func TestSignatures(t *testing.T) {
	const topic, other = "lv/v1/EPN-E1234/cmd/cancel", "lv/v1/EPN-E9/cmd/cancel"
	body := `{` + headText + `,"cancels":"c-0"}`
	good := sign(t, topic, body)
	public := signer().Public().(ed25519.PublicKey)
	keys := Keys{"scada-1": public}
	with := func(sig string) string { return body[:len(body)-1] + `,"sig":"` + sig + `"}` }
	flipped, _ := base64.StdEncoding.DecodeString(good)
	flipped[40] ^= 1
	for _, tt := range []struct {
		name, topic, payload string
		keys                 Keys
		want                 Code
	}{
		{"signed", topic, with(good), keys, ""},
		{"written in another order", topic, `{"sig":"` + good + `", "cancels": "c-0", ` + headText + `}`, keys, ""},
		{"no key for the issuer", topic, body, Keys{"scada-2": public}, ""},
		{"no keys at all", topic, with("AAAA"), nil, ""},
		{"not signed", topic, body, keys, Unsigned},
		{"signed for another agent", other, with(good), keys, BadSignature},
		{"another text", topic, with(good)[:len(with(good))-1] + `,"x":1}`, keys, BadSignature},
		{"one bit of the signature", topic, with(base64.StdEncoding.EncodeToString(flipped)), keys, BadSignature},
		{"another key", topic, with(good), Keys{"scada-1": make([]byte, ed25519.PublicKeySize)}, BadSignature},
		{"a key that is none", topic, with(good), Keys{"scada-1": {1}}, BadSignature},
		{"not base64", topic, with("%%"), keys, BadSignature},
		{"too short", topic, with("AAAA"), keys, BadSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, r := Decode(tt.topic, []byte(tt.payload), false)
			if r != nil {
				t.Fatal(r)
			}
			got := Code("")
			if r := tt.keys.Verify(tt.topic, &c); r != nil {
				got = r.Code
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// What docs/messages.md shows is what the agent accepts.
func TestDocumentedSignature(t *testing.T) {
	doc, err := os.ReadFile("../../docs/messages.md")
	if err != nil {
		t.Fatal(err)
	}
	const topic = "lv/v1/EPN-E1234/cmd/heartbeat"
	sig := sign(t, topic, `{"issuer":"scada-1","epoch":3,"seq":1042}`)
	c, _ := Decode(topic, []byte(`{"issuer":"scada-1","epoch":3,"seq":1042}`), false)
	for what, want := range map[string]string{
		"signature": sig, "canonical form": string(c.Canonical), "topic": topic,
		"public key": base64.StdEncoding.EncodeToString(signer().Public().(ed25519.PublicKey)),
	} {
		if !bytes.Contains(doc, []byte(want)) {
			t.Errorf("the %s of the example is %s, and docs/messages.md has another", what, want)
		}
	}
}
