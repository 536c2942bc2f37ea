package agent_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent"
	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// issue writes a new certificate for 127.0.0.1 and its key to files.
func issue(t *testing.T, files agent.CertificateFiles, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, cerr := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	secret, kerr := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(cerr, kerr,
		os.WriteFile(files.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600),
	); err != nil {
		t.Fatal(err)
	}
}

// secured starts an agent that speaks TLS, with one instance.
func secured(t *testing.T, change func(*agent.Options)) (*host, agent.CertificateFiles) {
	t.Helper()
	dir := t.TempDir()
	files := agent.CertificateFiles{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	issue(t, files, "first")
	opts := options(t)
	opts.Certificate = files
	if change != nil {
		change(&opts)
	}
	h := start(t, opts)
	h.launch(api.Blue, "v1", spec("v1", 1))
	h.shift(1000, 0)
	return h, files
}

// overTLS asks on a connection of its own.
func overTLS(t *testing.T, address, path string, config *tls.Config) (major int, body string, err error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("https://" + address + path)
	if err != nil {
		return 0, "", err
	}
	raw, err := io.ReadAll(response.Body)
	return response.ProtoMajor, string(raw), errors.Join(err, response.Body.Close())
}

func anyCertificate() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

func TestPublicAddressSpeaksTLS(t *testing.T) {
	t.Parallel()
	h, _ := secured(t, nil)
	major, proto, err := overTLS(t, h.public, "/header?name=X-Forwarded-Proto", anyCertificate())
	if err != nil || major != 2 || proto != "https" {
		t.Errorf("%v, HTTP/%d, forwarded as %q, want HTTP/2 and https", err, major, proto)
	}
	old := anyCertificate()
	old.MaxVersion = tls.VersionTLS11
	if _, _, err := overTLS(t, h.public, "/who", old); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	plain := start(t, options(t))
	plain.launch(api.Blue, "v1", spec("v1", 1))
	plain.shift(1000, 0)
	if _, proto := get(t, plain.public, "/header?name=X-Forwarded-Proto"); proto != "http" {
		t.Errorf("without TLS forwarded as %q", proto)
	}
}

func TestCertificateIsReadAgainAndABrokenOneIsNotTaken(t *testing.T) {
	t.Parallel()
	log := &told{}
	h, files := secured(t, func(o *agent.Options) { o.Log = log.logger() })
	served := func() string {
		conn, err := tls.Dial("tcp", h.public, anyCertificate())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // nothing was written
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if name := served(); name != "first" {
		t.Fatalf("serves %q", name)
	}
	if err := os.WriteFile(files.Cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log tells of the broken one", func() bool {
		return strings.Contains(log.String(), "certificate is no good") && strings.Contains(log.String(), files.Cert)
	})
	if name := served(); name != "first" {
		t.Errorf("with a broken file serves %q", name)
	}
	issue(t, files, "second")
	eventually(t, "the new one is served", func() bool { return served() == "second" })
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log tells of the missing one", func() bool { return strings.Contains(log.String(), "no such file") })
	if name := served(); name != "second" {
		t.Errorf("without a key file serves %q", name)
	}
}

func TestAgentDoesNotStartWithAFaultyCertificateOrLimit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*agent.Options)
		want   string
	}{
		"no such file": {func(o *agent.Options) { o.Certificate = agent.CertificateFiles{Cert: "/nowhere/c", Key: "/nowhere/k"} }, "/nowhere/c"},
		"half a pair":  {func(o *agent.Options) { o.Certificate.Cert = "c.pem" }, "named together"},
		"tiny header":  {func(o *agent.Options) { o.Limits.Header = 100 }, "100 bytes, must be at least 8192"},
		"negative":     {func(o *agent.Options) { o.Limits.Idle = -1 }, "idle"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := options(t)
			c.change(&opts)
			if err := agent.Run(t.Context(), opts); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
