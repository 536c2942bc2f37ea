package config

import (
	"fmt"
	"regexp"
	"time"
)

// Sessions is how a client stays with the revision that it met first, for as
// long as that has a share of the traffic. New clients are divided by the
// weights.
type Sessions struct {
	// The name of the cookie. Services that share a host name need different ones. Default gapless-session.
	Cookie string `yaml:"cookie" jsonschema:"pattern=^[-!#$%&'*+.^_\\x60|~0-9A-Za-z]+$"`
	// How long a client holds the cookie, 1s to 400d. Default 0: until the browser is closed.
	Keep time.Duration `yaml:"keep"`
}

// Default fills in what a file may leave out.
func (s *Sessions) Default() { s.Cookie = "gapless-session" }

// cookieName is a token as RFC 6265 has it.
var cookieName = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")

// longestKept is what browsers cut a cookie's life down to.
const longestKept = 400 * day

func (k *checker) sessions(s *Sessions) {
	if s == nil {
		return
	}
	if at := "sessions.cookie"; !k.faulty(at) && !cookieName.MatchString(s.Cookie) {
		k.refuse(at, fmt.Sprintf("expected letters, digits and any of !#$%%&'*+-.^_`|~, observed %q", s.Cookie), "")
	}
	if s.Keep != 0 {
		k.within("sessions.keep", s.Keep, time.Second, longestKept)
	}
}
