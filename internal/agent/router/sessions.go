package router

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// Sessions keep a client with the side that it met, by a cookie.
type Sessions struct {
	// Cookie is its name.
	Cookie string
	// Keep is how long the client holds it, 0 for as long as its own session.
	Keep time.Duration
	// Values are what it says of each side: one for each launch, that nobody
	// can guess.
	Values map[api.Side]string
}

// Remember puts sessions in force for later requests; nil ends them. Clients
// whose cookie says something else are new ones.
func (r *Router) Remember(to *Sessions) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions.Store(newSessions(to))
}

// sessions are Sessions made ready for use; nil when there are none.
type sessions struct {
	cookie string
	sides  map[string]api.Side // by value
	grants map[api.Side]grants
}

// grants are a side's cookie as Set-Cookie says it to clients over TLS and others.
type grants struct{ plain, secure string }

func newSessions(from *Sessions) *sessions {
	if from == nil {
		return nil
	}
	s := &sessions{cookie: from.Cookie, sides: map[string]api.Side{}, grants: map[api.Side]grants{}}
	for side, value := range from.Values {
		grant := http.Cookie{ //nolint:gosec // G124: who comes without TLS would never send it back
			Name: from.Cookie, Value: value, Path: "/",
			// Whole seconds, rounded up: 0 leaves the end to the client.
			MaxAge: int((from.Keep + time.Second - 1) / time.Second),
			Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		}
		secure := grant.String()
		grant.Secure = false
		s.sides[value], s.grants[side] = side, grants{plain: grant.String(), secure: secure}
	}
	return s
}

// take reads the cookie and removes it from a request's headers. All other
// cookies stay as the client wrote them. One name may come several times, when
// somebody set it for another path or a whole domain.
func (s *sessions) take(header http.Header) (values []string) {
	const name = "Cookie"
	lines := header[name]
	for i, line := range lines {
		if !strings.Contains(line, s.cookie) {
			continue
		}
		others := slices.DeleteFunc(strings.Split(line, ";"), func(pair string) bool {
			key, value, _ := strings.Cut(pair, "=")
			ours := strings.TrimSpace(key) == s.cookie
			if ours {
				values = append(values, strings.TrimSpace(value))
			}
			return ours
		})
		lines[i] = strings.TrimSpace(strings.Join(others, ";"))
	}
	if values == nil {
		return nil
	}
	header[name] = slices.DeleteFunc(lines, func(line string) bool { return line == "" })
	if len(header[name]) == 0 {
		delete(header, name)
	}
	return values
}

// met is the side that a client's cookie speaks of; "" when it is of none.
func (s *sessions) met(values []string) api.Side {
	if s == nil {
		return ""
	}
	for _, value := range values {
		if side, known := s.sides[value]; known {
			return side
		}
	}
	return ""
}

// grant is the Set-Cookie for a client that meets a side; "" without sessions.
func (s *sessions) grant(side api.Side, secure bool) string {
	switch {
	case s == nil:
		return ""
	case secure:
		return s.grants[side].secure
	default:
		return s.grants[side].plain
	}
}

// overTLS tells whether the client came over TLS, as the instance is told it.
func overTLS(told http.Header) bool {
	first, _, _ := strings.Cut(told.Get("X-Forwarded-Proto"), ",")
	return strings.EqualFold(strings.TrimSpace(first), "https")
}
