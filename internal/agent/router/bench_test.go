package router_test

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/router"
	"github.com/gapless-deploy/gapless/internal/agent/tally"
)

// TestMain lets the test binary stand in for the proxies that are measured,
// each in a process of its own like nginx.
func TestMain(m *testing.M) {
	role, _, _ := strings.Cut(os.Getenv("BENCH_ROLE"), " ")
	if role == "" {
		os.Exit(m.Run())
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr())
	switch backends := strings.Fields(os.Getenv("BENCH_ROLE"))[1:]; role {
	case "backend":
		err = answerAll(listener)
	case "httputil":
		err = http.Serve(listener, bareProxy(backends[0]))
	case "router":
		err = http.Serve(listener, routerTo(backends))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// answer is what the measured service says: a small JSON document.
var answer = []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 64\r\n\r\n" +
	`{"id":4711,"street":"Hauptstrasse 12a","town":"Bern","zip":3000}`)

// answerAll is a service that costs next to nothing, so that the proxy is measured.
func answerAll(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close() //nolint:errcheck // the client has gone
			in := bufio.NewReader(conn)
			for {
				for {
					line, err := in.ReadSlice('\n')
					if err != nil {
						return
					}
					if len(line) <= 2 {
						break
					}
				}
				if _, err := conn.Write(answer); err != nil {
					return
				}
			}
		}()
	}
}

// bareProxy is httputil's with nothing of ours, its connection pool wide enough.
func bareProxy(backend string) http.Handler {
	transport := &http.Transport{MaxIdleConnsPerHost: 1024, IdleConnTimeout: 90 * time.Second}
	bare := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: backend})
	bare.Transport = transport
	return bare
}

func routerTo(backends []string) http.Handler {
	r := router.New(router.Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	book := tally.NewBook(time.Now(), tally.Keep)
	for i, backend := range backends {
		key := tally.Key{Side: api.Sides()[i%2], Revision: api.Revision{ID: fmt.Sprint("v", i%2)}}
		r.Add(backend, key, book.Series(key, 300*time.Millisecond)).Ready(true)
	}
	r.Shift(api.Weights{api.Blue: 950, api.Green: 50}, func(time.Time) {})
	return r
}

// BenchmarkProxies measures requests a second, p99 and CPU time a request at 32
// connections of the router, of httputil alone and of nginx, side by side on one
// machine. CPU time is what stays comparable when other work runs beside it.
func BenchmarkProxies(b *testing.B) {
	backends := []string{child(b, "backend").address, child(b, "backend").address}
	both := strings.Join(backends, " ")
	b.Run("direct", func(b *testing.B) { measure(b, proxy{address: backends[0]}) })
	b.Run("httputil", func(b *testing.B) { measure(b, child(b, "httputil "+backends[0])) })
	b.Run("router", func(b *testing.B) { measure(b, child(b, "router "+both)) })
	b.Run("nginx", func(b *testing.B) {
		program, err := findNginx()
		if err != nil {
			b.Skip("nginx is not installed (apt-get install nginx-light):", err)
		}
		measure(b, startNginx(b, program, backends))
	})
}

const connections = 32

// proxy is what is measured: where it answers and its process group.
type proxy struct {
	address string
	group   int
}

// spent is the CPU time that the proxy's processes used so far.
func (p proxy) spent(b *testing.B) float64 {
	b.Helper()
	all, err := procfs.AllProcs()
	if err != nil {
		b.Fatal(err)
	}
	seconds := 0.0
	for _, proc := range all {
		if stat, err := proc.Stat(); err == nil && stat.PGRP == p.group {
			seconds += stat.CPUTime()
		}
	}
	return seconds
}

func measure(b *testing.B, p proxy) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([][]time.Duration, connections)
	faults := make([]error, connections)
	var all sync.WaitGroup
	before := p.spent(b)
	b.ResetTimer()
	for i := range connections {
		all.Go(func() { took[i], faults[i] = askAll(p.address, &left) })
	}
	all.Wait()
	b.StopTimer()
	if p.group != 0 {
		b.ReportMetric((p.spent(b)-before)*1e6/float64(b.N), "cpu-µs/request")
	}
	for _, err := range faults {
		if err != nil {
			b.Fatal(err)
		}
	}
	every := slices.Concat(took...)
	slices.Sort(every)
	b.ReportMetric(float64(len(every))/b.Elapsed().Seconds(), "requests/s")
	b.ReportMetric(float64(every[len(every)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(every[len(every)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(0, "ns/op")
}

// askAll is a client on one connection that costs as little as a client can.
func askAll(address string, left *atomic.Int64) (took []time.Duration, err error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // everything was read
	in := bufio.NewReader(conn)
	request := []byte("GET /addresses/4711 HTTP/1.1\r\nHost: addresses.example.com\r\nUser-Agent: bench\r\nAccept: application/json\r\n\r\n")
	for left.Add(-1) >= 0 {
		begin := time.Now()
		if _, err := conn.Write(request); err != nil {
			return nil, err
		}
		if err := readAnswer(in); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
	}
	return took, nil
}

func readAnswer(in *bufio.Reader) error {
	length := -1
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.Contains(line, []byte(" 200 ")) {
			return fmt.Errorf("answer %q", line)
		}
		if len(line) <= 2 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
			if _, err := fmt.Sscan(string(value), &length); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return fmt.Errorf("answer without a length")
	}
	_, err := in.Discard(length)
	return err
}

// child starts this binary in a role.
func child(b *testing.B, role string) proxy {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BENCH_ROLE="+role)
	cmd.Stderr = b.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			b.Error(err)
		}
		cmd.Wait() //nolint:errcheck // it was killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(role, err)
	}
	return proxy{strings.TrimSpace(line), cmd.Process.Pid}
}

func findNginx() (string, error) {
	if program, err := exec.LookPath("nginx"); err == nil {
		return program, nil
	}
	return exec.LookPath("/usr/sbin/nginx")
}

func startNginx(b *testing.B, program string, backends []string) proxy {
	b.Helper()
	dir := b.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		b.Fatal(err)
	}
	servers := "server " + strings.Join(backends, "; server ") + ";"
	config := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log %[1]s/error.log; worker_processes auto;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 100000000;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  upstream service { %[2]s keepalive 64; keepalive_requests 100000000; }
  server { listen %[3]s; location / { proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; } }
}`, dir, servers, address)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(program, "-c", file, "-e", filepath.Join(dir, "error.log"))
	cmd.Stderr = b.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			b.Error(err)
		}
		cmd.Wait() //nolint:errcheck // it was told to end
	})
	for deadline := time.Now().Add(5 * time.Second); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			if err := conn.Close(); err != nil {
				b.Fatal(err)
			}
			return proxy{address, cmd.Process.Pid}
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
	}
}
