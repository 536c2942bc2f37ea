package github

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-github/v90/github"
)

// Error is why a gate is shut, or why something could not be asked or told.
type Error struct {
	err  error
	hint string
	// unanswered is set where GitHub did not tell what was asked.
	unanswered bool
}

func (e *Error) Error() string { return e.err.Error() }
func (e *Error) Unwrap() error { return e.err }

// Hint says what to do.
func (e *Error) Hint() string { return e.hint }

func fault(hint, format string, args ...any) *Error {
	return &Error{err: fmt.Errorf(format, args...), hint: hint}
}

// asked makes an error of what GitHub answered: what was tried, and what
// permission it needs where the token has none.
func asked(err error, permission, format string, args ...any) error {
	doing := fmt.Sprintf(format, args...)
	e := fault("GitHub may be asked again later: run this phase again", "%s: %w", doing, err)
	switch status(err) {
	case 0:
		e.hint = ""
	case http.StatusForbidden:
		if !rateLimited(err) {
			e = fault("give the job \"permissions: "+permission+"\"", "%s: the token lacks the permission %s", doing, permission)
		}
	case http.StatusNotFound:
		e = fault("a token without \"permissions: "+permission+"\" does not see it either", "%s: not found", doing)
	case http.StatusUnauthorized:
		e = fault("a token ends with its job: is this the job's own?", "%s: the token is not taken", doing)
	}
	e.unanswered = true
	return e
}

// status is that of GitHub's answer, 0 where there was none.
func status(err error) int {
	if e, ok := errors.AsType[*github.ErrorResponse](err); ok && e.Response != nil {
		return e.Response.StatusCode
	}
	if rateLimited(err) {
		return http.StatusForbidden
	}
	return 0
}

func rateLimited(err error) bool {
	_, primary := errors.AsType[*github.RateLimitError](err)
	_, secondary := errors.AsType[*github.AbuseRateLimitError](err)
	e, ok := errors.AsType[*github.ErrorResponse](err)
	return primary || secondary || ok && e.Response != nil && e.Response.Header.Get(limitHeader) != ""
}
