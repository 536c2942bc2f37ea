package gapless_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// listed is what "go list" tells of a package.
type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestImports(t *testing.T) {
	// "testdata" is never part of a "..." before it.
	packages := goList(t, "-json=ImportPath,Imports,TestImports,XTestImports", "./...", "./testdata/apps/...")
	for _, p := range packages {
		if own, _ := layerOf(relative(p.ImportPath)); own == nil {
			t.Errorf("%s is in no layer: add it to layers and to docs/design.md", p.ImportPath)
			continue
		}
		for _, to := range p.Imports {
			if why := refused(p.ImportPath, to, false); why != "" {
				t.Error(why)
			}
		}
		for _, to := range slices.Concat(p.TestImports, p.XTestImports) {
			if why := refused(p.ImportPath, to, true); why != "" {
				t.Errorf("tests: %s", why)
			}
		}
	}
}

// TestNothingForTestsIsShipped looks at all that is linked into the binary, also
// by way of libraries.
func TestNothingForTestsIsShipped(t *testing.T) {
	for _, p := range goList(t, "-deps", "-json=ImportPath", "./cmd/gapless") {
		if forTests(p.ImportPath) {
			t.Errorf("cmd/gapless contains %s", p.ImportPath)
		}
	}
}

// forTests says whether a package is there for tests; the standard library's
// internal ones are its own affair.
func forTests(importPath string) bool {
	if under(importPath, "internal") {
		return false
	}
	return under(importPath, "testing") || isTestSupport(importPath) || under(relative(importPath), "testdata")
}

func TestFilesAreShort(t *testing.T) {
	const most = 400
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && file != "." {
			return filepath.SkipDir
		}
		if filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		lines, err := countLines(file)
		if err != nil {
			return err
		}
		if lines > most {
			t.Errorf("%s has %d lines, at most %d: part it by subject", file, lines, most)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func countLines(file string) (lines int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		lines++
	}
	return lines, scanner.Err()
}

// goList runs "go list", which must find something.
func goList(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all []listed
	for decoder := json.NewDecoder(out); ; {
		var one listed
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("go list: %v", err)
	}
	if len(all) == 0 {
		t.Fatal("go list: no packages")
	}
	return all
}

// TestRefused shows that each rule can fail.
func TestRefused(t *testing.T) {
	const lib = "example.com/lib"
	tests := []struct {
		from, to string
		test     bool
		want     string // part of the reason; nothing if it is allowed
	}{
		{from: "internal/rollout", to: "encoding/json"},
		{from: "internal/rollout", to: "os/exec", want: "is pure"},
		{from: "internal/rollout", to: "os", test: true},
		{from: "internal/rollout", to: lib, want: "library"},
		{from: "internal/rollout", to: "internal/config", want: "may not import"},
		{from: "internal/document", to: "github.com/goccy/go-yaml/ast"},
		{from: "internal/document", to: "github.com/goccy/go-yaml2", want: "library"},
		{from: "internal/config", to: "internal/document"},
		{from: "internal/config", to: "internal/change", want: "may not import"},
		{from: "internal/plan", to: "internal/change"},
		{from: "internal/plan", to: "internal/report", want: "may not import"},
		{from: "internal/report", to: "net/http", want: "is pure"},
		{from: "internal/verdict", to: "math/rand/v2", want: "is pure"},
		{from: "internal/verdict", to: "math/rand/v2", test: true},
		{from: "internal/phase", to: "internal/plan"},
		{from: "internal/phase", to: "internal/store/dir", want: "may not import"},
		{from: "internal/phase", to: "internal/store/dir", test: true},
		{from: "internal/store/dir", to: "internal/rollout"},
		{from: "internal/store/dir", to: lib},
		{from: "internal/store/dir", to: "internal/phase", want: "may not import"},
		{from: "internal/store/dir", to: "internal/phase", test: true},
		{from: "internal/store/dir", to: "internal/store/s3", want: "may not import"},
		{from: "internal/store/dir/lock", to: "internal/store/dir"},
		{from: "internal/store/dir", to: "internal/store/storetest", want: "may not import"},
		{from: "internal/store/dir", to: "internal/store/storetest", test: true},
		{from: "internal/store/storetest", to: "internal/phase"},
		{from: "internal/store/storetest", to: "internal/cli", want: "may not import"},
		{from: "internal/store", to: lib, want: "in no layer"},
		{from: "internal/platform/platformtest", to: "internal/phase"},
		{from: "internal/platform/platformtest", to: "internal/platform/local", want: "may not import"},
		{from: "internal/platform/local", to: "internal/platform/platformtest", want: "may not import"},
		{from: "internal/platform/local", to: "internal/platform/platformtest", test: true},
		{from: "internal/agent", to: "internal/agent/router"},
		{from: "internal/agent/router", to: "internal/agent/agenttest", want: "may not import"},
		{from: "internal/platform/local", to: "internal/agent/api"},
		{from: "internal/platform/local", to: "internal/agent/router", want: "may not import"},
		{from: "internal/platform/local", to: "internal/database", want: "may not import"},
		{from: "internal/platform/ecs", to: "internal/agent/api", want: "may not import"},
		{from: "internal/meter/agent", to: "internal/agent/api"},
		{from: "internal/meter/prometheus", to: "internal/retry"},
		{from: "internal/meter/kubernetes", to: "internal/meter/prometheus", want: "may not import"},
		{from: "internal/retry", to: "internal/rollout", want: "may not import"},
		{from: "internal/database", to: "internal/change"},
		{from: "internal/database", to: "internal/pgtest", want: "may not import"},
		{from: "internal/database", to: "internal/pgtest", test: true},
		{from: "internal/probe", to: "internal/ledger"},
		{from: "internal/ledger", to: "internal/probe", want: "may not import"},
		{from: "internal/cli", to: "internal/agent/supervisor"},
		{from: "internal/cli", to: "internal/pgtest", want: "may not import"},
		{from: "internal/agent", to: "internal/cli", test: true, want: "may not import"},
		{from: "cmd/gapless", to: "internal/cli"},
		{from: "cmd/gapless", to: "internal/phase", want: "may not import"},
		{from: "cmd/gapless", to: lib, want: "library"},
		{from: "cmd/demo", to: "internal/pgtest"},
		{from: "cmd/demo", to: "cmd/demo/load"},
		{from: "cmd/demo", to: "internal/phase", want: "may not import"},
		{from: "testdata/apps/addressbook/v1", to: "testdata/apps/addressbook"},
		{from: "testdata/apps/addressbook", to: "internal/rollout", want: "may not import"},
		{from: "internal/util", to: "fmt", want: "in no layer"},
		{from: "internal/rollout/types", to: "fmt", want: "in no layer"},
		{from: "tools", to: "fmt", want: "in no layer"},
	}
	for _, test := range tests {
		from, to := module+"/"+test.from, test.to
		if strings.HasPrefix(to, "internal/") || strings.HasPrefix(to, "cmd/") || strings.HasPrefix(to, "testdata/") {
			to = module + "/" + to
		}
		got := refused(from, to, test.test)
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s -> %s (test %t): %q, want %q in it", test.from, test.to, test.test, got, test.want)
		}
	}
}

func TestForTests(t *testing.T) {
	for importPath, want := range map[string]bool{
		"testing":                          true,
		"testing/iotest":                   true,
		"net/http/httptest":                true,
		module + "/internal/pgtest":        true,
		module + "/testdata/apps/book":     true,
		module + "/internal/verdict":       false,
		"internal/synctest":                false,
		"github.com/stretchr/testify/mock": false,
	} {
		if got := forTests(importPath); got != want {
			t.Errorf("%s: %t, want %t", importPath, got, want)
		}
	}
}
