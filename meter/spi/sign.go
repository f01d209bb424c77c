package spi

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// SignatureOf is the name of the file with the signature of a calibration file:
// 64 octets, ed25519 over the file as it is.
func SignatureOf(file string) string { return file + ".sig" }

// ParseKey reads a public ed25519 key in PEM, as openssl pkey -pubout writes it.
func ParseKey(text []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("holds no PEM block")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("is no public key: %w", err)
	}
	public, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("holds a %T, want an ed25519 key", key)
	}
	return public, nil
}

// CheckSignature returns an error unless signature is that of text by key.
func CheckSignature(text, signature []byte, key ed25519.PublicKey) error {
	if len(signature) != ed25519.SignatureSize {
		return fmt.Errorf("the signature has %d octets, want %d", len(signature), ed25519.SignatureSize)
	}
	if !ed25519.Verify(key, text, signature) {
		return errors.New("the signature is not that of this file by this key")
	}
	return nil
}
