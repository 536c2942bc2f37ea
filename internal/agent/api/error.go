package api

import (
	"errors"
	"fmt"
	"net/http"
)

// Sentinels for what an agent refuses; errors of [Client] wrap them.
var (
	ErrConflict     = errors.New("the platform changed since it was looked at")
	ErrNotReady     = errors.New("no ready instance")
	ErrServing      = errors.New("the side takes traffic")
	ErrInvalid      = errors.New("invalid request")
	ErrUnauthorized = errors.New("the agent refused the token")
	ErrUnreachable  = errors.New("the agent does not answer")
	ErrFailed       = errors.New("the agent could not do it")
)

// Code is the kind of a refusal on the wire.
type Code string

// The codes, each with its sentinel and HTTP status.
const (
	CodeConflict     Code = "conflict"
	CodeNotReady     Code = "not_ready"
	CodeServing      Code = "serving"
	CodeInvalid      Code = "invalid"
	CodeUnauthorized Code = "unauthorized"
	CodeFailed       Code = "failed"
)

// RefusedError is the body of every answer that is not a success.
type RefusedError struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Error is the agent's own message.
func (r *RefusedError) Error() string { return r.Message }

// Unwrap gives the sentinel that the code stands for.
func (r *RefusedError) Unwrap() error {
	switch r.Code {
	case CodeConflict:
		return ErrConflict
	case CodeNotReady:
		return ErrNotReady
	case CodeServing:
		return ErrServing
	case CodeInvalid:
		return ErrInvalid
	case CodeUnauthorized:
		return ErrUnauthorized
	case CodeFailed:
	}
	return ErrFailed
}

// Status is the HTTP status that carries the refusal.
func (r *RefusedError) Status() int {
	switch r.Code {
	case CodeConflict, CodeNotReady, CodeServing:
		return http.StatusConflict
	case CodeInvalid:
		return http.StatusUnprocessableEntity
	case CodeUnauthorized:
		return http.StatusUnauthorized
	case CodeFailed:
	}
	return http.StatusInternalServerError
}

// Refuse makes a refusal.
func Refuse(code Code, format string, args ...any) *RefusedError {
	return &RefusedError{Code: code, Message: fmt.Sprintf(format, args...)}
}
