package kubernetes_test

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// TestRights writes down which rights each verb uses; testdata/rights has them.
func TestRights(t *testing.T) {
	t.Parallel()
	for name, made := range map[string]func(*testing.T) *twoSided{
		"selector": func(t *testing.T) *twoSided { return newTwoSided(t, rollout.BlueGreen, false) },
		"replicas": func(t *testing.T) *twoSided { return newTwoSided(t, rollout.Canary, false) },
		"route": func(t *testing.T) *twoSided {
			w := newTwoSided(t, rollout.Canary, true)
			w.target.PreviewHeader = "X-Canary: yes"
			return w
		},
		"ingress": func(t *testing.T) *twoSided {
			w := newTwoSided(t, rollout.Canary, false)
			w.target.Ingress, w.target.PreviewHeader = "web", "X-Canary: yes"
			w.Apply(t, w.namespace, ingress)
			return w
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := made(t)
			used := &rights{t: t, used: map[string]map[string]bool{}}
			used.play(playing{w, nil}.through(used.note))
			used.compare(filepath.Join("testdata", "rights", name))
		})
	}
}

// rights notes what is asked of the API server while a verb works.
type rights struct {
	t     *testing.T
	mu    sync.Mutex
	verb  string
	calls int
	used  map[string]map[string]bool
}

func (r *rights) play(p playing) {
	look := func() rollout.Token { r.begin("Observe"); return p.seen().Token }
	shift := func(side rollout.Side, weight rollout.Weight) {
		seen := look()
		r.begin("Shift")
		p.must(p.Shift(p.ctx(), seen, rollout.SplitTo(side, weight)))
	}
	launch := func(side rollout.Side, spec rollout.Spec) {
		seen := look()
		r.begin("Launch")
		p.must(p.Launch(p.ctx(), seen, side, spec))
	}
	seen := look()
	r.begin("Claim")
	p.must(p.Claim(p.ctx(), seen, rollout.Mark{Service: "shop"}))
	seen = look()
	r.begin("Claim")
	p.must(p.Claim(p.ctx(), seen, rollout.Mark{Service: "shop", Epoch: 1}))
	launch(rollout.Blue, p.spec("v1", "v1", 1))
	shift(rollout.Blue, rollout.Full)
	two := p.spec("v2", "v2", 2)
	launch(rollout.Green, two)
	r.begin("Observe")
	instance := p.seen().Sides[rollout.Green].Instances[0]
	r.begin("Reach")
	via, err := p.Reach(p.ctx(), instance)
	p.must(err)
	request, err := http.NewRequestWithContext(p.ctx(), http.MethodGet, "/", http.NoBody)
	p.must(err)
	response, err := via.RoundTrip(request)
	p.must(err)
	p.must(response.Body.Close())
	if p.strategy == rollout.Canary {
		shift(rollout.Green, 1)
		shift(rollout.Blue, rollout.Full)
		shift(rollout.Green, 1)
	}
	shift(rollout.Green, rollout.Full)
	shift(rollout.Blue, rollout.Full)
	for range 2 { // shifted back, and from where it stood
		seen = look()
		r.begin("Retire")
		_, err = p.Retire(p.ctx(), seen, rollout.Green)
		p.must(err)
		launch(rollout.Green, rollout.Spec{Revision: two.Revision})
	}
	r.begin("")
}

// begin counts for another verb from now on.
func (r *rights) begin(verb string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.verb != "" {
		r.t.Logf("%s: %d calls", r.verb, r.calls)
	}
	r.verb, r.calls = verb, 0
}

func (r *rights) note(request *http.Request, next http.RoundTripper) (*http.Response, error) {
	verb, resource := rightFor(request)
	r.mu.Lock()
	r.calls++
	if r.used[r.verb] == nil {
		r.used[r.verb] = map[string]bool{}
	}
	r.used[r.verb][resource+": "+verb] = true
	r.mu.Unlock()
	return next.RoundTrip(request)
}

// rightFor is the verb and resource by which RBAC knows a request for an object
// of a namespace.
func rightFor(request *http.Request) (verb, resource string) {
	_, path, _ := strings.Cut(request.URL.Path, "/namespaces/")
	parts := strings.Split(path, "/") // namespace, resource, name, subresource
	resource = parts[1]
	named := len(parts) > 2
	if len(parts) > 3 {
		resource += "/" + parts[3]
	}
	switch {
	case request.Method == http.MethodGet && named:
		return "get", resource
	case request.Method == http.MethodGet:
		return "list", resource
	case request.Method == http.MethodPut:
		return "update", resource
	case request.Method == http.MethodPost:
		return "create", resource
	}
	return strings.ToLower(request.Method), resource
}

func (r *rights) compare(file string) {
	var text strings.Builder
	for _, verb := range slices.Sorted(maps.Keys(r.used)) {
		if verb == "" {
			continue
		}
		fmt.Fprintln(&text, verb)
		for _, right := range slices.Sorted(maps.Keys(r.used[verb])) {
			fmt.Fprintln(&text, "  "+right)
		}
	}
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		r.t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}
