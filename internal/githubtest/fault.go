package githubtest

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"
)

const rateWindow = time.Hour

// Fault is what goes wrong with a request.
type Fault struct {
	apply func(s *Server, w http.ResponseWriter, r *http.Request, next http.Handler)
}

type fault struct {
	left  int
	match func(*http.Request) bool
	Fault
}

// Fail lets the next n requests that match meet a fault; match is nil for
// all. Faults are met in the order in which they were given.
func (s *Server) Fail(n int, match func(*http.Request) bool, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{n, match, f})
}

func (s *Server) faulty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := s.nextFault(r); f != nil {
			f.apply(s, w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) nextFault(r *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.left > 0 && (f.match == nil || f.match(r)) {
			f.left--
			return &f.Fault
		}
	}
	return nil
}

// On matches requests with a method, any when it is empty, and a path that
// ends so.
func On(method, pathEnds string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return (method == "" || r.Method == method) && strings.HasSuffix(r.URL.Path, pathEnds)
	}
}

// Status refuses a request with a status such as 403, 404, 409, 422, 429, 500,
// 502 or 503, and the body that the part of GitHub which is asked gives with
// it: REST, the artifact service or the store of blobs.
func Status(code int) Fault {
	return Fault{func(s *Server, w http.ResponseWriter, r *http.Request, _ http.Handler) {
		switch {
		case strings.HasPrefix(r.URL.Path, twirpPrefix):
			s.write(w, answer{status: code, body: twirpError{twirpCode(code), http.StatusText(code)}})
		case strings.HasPrefix(r.URL.Path, blobPrefix):
			blobError{code, strings.ReplaceAll(http.StatusText(code), " ", ""), http.StatusText(code)}.write(s, w)
		default:
			s.write(w, failed(code, restMessage(code)))
		}
	}}
}

func restMessage(code int) string {
	message := map[int]string{
		http.StatusForbidden: "Resource not accessible by integration", http.StatusNotFound: "Not Found",
		http.StatusConflict: "Conflict", http.StatusUnprocessableEntity: "Validation Failed",
		http.StatusTooManyRequests: "Too Many Requests", http.StatusInternalServerError: "Server Error",
		http.StatusBadGateway: "Server Error", http.StatusServiceUnavailable: "No server is currently available to service your request.",
	}[code]
	return cmp.Or(message, http.StatusText(code))
}

func answering(given func(*Server) answer) Fault {
	return Fault{func(s *Server, w http.ResponseWriter, _ *http.Request, _ http.Handler) { s.write(w, given(s)) }}
}

// SecondaryLimit is GitHub's secondary rate limit, with 403 or 429.
func SecondaryLimit(code int, retryAfter time.Duration) Fault {
	return answering(func(*Server) answer {
		return answer{status: code, header: map[string]string{"Retry-After": strconv.Itoa(int(retryAfter.Seconds()))}, body: object{
			"message":           "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
			"documentation_url": "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits",
		}}
	})
}

// PrimaryLimit is GitHub's rate limit, which is lifted after a time.
func PrimaryLimit(resets time.Duration) Fault {
	return answering(func(s *Server) answer {
		given := failed(http.StatusForbidden, "API rate limit exceeded for installation.")
		given.header = map[string]string{"X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "0", "X-RateLimit-Used": "1000",
			"X-RateLimit-Resource": "core", "X-RateLimit-Reset": strconv.FormatInt(s.now().Add(resets).Unix(), 10)}
		return given
	})
}

// Reset cuts the connection without an answer; nothing was done. Go's own
// transport repeats a GET at once where the connection had served before.
func Reset() Fault {
	return Fault{func(*Server, http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }}
}

// LostAnswer does what is asked, and then cuts the connection.
func LostAnswer() Fault {
	return Fault{func(_ *Server, _ http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}}
}

// Truncated does what is asked, and cuts the connection in the middle of the
// answer's body.
func Truncated() Fault {
	return Fault{func(s *Server, w http.ResponseWriter, r *http.Request, next http.Handler) {
		whole := record(w, r, next)
		w.Header().Set("Content-Length", strconv.Itoa(whole.Body.Len()))
		w.WriteHeader(whole.Code)
		if _, err := w.Write(whole.Body.Bytes()[:whole.Body.Len()/2]); err != nil {
			s.tb.Logf("githubtest: %v", err)
		}
		panic(http.ErrAbortHandler)
	}}
}

// Slow does what is asked, and sends half of the answer's body; the rest
// follows once proceed is closed, or never where the client breaks off.
func Slow(proceed <-chan struct{}) Fault {
	return Fault{func(s *Server, w http.ResponseWriter, r *http.Request, next http.Handler) {
		whole := record(w, r, next)
		w.WriteHeader(whole.Code)
		half := whole.Body.Len() / 2
		send := func(part []byte) {
			if _, err := w.Write(part); err != nil {
				s.tb.Logf("githubtest: %v", err)
			}
		}
		send(whole.Body.Bytes()[:half])
		if err := http.NewResponseController(w).Flush(); err != nil {
			s.tb.Logf("githubtest: %v", fmt.Errorf("slow body: %w", err))
		}
		select {
		case <-proceed:
			send(whole.Body.Bytes()[half:])
		case <-r.Context().Done():
		}
	}}
}

// record lets a request be answered, and gives w the header of the answer.
func record(w http.ResponseWriter, r *http.Request, next http.Handler) *httptest.ResponseRecorder {
	whole := httptest.NewRecorder()
	next.ServeHTTP(whole, r)
	maps.Copy(w.Header(), whole.Header())
	return whole
}

// Mend ends all faults.
func (s *Server) Mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}
