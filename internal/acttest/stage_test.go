package acttest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/ledger"
	"github.com/gapless-deploy/gapless/internal/pgtest"
	"github.com/gapless-deploy/gapless/internal/probe"
)

const root = "../.."

// image builds the action's image once for its content, and returns its name.
func image(t *testing.T) string {
	t.Helper()
	name := "gapless-acttest:" + content(t)
	if exec.CommandContext(t.Context(), "docker", "image", "inspect", name).Run() == nil {
		return name
	}
	began := time.Now()
	command(t, root, filepath.Join("scripts", "image"), name)
	t.Logf("image built: %s", time.Since(began).Round(time.Second))
	return name
}

// content is the digest of what the image is built from.
func content(t *testing.T) string {
	t.Helper()
	sum := sha256.New()
	for _, top := range []string{"Dockerfile", ".dockerignore", "go.mod", "go.sum", "cmd/gapless", "internal", "scripts/base-image"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/testdata/") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(sum, "%s %d\n%s", path, len(text), text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// command runs a program and returns what it wrote to its standard output.
func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false")
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, problems.String())
	}
	return strings.TrimSpace(string(out))
}

// host is the machine that the service runs on: an agent with its instances,
// and a database.
type host struct {
	dir, public, admin string
	// secure is the admin API behind TLS, by a certificate of authority.
	secure    string
	authority []byte
	// database is its URL for containers, which see no sockets of the host's.
	database string
	db       *pgx.Conn
}

const agentToken = "a-token-of-the-test-with-act"

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{dir: t.TempDir(), public: freeAddress(t), admin: freeAddress(t)}
	socket := pgtest.New(t)
	var err error
	if h.db, err = pgx.Connect(t.Context(), socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.db.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	h.database = overTCP(t, socket)
	gapless := filepath.Join(h.dir, "gapless")
	command(t, root, "go", "build", "-o", gapless, "./cmd/gapless")
	log, err := os.Create(filepath.Join(h.dir, "agent.log"))
	if err != nil {
		t.Fatal(err)
	}
	agent := exec.Command(gapless, "agent", "--service", service, "--listen", h.public, "--admin", h.admin)
	agent.Dir, agent.Stdout, agent.Stderr = h.dir, log, log
	agent.Env = append(os.Environ(), "GAPLESS_AGENT_TOKEN="+agentToken, "DATABASE_URL="+socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := agent.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := agent.Wait(); err != nil {
			t.Errorf("agent: %v", err)
		}
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("agent:\n%s", text)
		}
	})
	answers(t, h.admin)
	h.secure, h.authority = overTLS(t, h.admin)
	return h
}

// release puts a revision's program where the agent starts it from.
func (h *host) release(t *testing.T, revision, form string) {
	t.Helper()
	command(t, root, "go", "build", "-o", filepath.Join(h.dir, "releases", revision, service), "./testdata/apps/addressbook/"+form)
}

// answers returns once somebody does.
func answers(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for ticker := time.NewTicker(20 * time.Millisecond); ; {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("nobody answers at %s: %v", address, err)
		case <-ticker.C:
		}
	}
}

// sql gives the one value that a statement asks for.
func (h *host) sql(t *testing.T, statement string) string {
	t.Helper()
	var value *string
	if err := h.db.QueryRow(t.Context(), "select ("+statement+")::text").Scan(&value); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	if value == nil {
		return "null"
	}
	return *value
}

func (h *host) exec(t *testing.T, statement string) {
	t.Helper()
	if _, err := h.db.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// post adds an address as a client does, and returns its row's id.
func (h *host) post(t *testing.T, line string) string {
	t.Helper()
	body := fmt.Sprintf(`{"name": "somebody", "line": %q}`, line)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+h.public+"/addresses", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil || response.StatusCode != http.StatusCreated {
		t.Fatalf("post %s: %s %s (%v)", line, response.Status, text, err)
	}
	return h.sql(t, "select max(id) from address")
}

// ask keeps clients at the service until what is returned is called; that
// fails the test if one of their requests was dropped.
func (h *host) ask(t *testing.T) (nothingDropped func()) {
	t.Helper()
	book := ledger.New(ledger.Options{})
	seen, err := probe.Start(t.Context(), probe.Options{URL: "http://" + h.public + "/addresses/1", Every: 5 * time.Millisecond}, book)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		seen.Stop()
		sum := book.Summary()
		t.Logf("%d requests, %d dropped", sum.Requests, sum.Dropped)
		if sum.Dropped != 0 || sum.Requests < 1000 {
			t.Errorf("%d requests, %d dropped: %+v", sum.Requests, sum.Dropped, sum)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // it was never used
	return l.Addr().String()
}
