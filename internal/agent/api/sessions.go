package api

import (
	"fmt"
	"net/http"
)

// Sessions is how clients stay with the revision that they met first.
type Sessions struct {
	// Cookie is the name of the cookie that tells it.
	Cookie string `json:"cookie"`
	// Keep is how long a client holds the cookie; 0 until it ends its own session.
	Keep Duration `json:"keep,omitempty"`
}

// Check returns an error unless the cookie can have this name and keep is not
// negative.
func (s Sessions) Check() error {
	named := http.Cookie{Name: s.Cookie} //nolint:gosec // G124: looked at, never sent
	if err := named.Valid(); err != nil {
		return fmt.Errorf("sessions: cookie %q cannot be the name of a cookie", s.Cookie)
	}
	if s.Keep < 0 {
		return fmt.Errorf("sessions: keep: %s must not be negative", s.Keep.Std())
	}
	return nil
}
