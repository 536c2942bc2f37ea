package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gapless-deploy/gapless/internal/npmtest"
)

// fromAPT returns the binaries of the distribution's package. It is downloaded
// by apt-get, which checks its signatures, and unpacked into the cache rather
// than installed: that needs no root, and starts no server on the machine.
func fromAPT(ctx context.Context, log io.Writer, major int) (binaries, error) {
	name := "postgresql"
	if major != 0 {
		name += "-" + strconv.Itoa(major)
	}
	dir, err := npmtest.Cached("apt-"+name, func(dir string) error {
		return unpackAPT(ctx, log, dir, name)
	})
	if err != nil {
		return binaries{}, err
	}
	return unpacked(dir)
}

// unpackAPT downloads a package and those it depends on that are not installed,
// and unpacks them into dir.
func unpackAPT(ctx context.Context, log io.Writer, dir, name string) error {
	apt, errAPT := exec.LookPath("apt-get")
	dpkg, errDPKG := exec.LookPath("dpkg-deb")
	if err := errors.Join(errAPT, errDPKG); err != nil {
		return fmt.Errorf("download %s: %w", name, err)
	}
	if err := tell(log, "downloading the package %s with apt-get", name); err != nil {
		return err
	}
	state := filepath.Join(dir, "apt")
	for _, sub := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(state, sub), 0o755); err != nil {
			return fmt.Errorf("download %s: %w", name, err)
		}
	}
	options := []string{
		"-o", "Dir::State::lists=" + filepath.Join(state, "lists"),
		"-o", "Dir::Cache=" + state,
		"-o", "Dir::Cache::archives=" + filepath.Join(state, "archives"),
		"-o", "Debug::NoLocking=true", // the locks are root's; nothing shared is written
		"-o", "APT::Sandbox::User=root", // user _apt could not write here
		"-o", "APT::Update::Post-Invoke-Success::=", "--quiet",
	}
	if err := run(ctx, dir, apt, append([]string{"update"}, options...)...); err != nil {
		return err
	}
	fetch := []string{"install", "--yes", "--no-install-recommends", "--download-only", "--reinstall", name}
	if err := run(ctx, dir, apt, append(fetch, options...)...); err != nil {
		return err
	}
	packages, err := filepath.Glob(filepath.Join(state, "archives", "*.deb"))
	if err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	for _, file := range packages {
		if err := run(ctx, dir, dpkg, "--extract", file, dir); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(state); err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	found, err := unpacked(dir)
	if err != nil {
		return err
	}
	return found.try(ctx)
}

// unpacked returns the binaries in a directory of unpacked packages.
func unpacked(dir string) (binaries, error) {
	bins, err := filepath.Glob(filepath.Join(dir, "usr/lib/postgresql/*/bin"))
	if err != nil {
		return binaries{}, fmt.Errorf("look in %s: %w", dir, err)
	}
	var libraries []string
	for _, place := range []string{"usr/lib", "lib"} { // one and the same on an installed system
		found, err := filepath.Glob(filepath.Join(dir, place, "*-linux-gnu*"))
		if err != nil {
			return binaries{}, fmt.Errorf("look in %s: %w", dir, err)
		}
		libraries = append(libraries, found...)
	}
	for _, bin := range slices.Backward(bins) {
		if major := majorOfDir(bin); major >= oldest {
			return binaries{bin: bin, major: major,
				env: []string{"LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}}, nil
		}
	}
	return binaries{}, fmt.Errorf("%s holds no PostgreSQL %d or newer, but %q", dir, oldest, bins)
}
