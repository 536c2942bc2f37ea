package main

import (
	"archive/tar"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestHash shows what builds a module's programs anew.
func TestHash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hash := func() string {
		sum, err := hashModule(dir)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	write(t, filepath.Join(dir, "go.mod"), "module a")
	write(t, filepath.Join(dir, "a", "main.go"), "package main")
	before := hash()
	write(t, filepath.Join(dir, "README.md"), "text")
	write(t, filepath.Join(dir, "below", "go.mod"), "module b")
	write(t, filepath.Join(dir, "below", "b.go"), "package b")
	if hash() != before {
		t.Error("a text, or a module below it, changes the hash")
	}
	write(t, filepath.Join(dir, "a", "main.go"), "package main // changed")
	if hash() == before {
		t.Error("a source that changed does not change the hash")
	}
}

// TestUnreachable shows what skips the tests and what fails them.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	for text, skips := range map[string]bool{
		`Get "https://proxy.golang.org/a": dial tcp: lookup proxy.golang.org: no such host`: true,
		"module lookup disabled by GOPROXY=off":                                             true,
		"reading https://proxy.golang.org/a: 502 Bad Gateway":                               true,
		"missing go.sum entry for module providing package a":                               false,
		"verifying a: checksum mismatch":                                                    false,
	} {
		err := unreachable(errors.New(text))
		if _, missing := errors.AsType[*MissingError](err); missing != skips {
			t.Errorf("%q skips: %t, want %t", text, missing, skips)
		}
	}
}

// TestPack reads an archive as a container runtime does.
func TestPack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := program{file: filepath.Join(dir, "web"), images: []image{
		{name: "web:v1", env: []string{"VERSION=v1"}}, {name: "web:v2", env: []string{"VERSION=v2"}},
	}}
	write(t, p.file, "a program")
	if err := p.pack(p.file + ".tar"); err != nil {
		t.Fatal(err)
	}
	files := unpack(t, p.file+".tar")
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil || len(manifest) != 2 {
		t.Fatalf("manifest: %v, %s", err, files["manifest.json"])
	}
	for i, image := range manifest {
		version := fmt.Sprintf("v%d", i+1)
		var config struct {
			Config struct{ Env []string }
			RootFS struct {
				DiffIDs []string `json:"diff_ids"`
			}
		}
		if err := json.Unmarshal(files[image.Config], &config); err != nil {
			t.Fatal(err)
		}
		if image.RepoTags[0] != "gapless.test/web:"+version || config.Config.Env[0] != "VERSION="+version {
			t.Errorf("image %d: %+v, %+v", i, image, config)
		}
		if got := fmt.Sprintf("sha256:%x", sha256.Sum256(files[image.Layers[0]])); got != config.RootFS.DiffIDs[0] {
			t.Errorf("the layer is %s, the config says %v", got, config.RootFS.DiffIDs)
		}
	}
}

func unpack(t *testing.T, archive string) map[string][]byte {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}()
	files := map[string][]byte{}
	for reader := tar.NewReader(file); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, err := newAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.sign("server", x509.Certificate{Subject: pkix.Name{CommonName: "server"}, DNSNames: []string{"node"}}); err != nil {
		t.Fatal(err)
	}
	read := func(name string) *x509.Certificate {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(content)
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return certificate
	}
	roots := x509.NewCertPool()
	roots.AddCert(read("ca.crt"))
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := read("server.crt").Verify(x509.VerifyOptions{Roots: roots, DNSName: "node", KeyUsages: []x509.ExtKeyUsage{use}})
		if err != nil {
			t.Errorf("use %v: %v", use, err)
		}
	}
}

// TestBirth tells a process from another that gets its pid, and from one that
// ended.
func TestBirth(t *testing.T) {
	t.Parallel()
	own, err := birth(os.Getpid())
	if err != nil || own == "" {
		t.Fatalf("%q, %v", own, err)
	}
	if parent, err := birth(os.Getppid()); err != nil || parent == own {
		t.Errorf("its parent was born at %q, %v; itself at %q", parent, err, own)
	}
	cmd := exec.CommandContext(t.Context(), "true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := birth(cmd.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an ended process: %v", err)
	}
}
