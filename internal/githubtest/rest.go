package githubtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

const apiPrefix = "/api/v3"

// operation is one operation of the REST API. The permissions are those that
// GitHub's documentation names; any of them suffices.
type operation struct {
	needs []need
	serve func(*call) answer

	route    *routers.Route // of the description
	segments []string       // of the path; "{name}" is a parameter
}

// need is a permission, such as actions: read.
type need struct {
	scope Scope
	level Access
}

// call is a request with what is known of it. The server is locked.
type call struct {
	*Server
	request *http.Request
	params  map[string]string
	token   *token
	repo    *Repository // nil where the path names none
	body    object
}

// answer is what a call is answered with. An empty body is no content.
type answer struct {
	status int
	body   any
	header map[string]string
}

// operations are all that is served, by method and path as described.
func operations() map[string]*operation {
	all := map[string]*operation{}
	for _, some := range []map[string]*operation{
		repositoryOperations(), artifactOperations(), runOperations(), environmentOperations(),
		pullOperations(), commentOperations(), deploymentOperations(),
	} {
		maps.Copy(all, some)
	}
	return all
}

// bind finds the operation in the description.
func (o *operation) bind(doc *openapi3.T, name string) error {
	method, path, _ := strings.Cut(name, " ")
	item := doc.Paths.Value(path)
	if item == nil || item.GetOperation(method) == nil {
		return fmt.Errorf("operation %s is not described", name)
	}
	o.route = &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: item.GetOperation(method)}
	o.segments = strings.Split(path, "/")
	return nil
}

// find returns the operation that a request is for: one whose path names more
// of it literally comes first.
func (d *description) find(r *http.Request) (*operation, map[string]string) {
	got := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), apiPrefix), "/")
	var best *operation
	var params map[string]string
	for _, o := range d.operations {
		if o.route.Method != r.Method {
			continue
		}
		if found, ok := o.match(got); ok && (best == nil || len(found) < len(params)) {
			best, params = o, found
		}
	}
	return best, params
}

func (o *operation) match(got []string) (map[string]string, bool) {
	if len(got) != len(o.segments) {
		return nil, false
	}
	params := map[string]string{}
	for i, segment := range o.segments {
		value, err := url.PathUnescape(got[i])
		if err != nil {
			return nil, false
		}
		if strings.HasPrefix(segment, "{") {
			params[strings.Trim(segment, "{}")] = value
		} else if segment != value {
			return nil, false
		}
	}
	return params, true
}

func (s *Server) serveREST(w http.ResponseWriter, r *http.Request) {
	op, params := s.description.find(r)
	if op == nil {
		s.tb.Errorf("githubtest: %s %s: the fake serves no such operation", r.Method, r.URL.Path)
		s.write(w, failed(http.StatusNotFound, "Not Found"))
		return
	}
	input, body, err := op.understand(r, params)
	if err != nil {
		s.tb.Errorf("githubtest: %s %s is not as GitHub describes it: %v", r.Method, r.URL, err)
		s.write(w, failed(http.StatusUnprocessableEntity, "Validation Failed"))
		return
	}
	s.mu.Lock()
	given := op.answer(&call{Server: s, request: r, params: params, body: body})
	given, err = s.checked(r.Context(), op, input, given)
	s.mu.Unlock()
	if err != nil {
		s.tb.Errorf("githubtest: the answer %d to %s %s is not as GitHub describes it: %v", given.status, r.Method, r.URL, err)
	}
	s.write(w, given)
}

// understand holds a request against the description.
func (o *operation) understand(r *http.Request, params map[string]string) (*openapi3filter.RequestValidationInput, object, error) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, nil, fmt.Errorf("read body: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(content))
	input := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: o.route,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true, SkipSettingDefaults: true}}
	known := map[string]bool{}
	for _, parameter := range o.route.Operation.Parameters {
		known[parameter.Value.Name] = parameter.Value.In == openapi3.ParameterInQuery
	}
	for name, values := range r.URL.Query() {
		if !known[name] || len(values) != 1 {
			return nil, nil, fmt.Errorf("query %s=%v: known are %v, once each", name, values, slices.Sorted(maps.Keys(known)))
		}
	}
	if err := openapi3filter.ValidateRequest(r.Context(), input); err != nil {
		return nil, nil, err
	}
	body := object{}
	if len(content) == 0 {
		return input, body, nil
	}
	if err := json.Unmarshal(content, &body); err != nil {
		return nil, nil, fmt.Errorf("body: %w", err)
	}
	properties := o.route.Operation.RequestBody.Value.Content.Get("application/json").Schema.Value.Properties
	for name := range body {
		if properties[name] == nil {
			return nil, nil, fmt.Errorf("body: %s is none of %v", name, slices.Sorted(maps.Keys(properties)))
		}
	}
	return input, body, nil
}

// answer asks who calls and whether they may, and then lets the operation
// answer.
func (o *operation) answer(c *call) answer {
	c.calls++
	var refused *answer
	if c.token, refused = c.authenticate(); refused != nil {
		return *refused
	}
	if o.params("owner") {
		c.repo = c.repositories[strings.ToLower(c.params["owner"]+"/"+c.params["repo"])]
		if c.repo == nil || !c.token.sees(c.repo) {
			return failed(http.StatusNotFound, "Not Found")
		}
	}
	if refused := c.token.permit(c.repo, o.needs); refused != nil {
		return *refused
	}
	return o.serve(c)
}

func (o *operation) params(name string) bool { return slices.Contains(o.segments, "{"+name+"}") }

// checked completes an answer and holds it against the description.
func (s *Server) checked(ctx context.Context, op *operation, input *openapi3filter.RequestValidationInput, given answer) (answer, error) {
	given = s.headed(given)
	described := op.route.Operation.Responses.Status(given.status)
	if described == nil {
		if given.status < http.StatusBadRequest {
			return given, fmt.Errorf("status %d is not described", given.status)
		}
		return given, nil // GitHub may refuse anything
	}
	content := described.Value.Content.Get("application/json")
	if content == nil || given.body == nil {
		if content != nil {
			return given, fmt.Errorf("a body is missing")
		}
		return given, nil
	}
	whole, err := completed(content.Schema.Value, given.body, s.now())
	if err != nil {
		return given, err
	}
	given.body = whole
	encoded, err := json.Marshal(whole)
	if err != nil {
		return given, fmt.Errorf("encode: %w", err)
	}
	header := http.Header{"Content-Type": {"application/json; charset=utf-8"}}
	for name, value := range given.header {
		header.Set(name, value)
	}
	output := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: given.status,
		Header: header, Options: input.Options}
	return given, openapi3filter.ValidateResponse(ctx, output.SetBodyBytes(encoded))
}

// headed adds what each answer of the REST API has.
func (s *Server) headed(given answer) answer {
	const anHour = 1000 // requests of a workflow's token in a repository
	header := map[string]string{
		"X-GitHub-Media-Type":   "github.v3; format=json",
		"X-GitHub-Request-Id":   fmt.Sprintf("FAKE:%d", s.calls),
		"X-RateLimit-Limit":     strconv.Itoa(anHour),
		"X-RateLimit-Remaining": strconv.Itoa(max(anHour-s.calls, 1)),
		"X-RateLimit-Used":      strconv.Itoa(s.calls),
		"X-RateLimit-Reset":     strconv.FormatInt(s.now().Add(rateWindow).Unix(), 10),
		"X-RateLimit-Resource":  "core",
	}
	maps.Copy(header, given.header)
	given.header = header
	return given
}

func (s *Server) write(w http.ResponseWriter, given answer) {
	for name, value := range given.header {
		w.Header().Set(name, value)
	}
	if given.body == nil {
		w.WriteHeader(given.status)
		return
	}
	encoded, err := json.Marshal(given.body)
	if err != nil {
		s.tb.Errorf("githubtest: encode answer: %v", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(given.status)
	if _, err := w.Write(encoded); err != nil {
		return // the client left, which is its right
	}
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

// failed is an error as GitHub words it.
func failed(status int, message string) answer {
	return answer{status: status, body: object{"message": message, "status": strconv.Itoa(status),
		"documentation_url": "https://docs.github.com/rest"}}
}

func notFound() answer { return failed(http.StatusNotFound, "Not Found") }
