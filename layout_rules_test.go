// Package gapless_test holds the rules of the repository's layout: who may
// import whom, what must not reach the shipped binary, and how long a file may
// be. docs/design.md gives the reasons.
package gapless_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

const module = "github.com/gapless-deploy/gapless"

// layer is a set of packages that have the same rights. Paths are relative to
// the module; "a/..." is a and all below it, and "a/*" is each package below a,
// with all below that, as a tree of its own.
type layer struct {
	name     string
	packages []string
	// imports are the packages of this module that it may import, besides those
	// of the same tree.
	imports []string
	// libraries are the modules of others that it may import; "*" is any.
	libraries []string
	// pure packages compute: they reach neither the machine nor the network,
	// have no clock but the one passed in, and no chance.
	pure bool
}

var (
	vocabulary  = []string{"internal/rollout"}
	pure        = []string{"internal/document", "internal/config", "internal/grammar", "internal/lint", "internal/change", "internal/verdict", "internal/plan", "internal/report"}
	testSupport = []string{"*test"}
	adapters    = []string{
		"internal/platform/*", "internal/meter/*", "internal/forge/*", "internal/store/*",
		"internal/database/...", "internal/agent/...", "internal/probe/...", "internal/ledger/...",
	}
	anyLibrary = []string{"*"}
	// parseTree is what PostgreSQL's parse trees are made of.
	parseTree = []string{"github.com/pganalyze/pg_query_go", "google.golang.org/protobuf"}

	// inTests is what test files may import besides: they run a package against
	// its real neighbours.
	inTests = join(vocabulary, pure, adapters, testSupport, []string{"internal/phase"})

	// impure are the packages of the standard library, each with all below it,
	// that reach the machine, the network or chance.
	impure = []string{
		"os", "net/http", "net/rpc", "net/smtp", "syscall", "database/sql", "log", "plugin",
		"math/rand", "crypto/rand", "runtime/debug",
	}
)

// layers is the whole layout; a package that is in none of them is refused. Of
// two layers that fit, the first counts.
var layers = []layer{
	{name: "vocabulary", packages: vocabulary, pure: true},

	// The pure packages, each with those below it.
	{name: "strict YAML", packages: []string{"internal/document"}, pure: true,
		libraries: []string{"github.com/goccy/go-yaml"}},
	// Reads the user's files, which is its subject.
	{name: "configuration", packages: []string{"internal/config"},
		imports: []string{"internal/rollout", "internal/document"}},
	{name: "grammar", packages: []string{"internal/grammar"}, pure: true,
		libraries: join(parseTree, []string{"github.com/wasilibs/go-pgquery"})},
	{name: "lint", packages: []string{"internal/lint"}, pure: true,
		imports: []string{"internal/grammar"}, libraries: parseTree},
	{name: "change", packages: []string{"internal/change"}, pure: true,
		imports: []string{"internal/rollout", "internal/document", "internal/grammar", "internal/lint"}, libraries: parseTree},
	{name: "judge", packages: []string{"internal/verdict"}, pure: true,
		imports: vocabulary, libraries: []string{"gonum.org/v1/gonum"}},
	{name: "plan", packages: []string{"internal/plan"}, pure: true,
		imports: []string{"internal/rollout", "internal/config", "internal/change", "internal/verdict"}},
	{name: "report", packages: []string{"internal/report"}, pure: true,
		imports:   []string{"internal/rollout", "internal/config", "internal/change", "internal/verdict", "internal/plan"},
		libraries: []string{"golang.org/x/text"}},

	{name: "phase", packages: []string{"internal/phase"}, imports: join(vocabulary, pure),
		libraries: []string{"golang.org/x/sync"}},

	// Run by "make generate" and by its own test; not in the shipped binary.
	{name: "JSON Schemas", packages: []string{"internal/schema/..."},
		imports:   []string{"internal/rollout", "internal/document", "internal/config", "internal/change"},
		libraries: []string{"github.com/invopop/jsonschema"}},

	{name: "test support", packages: testSupport, libraries: anyLibrary,
		imports: join(vocabulary, pure, testSupport, []string{"internal/phase"})},

	// These two speak to an agent over HTTP, in the words of its API. The first
	// fitting layer counts, so they stand before the other adapters.
	{name: "clients of the agent", packages: []string{"internal/platform/local/...", "internal/meter/agent/..."},
		imports: join(vocabulary, pure, []string{"internal/agent/api"}), libraries: anyLibrary},
	// What the probe sees goes into the ledger.
	{name: "probe", packages: []string{"internal/probe/..."},
		imports: join(vocabulary, pure, []string{"internal/ledger"}), libraries: anyLibrary},
	// Who a job is, as its token proves it, is asked by gates and by signatures.
	{name: "identity", packages: []string{"internal/forge/oidc"}, libraries: anyLibrary},
	{name: "gates and comments", packages: []string{"internal/forge/github/..."},
		imports: join(vocabulary, pure, []string{"internal/forge/oidc"}), libraries: anyLibrary},
	{name: "signatures", packages: []string{"internal/store/seal/..."},
		imports: join(vocabulary, pure, []string{"internal/forge/oidc"}), libraries: anyLibrary},
	// Asks a service again over HTTP, for any adapter.
	{name: "retry", packages: []string{"internal/retry"}},
	{name: "adapter", packages: adapters, imports: join(vocabulary, pure, []string{"internal/retry"}), libraries: anyLibrary},

	// Writes text only; that it is a valid config is shown by its tests.
	{name: "scaffold", packages: []string{"internal/scaffold"}, pure: true},

	{name: "composition root", packages: []string{"internal/cli/..."}, libraries: anyLibrary,
		imports: join(vocabulary, pure, adapters, []string{"internal/phase", "internal/scaffold"})},
	{name: "main", packages: []string{"cmd/gapless"}, imports: []string{"internal/cli"}},

	// The demo drives the built gapless from outside, so it imports nothing of
	// what decides or acts.
	{name: "demo", packages: []string{"cmd/demo/..."}, libraries: anyLibrary,
		imports: []string{"internal/rollout", "internal/pgtest", "internal/probe", "internal/ledger",
			"internal/agent/api", "testdata/apps/addressbook"}},
	{name: "generator", packages: []string{"scripts/generate"},
		imports: []string{"internal/schema", "internal/forge/runner/metadata", "internal/scaffold"}},
	{name: "scripts", packages: []string{"scripts/*"}, imports: []string{"internal/pgtest", "internal/npmtest", "internal/githubtest"}},
	{name: "example services", packages: []string{"testdata/apps/*"}, libraries: anyLibrary},
	{name: "layout", packages: []string{"."}},
}

// refused returns why from, or its test files, may not import the package to,
// or nothing if it may.
func refused(from, to string, test bool) string {
	own, tree := layerOf(relative(from))
	if own == nil {
		return fmt.Sprintf("%s is in no layer of the layout", from)
	}
	if !strings.Contains(strings.Split(to, "/")[0], ".") { // standard library
		if own.pure && !test && slices.ContainsFunc(impure, func(p string) bool { return under(to, p) }) {
			return fmt.Sprintf("%s (%s) is pure, it may not import %s", from, own.name, to)
		}
		return ""
	}
	if !under(to, module) {
		known := func(library string) bool { return library == "*" || under(to, library) }
		if test || slices.ContainsFunc(own.libraries, known) {
			return ""
		}
		return fmt.Sprintf("%s (%s) may not import the library %s", from, own.name, to)
	}
	allowed := join(own.imports, []string{tree, tree + "/..."})
	if test {
		allowed = join(allowed, inTests)
	}
	target := relative(to)
	if slices.ContainsFunc(allowed, func(pattern string) bool { return fits(pattern, target) }) {
		return ""
	}
	return fmt.Sprintf("%s (%s) may not import %s", from, own.name, target)
}

// fits says whether a pattern allows target. A *test package is for tests
// wherever it lies: only being named, or *test, allows it.
func fits(pattern, target string) bool {
	if isTestSupport(target) {
		return pattern == "*test" || pattern == target
	}
	return treeOf(pattern, target) != ""
}

// layerOf returns the layer of a package and the tree that it belongs to.
func layerOf(target string) (*layer, string) {
	for i := range layers {
		for _, pattern := range layers[i].packages {
			if tree := treeOf(pattern, target); tree != "" {
				return &layers[i], tree
			}
		}
	}
	return nil, ""
}

// treeOf returns the root of the tree that target belongs to by the pattern, or
// nothing if it does not fit.
func treeOf(pattern, target string) string {
	if pattern == "*test" {
		if isTestSupport(target) {
			return target
		}
		return ""
	}
	if root, ok := strings.CutSuffix(pattern, "/..."); ok {
		if under(target, root) {
			return root
		}
		return ""
	}
	if parent, ok := strings.CutSuffix(pattern, "/*"); ok {
		rest, below := strings.CutPrefix(target, parent+"/")
		if !below {
			return ""
		}
		first, _, _ := strings.Cut(rest, "/")
		return parent + "/" + first
	}
	if pattern == target {
		return target
	}
	return ""
}

func isTestSupport(target string) bool { return strings.HasSuffix(path.Base(target), "test") }

func under(target, root string) bool {
	return target == root || strings.HasPrefix(target, root+"/")
}

func relative(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

func join(lists ...[]string) []string { return slices.Concat(lists...) }
