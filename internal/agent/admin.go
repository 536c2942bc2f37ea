package agent

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// maxBody bounds a request of the admin API.
const maxBody = 4 << 20

// handler is the admin API. Only /healthz answers without the token.
func (a *agent) handler() http.Handler {
	guarded := http.NewServeMux()
	guarded.HandleFunc("GET /v1/state", func(w http.ResponseWriter, _ *http.Request) {
		a.answer(w, a.state(), nil)
	})
	guarded.HandleFunc("PUT /v1/mark", change(a, func(_ *http.Request, to api.SetMark) (api.Done, error) {
		return a.setMark(to)
	}))
	guarded.HandleFunc("PUT /v1/split", change(a, func(_ *http.Request, to api.Shift) (api.Done, error) {
		return a.shift(to)
	}))
	guarded.HandleFunc("PUT /v1/sides/{side}", change(a, func(r *http.Request, to api.Launch) (api.Done, error) {
		return a.launchSide(r.Context(), api.Side(r.PathValue("side")), to)
	}))
	guarded.HandleFunc("PUT /v1/sides/{side}/instances", change(a, func(r *http.Request, to api.Scale) (api.Done, error) {
		return a.scale(r.Context(), api.Side(r.PathValue("side")), to)
	}))
	guarded.HandleFunc("DELETE /v1/sides/{side}", change(a, func(r *http.Request, to api.Retire) (api.Done, error) {
		return a.retire(r.Context(), api.Side(r.PathValue("side")), to)
	}))
	guarded.HandleFunc("GET /v1/counts", a.counts)
	guarded.Handle("GET /metrics", a.metrics())
	guarded.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.answer(w, nil, api.Refuse(api.CodeInvalid, "%s %s is not part of the admin API", r.Method, r.URL.Path))
	})
	open := http.NewServeMux()
	open.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	open.Handle("/", a.guard(guarded))
	return open
}

// guard lets pass who knows the token. Digests are compared, so that the time
// it takes tells neither content nor length.
func (a *agent) guard(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(a.opts.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		got := sha256.Sum256([]byte(given))
		if !bearer || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			a.answer(w, nil, api.Refuse(api.CodeUnauthorized, "the token is missing or not this agent's"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// change reads the body of a change and answers what came of it.
func change[T any](a *agent, do func(*http.Request, T) (api.Done, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var order T
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&order); err != nil {
			a.answer(w, nil, api.Refuse(api.CodeInvalid, "request body: %v", err))
			return
		}
		done, err := do(r, order)
		a.answer(w, done, err)
	}
}

func (a *agent) counts(w http.ResponseWriter, r *http.Request) {
	var since time.Time
	if text := r.URL.Query().Get("since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			a.answer(w, nil, api.Refuse(api.CodeInvalid, "since %q: must be a time such as 2026-01-02T15:04:05Z", text))
			return
		}
	}
	resolution := api.Resolution(r.URL.Query().Get("resolution"))
	switch resolution {
	case "":
		resolution = api.PerSplit
	case api.PerSplit, api.PerSecond:
	default:
		a.answer(w, nil, api.Refuse(api.CodeInvalid, "resolution %q: must be %q or %q", string(resolution), api.PerSplit, api.PerSecond))
		return
	}
	a.answer(w, a.book.Since(since, resolution), nil)
}

// answer writes a result or the refusal in its place.
func (a *agent) answer(w http.ResponseWriter, result any, err error) {
	status := http.StatusOK
	if err != nil {
		refusal := (*api.RefusedError)(nil)
		if !errors.As(err, &refusal) {
			refusal = api.Refuse(api.CodeFailed, "%v", err)
		}
		status, result = refusal.Status(), refusal
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(result); err != nil {
		a.opts.Log.Warn("admin answer was not taken", "error", err)
	}
}
