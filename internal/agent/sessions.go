package agent

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/router"
)

// savedSessions are the sessions in force on both sides.
type savedSessions struct {
	api.Sessions
	// Key is random. Cookies are made from it, so that an agent started again
	// knows those that it gave, and nobody else can make one.
	Key string `json:"key"`
}

func (s *savedSessions) check() error {
	if s == nil {
		return nil
	}
	if s.Key == "" {
		return errors.New("sessions: key is missing")
	}
	return s.Check()
}

// value is what the cookie says of a launch: nothing but that it is the same.
func (s *savedSessions) value(launch int) string {
	sum := hmac.New(sha256.New, []byte(s.Key))
	fmt.Fprint(sum, "launch ", launch) //nolint:errcheck // a hash takes everything
	return base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:16])
}

// keepSessions sets the sessions of both sides, nil for none, and tells whether
// they were others. The key stays for as long as there are any.
func (s *saved) keepSessions(to *api.Sessions) (changed bool) {
	switch before := s.Sessions; {
	case to == nil:
		s.Sessions = nil
		return before != nil
	case before == nil:
		s.Sessions = &savedSessions{Sessions: *to, Key: rand.Text()}
	case before.Sessions == *to:
		return false
	default:
		s.Sessions = &savedSessions{Sessions: *to, Key: before.Key}
	}
	return true
}

// remember has the router keep clients by the sessions that are saved. a.mu is held.
func (a *agent) remember() {
	in := a.saved.Sessions
	if in == nil {
		a.router.Remember(nil)
		return
	}
	values := map[api.Side]string{}
	for name, side := range a.saved.Sides {
		values[name] = in.value(side.Launch)
	}
	a.router.Remember(&router.Sessions{Cookie: in.Cookie, Keep: in.Keep.Std(), Values: values})
}
