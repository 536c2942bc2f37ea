package githubtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPrunedKeepsWhatIsReferredTo(t *testing.T) {
	whole := `{"openapi":"3.0.3","paths":{
		"/a":{"get":{"responses":{"200":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/tree"},"examples":{"x":{"$ref":"#/components/examples/x"}}}}}}},"post":{}},
		"/b":{"get":{}}},
		"components":{"examples":{"x":{}},"parameters":{"p":{}},
			"schemas":{"tree":{"properties":{"child":{"$ref":"#/components/schemas/tree"},"leaf":{"$ref":"#/components/schemas/leaf"}}},"leaf":{"type":"string"},"other":{}}}}`
	content, err := pruned([]byte(whole), []string{"GET /a"})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Paths      map[string]map[string]any
		Components map[string]map[string]any
	}
	if err := json.Unmarshal(content, &got); err != nil {
		t.Fatal(err)
	}
	var schemas []string
	for name := range got.Components["schemas"] {
		schemas = append(schemas, name)
	}
	slices.Sort(schemas)
	if diff := cmp.Diff([]string{"leaf", "tree"}, schemas); diff != "" || len(got.Components) != 1 {
		t.Errorf("components %v: %s", got.Components, diff)
	}
	if len(got.Paths) != 1 || len(got.Paths["/a"]) != 1 {
		t.Errorf("paths %v", got.Paths)
	}
	for name, served := range map[string]string{"absent": "GET /c", "method": "PUT /b"} {
		if _, err := pruned([]byte(whole), []string{served}); err == nil || !strings.Contains(err.Error(), served) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	broken := strings.ReplaceAll(whole, `"leaf":{"type":"string"},`, "")
	if _, err := pruned([]byte(broken), []string{"GET /a"}); err == nil || !strings.Contains(err.Error(), "leaf") {
		t.Errorf("error %v, want the reference that leads nowhere", err)
	}
}

// TestWrongAnswersAreFound shows that the fake holds its own answers against
// the description.
func TestWrongAnswersAreFound(t *testing.T) {
	s := New(t)
	path := "/repos/acme/shop/actions/artifacts"
	op, params := s.description.find(request(t, path))
	if op == nil {
		t.Fatal("the operation is not found")
	}
	input, _, err := op.understand(request(t, path), params)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		given answer
		fault string
	}{
		"right":   {ok(object{"total_count": 0, "artifacts": []object{}}), ""},
		"refused": {failed(http.StatusForbidden, "no"), ""},
		"type":    {ok(object{"total_count": "none", "artifacts": []object{}}), "total_count"},
		"status":  {answer{status: http.StatusCreated, body: object{}}, "201"},
		"no body": {answer{status: http.StatusOK}, "missing"},
	} {
		_, err := s.checked(t.Context(), op, input, test.given)
		if (err == nil) != (test.fault == "") || err != nil && !strings.Contains(err.Error(), test.fault) {
			t.Errorf("%s: error %v, want %q", name, err, test.fault)
		}
	}
}

func request(t *testing.T, path string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://fake"+apiPrefix+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestEveryOperationIsFoundByItsPath guards against two paths that a request
// fits alike.
func TestEveryOperationIsFoundByItsPath(t *testing.T) {
	s := New(t)
	for _, o := range s.description.operations {
		path := strings.NewReplacer("{", "", "}", "").Replace(strings.Join(o.segments, "/"))
		r := request(t, path)
		r.Method = o.route.Method
		if found, _ := s.description.find(r); found != o {
			t.Errorf("%s %s leads to %v", r.Method, path, found.segments)
		}
	}
}
