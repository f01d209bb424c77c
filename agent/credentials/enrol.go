package credentials

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Why a certificate is not put in place.
var (
	ErrKeyExists  = errors.New("there is a key that waits for its certificate")
	ErrNoKey      = errors.New("there is no key to which the certificate belongs")
	ErrNotYet     = errors.New("not valid yet, by this device's clock")
	ErrExpired    = errors.New("expired, by this device's clock")
	ErrNotClient  = errors.New("not for authentication as a client")
	errNotRequest = errors.New("not a PEM certificate")
)

// Enrol makes a key for the agent called name beside the file of its key, for
// its owner's eyes only, and a request to have it certified. The key that is in
// use stays. A key that waits is not overwritten unless force is set: the
// certificate that was asked for it would be lost.
func (f Files) Enrol(name string, force bool) (keyFile, requestFile string, err error) {
	keyFile, requestFile = f.Key+pending, f.Key+".csr"
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("make key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", fmt.Errorf("make key: %w", err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return "", "", fmt.Errorf("make request: %w", err)
	}
	if _, err := os.Lstat(keyFile); !force && !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = ErrKeyExists
		}
		return "", "", fmt.Errorf("make key %s: %w", keyFile, err)
	}
	if err := os.MkdirAll(filepath.Dir(f.Key), 0o755); err != nil {
		return "", "", fmt.Errorf("make key: %w", err)
	}
	if err := replace(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return "", "", err
	}
	return keyFile, requestFile, replace(requestFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}), 0o644)
}

// Install puts a certificate in place, with the key that was made for it, if it
// is one that the agent called name can use: it belongs to that key, carries
// that name, is signed by the CA, and is valid now. Otherwise everything stays.
//
// The key comes first. An agent that reads in between, or after a crash, finds
// the certificate under the name that it waits under.
func (f Files) Install(name string, text []byte, now time.Time) (*x509.Certificate, error) {
	chain, err := parseChain(text)
	if err != nil {
		return nil, err
	}
	leaf := chain[0]
	keyFile, err := f.keyOf(text)
	if err != nil {
		return nil, err
	}
	if err := f.verify(name, chain, now); err != nil {
		return nil, err
	}
	if err := replace(f.Cert+pending, text, 0o644); err != nil {
		return nil, err
	}
	if keyFile != f.Key {
		if err := move(keyFile, f.Key); err != nil {
			return nil, err
		}
	}
	return leaf, move(f.Cert+pending, f.Cert)
}

func parseChain(text []byte) (chain []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("read certificate: %w", errNotRequest)
	}
	return chain, nil
}

// keyOf returns the file of the key that a certificate belongs to: the one that
// waits, or the one in use, for which a certificate can be renewed.
func (f Files) keyOf(text []byte) (string, error) {
	for _, file := range []string{f.Key + pending, f.Key} {
		key, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if pair, err := tls.X509KeyPair(text, key); err == nil {
			if _, ok := pair.PrivateKey.(crypto.Signer); ok {
				return file, nil
			}
		}
	}
	return "", fmt.Errorf("install certificate: %w: looked at %s and %s", ErrNoKey, f.Key+pending, f.Key)
}

func (f Files) verify(name string, chain []*x509.Certificate, now time.Time) error {
	leaf := chain[0]
	switch {
	case leaf.Subject.CommonName != name:
		return fmt.Errorf("install certificate: %w: it is for %q, not for site.id %q", errName, leaf.Subject.CommonName, name)
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("install certificate: %w: from %s, it is %s", ErrNotYet, leaf.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case now.After(leaf.NotAfter):
		return fmt.Errorf("install certificate: %w: on %s, it is %s", ErrExpired, leaf.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	ca, err := os.ReadFile(f.CA)
	if err != nil {
		return fmt.Errorf("install certificate: %w", err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("install certificate: %s %w", f.CA, errNoCertificate)
	}
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.IncompatibleUsage {
		return fmt.Errorf("install certificate: %w", ErrNotClient)
	}
	if err != nil {
		return fmt.Errorf("install certificate: by the CA in %s: %w", f.CA, err)
	}
	return nil
}

// replace writes a file so that it is there whole or not at all.
func replace(file string, text []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".lvagent-")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	defer os.Remove(tmp.Name()) // gone already where all went well
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return move(tmp.Name(), file)
}

func move(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
