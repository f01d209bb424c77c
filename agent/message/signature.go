package message

import (
	"crypto/ed25519"
	"encoding/base64"
)

// Keys are the public keys of issuers. MQTT 3.1.1 does not say who published a
// message, so an issuer without a key is believed on the word of the broker's
// access list; the commands of one with a key must be signed.
type Keys map[string]ed25519.PublicKey

// SignedText is what a signature is over: the topic on which the command is
// sent, a line feed, and the command's canonical form. With the topic in it, what
// was signed for one agent or as one kind of command is nothing as another.
func SignedText(topic string, canonical []byte) []byte {
	return append(append([]byte(topic), '\n'), canonical...)
}

// Verify returns why a command that came on topic is not its issuer's, or nil.
func (k Keys) Verify(topic string, c *Command) *Rejection {
	key, known := k[c.Issuer]
	if !known {
		return nil
	}
	refuse := func(code Code, detail string) *Rejection {
		return &Rejection{ID: c.ID, Command: c.Name, Code: code, Detail: detail}
	}
	if c.Signature == "" {
		return refuse(Unsigned, "commands of "+c.Issuer+" carry a sig")
	}
	sig, err := base64.StdEncoding.DecodeString(c.Signature)
	switch {
	case err != nil || len(sig) != ed25519.SignatureSize:
		return refuse(BadSignature, "sig is not 64 octets in base64")
	case len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, SignedText(topic, c.Canonical), sig):
		return refuse(BadSignature, "sig is not that of "+c.Issuer+" over topic and canonical form")
	}
	return nil
}
