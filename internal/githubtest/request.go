package githubtest

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Request is a request that the server received, faults included.
type Request struct {
	Method string
	Path   string // below the origin
	Query  url.Values
	Header http.Header
	Body   []byte // its first 64 KiB
}

// maxLogged is how much of a body is kept.
const maxLogged = 64 << 10

// Requests returns what was received, in the order in which it came.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// RequestsTo returns those with a method and a path that ends so.
func (s *Server) RequestsTo(method, pathEnds string) []Request {
	return slices.DeleteFunc(s.Requests(), func(r Request) bool {
		return r.Method != method || !strings.HasSuffix(r.Path, pathEnds)
	})
}

func (s *Server) recorded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client broke off
		}
		r.Body = io.NopCloser(bytes.NewReader(content))
		s.mu.Lock()
		s.requests = append(s.requests, Request{r.Method, r.URL.Path, r.URL.Query(), r.Header.Clone(),
			content[:min(len(content), maxLogged)]})
		s.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}
