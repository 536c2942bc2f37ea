package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// validity of the certificates: a cluster lives as long as the tests.
const validity = 30 * 24 * time.Hour

// authority signs the cluster's certificates, for servers and clients alike.
type authority struct {
	dir         string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	serial      int64
}

// person is a user of the API server.
type person struct {
	name   string // of its files
	user   string
	groups []string
}

func people() []person {
	return []person{
		{name: "admin", user: "admin", groups: []string{"system:masters"}},
		{name: "kube-controller-manager", user: "system:kube-controller-manager"},
		{name: "kube-scheduler", user: "system:kube-scheduler"},
		{name: "kube-proxy", user: "system:kube-proxy"},
		{name: "node", user: "system:node:" + nodeName, groups: []string{"system:nodes"}},
		{name: "gateway", user: "gateway"},
	}
}

// writePKI writes into the state every certificate and every kubeconfig.
func writePKI() error {
	dir := in("pki")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	ca, err := newAuthority(dir)
	if err != nil {
		return err
	}
	local := net.IPv4(127, 0, 0, 1)
	node := net.ParseIP(nodeIP)
	servers := []x509.Certificate{
		{Subject: pkix.Name{CommonName: "etcd"}, IPAddresses: []net.IP{local}},
		{
			Subject:     pkix.Name{CommonName: "kube-apiserver"},
			IPAddresses: []net.IP{local, node, net.ParseIP(apiServiceIP)},
			DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		},
		{Subject: pkix.Name{CommonName: "kubelet"}, IPAddresses: []net.IP{node}, DNSNames: []string{nodeName}},
	}
	for _, server := range servers {
		if err := ca.sign(server.Subject.CommonName, server); err != nil {
			return err
		}
	}
	for _, p := range people() {
		if err := ca.sign(p.name, x509.Certificate{Subject: pkix.Name{CommonName: p.user, Organization: p.groups}}); err != nil {
			return err
		}
		if err := writeConfig("kubeconfig.yaml", in(p.name+".kubeconfig"), p.name); err != nil {
			return err
		}
	}
	key, err := newKey(filepath.Join(dir, "service-account.key"))
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return fmt.Errorf("service account key: %w", err)
	}
	return writePEM(filepath.Join(dir, "service-account.pub"), "PUBLIC KEY", public)
}

func newAuthority(dir string) (*authority, error) {
	key, err := newKey(filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, err
	}
	ca := &authority{dir: dir, key: key, certificate: &x509.Certificate{
		Subject: pkix.Name{CommonName: namespace}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}}
	return ca, ca.write("ca", ca.certificate, &key.PublicKey)
}

// sign writes a certificate and its key under a name.
func (a *authority) sign(name string, c x509.Certificate) error {
	key, err := newKey(filepath.Join(a.dir, name+".key"))
	if err != nil {
		return err
	}
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	return a.write(name, &c, &key.PublicKey)
}

func (a *authority) write(name string, c *x509.Certificate, public *ecdsa.PublicKey) error {
	a.serial++
	c.SerialNumber = big.NewInt(a.serial)
	c.NotBefore = time.Now().Add(-time.Hour)
	c.NotAfter = c.NotBefore.Add(validity)
	encoded, err := x509.CreateCertificate(rand.Reader, c, a.certificate, public, a.key)
	if err != nil {
		return fmt.Errorf("certificate of %s: %w", name, err)
	}
	return writePEM(filepath.Join(a.dir, name+".crt"), "CERTIFICATE", encoded)
}

func newKey(file string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", file, err)
	}
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", file, err)
	}
	return key, writePEM(file, "EC PRIVATE KEY", encoded)
}

func writePEM(file, kind string, content []byte) error {
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	return nil
}
