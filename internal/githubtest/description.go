package githubtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/gapless-deploy/gapless/internal/npmtest"
)

// published is the package that holds GitHub's description of its REST API.
func published() npmtest.Package {
	return npmtest.Package{Name: "@octokit/openapi", Version: "23.0.2",
		Integrity: "sha512-pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg=="}
}

const (
	descriptionFile = "api.github.com.json"
	firstDownload   = 10 * time.Minute
)

// description is the part of the published one that the fake serves.
type description struct {
	doc        *openapi3.T
	operations []*operation
}

// describe loads the description, once in a process.
//
//nolint:gochecknoglobals // The testing package offers no other place that outlives a test.
var describe = sync.OnceValues(func() (*description, error) {
	ctx, cancel := context.WithTimeout(context.Background(), firstDownload)
	defer cancel()
	served := operations()
	file, err := prunedFile(ctx, io.Discard, slices.Sorted(maps.Keys(served)))
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("GitHub's description: %w", err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(content)
	if err != nil {
		return nil, fmt.Errorf("GitHub's description: %w", err)
	}
	d := &description{doc: doc}
	for name, o := range served {
		if err := o.bind(doc, name); err != nil {
			return nil, err
		}
		d.operations = append(d.operations, o)
	}
	return d, nil
})

// Prepare downloads the description into the cache when it is not there yet;
// log receives a line about that.
func Prepare(ctx context.Context, log io.Writer) error {
	_, err := prunedFile(ctx, log, slices.Sorted(maps.Keys(operations())))
	return err
}

// publishedFile returns the whole description, 13 MB, from the cache.
func publishedFile(ctx context.Context, log io.Writer) (string, error) {
	pkg := published()
	dir, err := npmtest.Cached("npm-octokit-openapi-"+pkg.Version, func(dir string) error {
		if _, err := fmt.Fprintf(log, "githubtest: downloading %s %s with npm\n", pkg.Name, pkg.Version); err != nil {
			return fmt.Errorf("log: %w", err)
		}
		if err := pkg.Install(ctx, dir); err != nil {
			return err
		}
		// The rest, 400 MB, is other products and other forms of the same.
		if err := os.Rename(filepath.Join(pkg.Dir(dir), "generated", descriptionFile), filepath.Join(dir, descriptionFile)); err != nil {
			return fmt.Errorf("take the description: %w", err)
		}
		return os.RemoveAll(filepath.Join(dir, "node_modules"))
	})
	return filepath.Join(dir, descriptionFile), err
}

// prunedFile returns the description of the operations that are served, from
// the cache: the whole takes seconds to load.
func prunedFile(ctx context.Context, log io.Writer, served []string) (string, error) {
	const form = "2" // of pruned; a change of it needs a new one
	sum := sha256.Sum256([]byte(form + "\n" + strings.Join(served, "\n")))
	name := "openapi-" + published().Version + "-" + hex.EncodeToString(sum[:6])
	dir, err := npmtest.Cached(name, func(dir string) error {
		whole, err := publishedFile(ctx, log)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(whole)
		if err != nil {
			return fmt.Errorf("GitHub's description: %w", err)
		}
		content, err = pruned(content, served)
		if err != nil {
			return fmt.Errorf("GitHub's description: %w", err)
		}
		return os.WriteFile(filepath.Join(dir, descriptionFile), content, 0o644) //nolint:gosec // The cache is for all users of the machine.
	})
	return filepath.Join(dir, descriptionFile), err
}

// pruned returns an OpenAPI description with nothing but the operations, each
// called "METHOD /path", and the components that they refer to.
func pruned(content []byte, served []string) ([]byte, error) {
	var whole map[string]any
	if err := json.Unmarshal(content, &whole); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	p := pruning{whole: whole, components: map[string]any{}}
	paths := map[string]any{}
	for _, name := range served {
		method, path, _ := strings.Cut(name, " ")
		found, ok := lookup(whole, "paths", path, strings.ToLower(method))
		if !ok {
			return nil, fmt.Errorf("no operation %s is described", name)
		}
		kept, ok := p.keep(found).(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s is not described by an object", name)
		}
		item, ok := paths[path].(map[string]any)
		if !ok {
			item = map[string]any{}
			paths[path] = item
		}
		item[strings.ToLower(method)] = kept
	}
	if p.err != nil {
		return nil, p.err
	}
	return json.Marshal(map[string]any{
		"openapi": whole["openapi"], "info": map[string]any{"title": "GitHub REST API, a part", "version": "1"},
		"paths": paths, "components": p.components,
	})
}

// pruning copies parts of a description, following their references.
type pruning struct {
	whole      map[string]any
	components map[string]any
	err        error
}

func (p *pruning) keep(part any) any {
	switch part := part.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, value := range part {
			if key != "examples" { // long, and nothing is held against them
				kept[key] = p.keep(value)
			}
		}
		if ref, ok := part["$ref"].(string); ok {
			p.follow(ref)
		}
		return kept
	case []any:
		kept := make([]any, len(part))
		for i, value := range part {
			kept[i] = p.keep(value)
		}
		return kept
	}
	return part
}

// follow copies the component that a reference names.
func (p *pruning) follow(ref string) {
	path := strings.Split(strings.TrimPrefix(ref, "#/components/"), "/")
	found, ok := lookup(p.whole, append([]string{"components"}, path...)...)
	if !ok || len(path) != 2 {
		p.err = fmt.Errorf("reference %s leads nowhere", ref)
		return
	}
	kind, ok := p.components[path[0]].(map[string]any)
	if !ok {
		kind = map[string]any{}
		p.components[path[0]] = kind
	}
	if _, ok := kind[path[1]]; ok {
		return
	}
	kind[path[1]] = nil // schemas may refer to themselves
	kind[path[1]] = p.keep(found)
}

func lookup(in any, path ...string) (any, bool) {
	for _, name := range path {
		object, ok := in.(map[string]any)
		if !ok {
			return nil, false
		}
		if in, ok = object[name]; !ok {
			return nil, false
		}
	}
	return in, true
}
