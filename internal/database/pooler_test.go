package database_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/pgtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// throughPooler gives the address of the database through PgBouncer, which holds
// one connection to the server.
func throughPooler(t *testing.T, direct, mode string) string {
	t.Helper()
	binary, err := exec.LookPath("pgbouncer")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			t.Skip("pgbouncer is not installed: what a pooler does is not tried (scripts/need pgbouncer)")
		}
	}
	server, err := pgx.ParseConfig(direct)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().(*net.TCPAddr) //nolint:forcetypeassert,errcheck // that is what it is
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf("[databases]\n* = host=%s port=%d user=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\npool_mode = %s\ndefault_pool_size = 1\n",
		server.Host, server.Port, server.User, address.Port, mode)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, file)
	var log strings.Builder
	cmd.Stderr = &log
	if os.Getuid() == 0 {
		cmd.SysProcAttr = asOwner(t, server.Host, dir)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() //nolint:errcheck // it was told to end
		if t.Failed() {
			t.Log(log.String())
		}
	})
	pooled := (&url.URL{
		Scheme: "postgres", User: url.User(server.User), Host: address.String(), Path: "/" + server.Database, RawQuery: "sslmode=disable&connect_timeout=5",
	}).String()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) { //nolint:forbidigo // a process that starts
		conn, err := pgx.Connect(t.Context(), pooled)
		if err == nil {
			if err := conn.Close(t.Context()); err != nil {
				t.Error(err)
			}
			return pooled
		}
		if time.Now().After(deadline) {
			t.Fatalf("pgbouncer does not answer: %v\n%s", err, log.String())
		}
	}
}

// asOwner runs a process as the user who owns the server's socket, to whom dir
// is open: the pooler refuses to run as root, and nobody else reaches the socket.
func asOwner(t *testing.T, socket, dir string) *syscall.SysProcAttr {
	t.Helper()
	info, err := os.Stat(socket)
	if err != nil {
		t.Skipf("PostgreSQL is not reached by a socket: %v", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("who owns the socket is not told")
	}
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
}

// A pooler is refused, in whatever mode, before anything is set on a connection
// that is another client's next.
func TestAPoolerIsRefused(t *testing.T) {
	direct := pgtest.New(t)
	for _, mode := range []string{"transaction", "session", "statement"} {
		t.Run(mode, func(t *testing.T) {
			pooled := throughPooler(t, direct, mode)
			settings := func() (text string) {
				t.Helper()
				conn, err := pgx.Connect(t.Context(), pooled)
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := conn.Close(context.WithoutCancel(t.Context())); err != nil {
						t.Error(err)
					}
				}()
				err = conn.QueryRow(t.Context(), `select pg_backend_pid() || ' ' || string_agg(name || '=' || setting, ' ' order by name) from pg_settings
					where source = 'session' or name in ('search_path', 'lock_timeout', 'statement_timeout', 'TimeZone')`, pgx.QueryExecModeSimpleProtocol).Scan(&text)
				if err != nil {
					t.Fatal(err)
				}
				return text
			}
			before := settings()
			_, err := database.Open(t.Context(), pooled, database.Options{})
			if pooler := (*database.PooledError)(nil); !errors.As(err, &pooler) || !strings.Contains(rollout.HintOf(err), "PostgreSQL itself") {
				t.Fatalf("%v (%s)", err, rollout.HintOf(err))
			}
			if after := settings(); after != before {
				t.Errorf("the server's connection has\n%s\nit had\n%s", after, before)
			}
		})
	}
}
