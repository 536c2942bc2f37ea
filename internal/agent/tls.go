package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// CertificateFiles name a certificate chain and its private key, both in PEM.
type CertificateFiles struct{ Cert, Key string }

func (f CertificateFiles) check() error {
	if (f.Cert == "") != (f.Key == "") {
		return errors.New("TLS: certificate and key must be named together")
	}
	return nil
}

// certificate is the pair in use. Both files are read again and again, so that
// whatever renews them need not know of the agent.
type certificate struct {
	files CertificateFiles
	last  [2][]byte // as read, good or not
	inUse atomic.Pointer[tls.Certificate]
}

// loadCertificate reads the pair; nil without files.
func loadCertificate(files CertificateFiles) (*certificate, error) {
	if files.Cert == "" {
		return nil, nil //nolint:nilnil // plain HTTP is no fault
	}
	c := &certificate{files: files}
	if _, err := c.reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// config is what the public server needs; nil for plain HTTP.
func (c *certificate) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.inUse.Load(), nil
		},
	}
}

// reload puts the pair in use if it is another than the last that was read.
func (c *certificate) reload() (changed bool, err error) {
	cert, cerr := os.ReadFile(c.files.Cert)
	key, kerr := os.ReadFile(c.files.Key)
	if err := errors.Join(cerr, kerr); err != nil {
		cert, key = []byte(err.Error()), nil
		changed = !c.same(cert, key)
		return changed, fmt.Errorf("TLS: %w", err)
	}
	if c.same(cert, key) {
		return false, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return true, fmt.Errorf("TLS: %s and %s: %w", c.files.Cert, c.files.Key, err)
	}
	c.inUse.Store(&pair)
	return true, nil
}

// same tells whether this was read last, and keeps it.
func (c *certificate) same(cert, key []byte) bool {
	same := bytes.Equal(c.last[0], cert) && bytes.Equal(c.last[1], key)
	c.last = [2][]byte{cert, key}
	return same
}

// follow reads the files each second until ctx ends. A pair that is no good is
// told once and leaves the one before in use.
func (c *certificate) follow(ctx context.Context, log *slog.Logger) {
	if c == nil {
		return
	}
	ticker := time.NewTicker(second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		switch changed, err := c.reload(); {
		case !changed:
		case err != nil:
			log.Error("certificate is no good, the one before stays in use", "error", err)
		default:
			log.Info("certificate was read again", "file", c.files.Cert)
		}
	}
}
