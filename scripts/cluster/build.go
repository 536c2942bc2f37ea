package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gapless-deploy/gapless/internal/npmtest"
)

// foreign is a module whose programs are not ours: built once, then cached by
// what the module's files say.
type foreign struct {
	name     string
	dir      string // of the module
	packages string // with the programs
	build    func(ctx context.Context, dir, into string) error
}

func kubernetes() foreign {
	const all = "./..."
	return foreign{name: "kubernetes", dir: "test/cluster", packages: all, build: func(ctx context.Context, dir, into string) error {
		version, err := output(ctx, dir, "go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
		if err != nil {
			return err
		}
		major, minor, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
		minor, _, _ = strings.Cut(minor, ".")
		var flags strings.Builder
		flags.WriteString("-s -w")
		for name, value := range map[string]string{"Version": version, "Major": major, "Minor": minor, "TreeState": "clean"} {
			fmt.Fprintf(&flags, " -X k8s.io/component-base/version.git%s=%s", name, value)
		}
		return goBuild(ctx, dir, into+"/", flags.String(), all)
	}}
}

func gateway() foreign {
	const traefik = "github.com/traefik/traefik/v3/cmd/traefik"
	return foreign{name: "gateway", dir: "test/cluster/gateway", packages: traefik, build: func(ctx context.Context, dir, into string) error {
		if err := goBuild(ctx, dir, into+"/", "-s -w", traefik); err != nil {
			return err
		}
		api, err := output(ctx, dir, "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api")
		if err != nil {
			return err
		}
		return os.CopyFS(filepath.Join(into, "crd"), os.DirFS(filepath.Join(api, "config/crd/standard")))
	}}
}

// onlyCached is the variable by which a machine that has no time for it builds
// nothing of others.
const onlyCached = "GAPLESS_CLUSTER_ONLY_CACHED"

// cached returns the directory with the module's programs.
func (f foreign) cached(ctx context.Context, root string) (string, error) {
	dir := filepath.Join(root, f.dir)
	hash, err := hashModule(dir)
	if err != nil {
		return "", err
	}
	return npmtest.Cached("cluster-"+f.name+"-"+hash[:12], func(into string) error {
		if os.Getenv(onlyCached) != "" {
			return &MissingError{fmt.Sprintf("%s of %s is not in the cache, and building it takes minutes (%s)", f.name, f.dir, onlyCached)}
		}
		progress("building the %s of %s, which takes minutes", f.name, f.dir)
		// Without a network this fails, not the build.
		if _, err := output(ctx, dir, "go", "list", "-deps", f.packages); err != nil {
			return unreachable(err)
		}
		return f.build(ctx, dir, into)
	})
}

// unreachable tells a proxy that does not answer, which is nobody's fault here,
// from a fault in our modules.
func unreachable(err error) error {
	for _, sign := range []string{"dial tcp", "lookup disabled", "reading http", `Get "http`} {
		if strings.Contains(err.Error(), sign) {
			return &MissingError{"modules cannot be downloaded: " + err.Error()}
		}
	}
	return err
}

// hashModule is over what a module's programs are made from, without those of
// modules that lie below it.
func hashModule(dir string) (string, error) {
	sum := sha256.New()
	sum.Write([]byte(runtime.Version() + runtime.GOARCH))
	files := os.DirFS(dir)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if _, err := fs.Stat(files, path.Join(name, "go.mod")); err == nil && name != "." {
				return fs.SkipDir
			}
			return nil
		}
		if ext := path.Ext(name); ext != ".go" && ext != ".mod" && ext != ".sum" {
			return nil
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		sum.Write(fmt.Appendf(nil, "%s %d\n", name, len(content)))
		sum.Write(content)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("hash %s: %w", dir, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// goBuild builds static programs; a path that ends in "/" gets one for each
// main package.
func goBuild(ctx context.Context, dir, into, linker string, packages ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", linker, "-o", into}, packages...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", dir, err)
	}
	return nil
}

// output runs a command and returns the line that it prints.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(failed.Stderr))
		}
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "cluster: "+format+"\n", args...)
}
