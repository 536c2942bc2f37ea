package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// registry names nothing that exists: an image that was not imported cannot be
// pulled.
const registry = "gapless.test/"

// image is one static program as an image.
type image struct {
	name string // with its tag, after registry
	env  []string
}

// program is a static program and the images that are made of it: they share
// its layer.
type program struct {
	from   string // its package
	file   string // the program, once it is built
	images []image
}

// programs are those of this module that pods run. Each version of web is an image that answers
// its own tag, and so is each fault of each version: "web:unready-v2".
func programs(dir string) []program {
	web := program{from: "./testdata/apps/web", file: filepath.Join(dir, "web")}
	for _, version := range []string{"v1", "v2", "v3", "v4"} {
		for _, fault := range []string{"", "unready", "crashing", "errors", "slow", "abrupt"} {
			tag := strings.TrimPrefix(fault+"-"+version, "-")
			web.images = append(web.images, image{name: "web:" + tag, env: []string{"VERSION=" + tag, "FAULT=" + fault}})
		}
	}
	addressBook := func(version string) program {
		return program{
			from: "./testdata/apps/addressbook/" + version, file: filepath.Join(dir, "addressbook-"+version),
			images: []image{{name: "addressbook:" + version, env: []string{"HOST=0.0.0.0"}}},
		}
	}
	return []program{web, addressBook("v1"), addressBook("v2")}
}

// buildImages packs the programs of the pods into the state's images directory.
func buildImages(ctx context.Context, root, foreignDir string) error {
	dir := in("images")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	all := programs(dir)
	for _, p := range all {
		if err := goBuild(ctx, root, p.file, "-s -w", p.from); err != nil {
			return err
		}
	}
	all = append(all, program{file: filepath.Join(foreignDir, "pause"), images: []image{{name: "pause:1"}}})
	for _, p := range all {
		if err := p.pack(filepath.Join(dir, filepath.Base(p.file)+".tar")); err != nil {
			return fmt.Errorf("pack %s: %w", p.file, err)
		}
	}
	return nil
}

// pack writes the archive that "ctr images import" reads: as "docker save"
// makes it.
func (p program) pack(archive string) (err error) {
	content, err := os.ReadFile(p.file)
	if err != nil {
		return err
	}
	var layer bytes.Buffer
	if err := writeTar(&layer, entry{"app", 0o755, content}); err != nil {
		return err
	}
	layerSum := fmt.Sprintf("%x", sha256.Sum256(layer.Bytes()))
	entries := []entry{{layerSum + ".tar", 0o644, layer.Bytes()}}
	var manifest []map[string]any
	for _, i := range p.images {
		config, err := json.Marshal(map[string]any{
			"architecture": runtime.GOARCH, "os": "linux",
			"config": map[string]any{"Entrypoint": []string{"/app"}, "Env": i.env, "User": "65534:65534"},
			"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + layerSum}},
		})
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%x.json", sha256.Sum256(config))
		entries = append(entries, entry{name, 0o644, config})
		manifest = append(manifest, map[string]any{
			"Config": name, "RepoTags": []string{registry + i.name}, "Layers": []string{layerSum + ".tar"},
		})
	}
	encoded, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	file, err := os.Create(archive)
	if err != nil {
		return err
	}
	return errors.Join(writeTar(file, append(entries, entry{"manifest.json", 0o644, encoded})...), file.Close())
}

// entry is a file of an archive.
type entry struct {
	name    string
	mode    int64
	content []byte
}

func writeTar(into interface{ Write([]byte) (int, error) }, entries ...entry) error {
	w := tar.NewWriter(into)
	for _, e := range entries {
		if err := w.WriteHeader(&tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.content)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		if _, err := w.Write(e.content); err != nil {
			return err
		}
	}
	return w.Close()
}
