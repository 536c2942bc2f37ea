package acttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// overTCP makes a database that listens on a socket in a directory reachable
// over TCP, and returns the URL for it.
func overTCP(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	dir := query.Get("host")
	if dir == "" {
		return address
	}
	listener := listen(t)
	relay(t, listener, "unix", filepath.Join(dir, ".s.PGSQL.5432"))
	query.Del("host")
	u.Host, u.RawQuery = listener.Addr().String(), query.Encode()
	return u.String()
}

// overTLS puts TLS in front of an address, as stunnel does on a host, and
// returns the one to reach it by and the authority to trust, in PEM.
func overTLS(t *testing.T, address string) (secure string, authority []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	plain := listen(t)
	relay(t, tls.NewListener(plain, &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}},
	}), "tcp", address)
	return plain.Addr().String(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// relay passes on what comes to a listener until the test ends.
func relay(t *testing.T, listener net.Listener, network, address string) {
	t.Helper()
	var all sync.WaitGroup
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
	})
	all.Go(func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { pass(in, network, address) })
		}
	})
}

// pass ends both connections when one has ended.
func pass(in net.Conn, network, address string) {
	out, err := net.Dial(network, address)
	if err != nil {
		in.Close() //nolint:errcheck // the client is told by it
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			io.Copy(way[0], way[1]) //nolint:errcheck // how a connection ends is its ends' affair
			in.Close()              //nolint:errcheck // the other way is told by it
			out.Close()             //nolint:errcheck // as above
		})
	}
	both.Wait()
}
