package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Source gets tokens from the runner. The zero values of URL and Token are
// those of a job without the permission.
type Source struct {
	// URL and Token are the runner's ACTIONS_ID_TOKEN_REQUEST_URL and
	// ACTIONS_ID_TOKEN_REQUEST_TOKEN. Both are kept out of errors.
	URL   string
	Token string
	HTTP  *http.Client
	Clock Clock
}

const (
	attempts = 5
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 1 << 20
)

// pause is how long to wait after an attempt that failed: 1, 2, 4, 8 s.
func pause(attempt int) time.Duration { return time.Second << attempt }

// noTokenError says why there is no token.
type noTokenError struct{ why string }

func (e *noTokenError) Error() string { return ErrNoToken.Error() + ": " + e.why }
func (*noTokenError) Unwrap() error   { return ErrNoToken }

// Hint says what gives the job one.
func (*noTokenError) Hint() string {
	return "give the job \"permissions: id-token: write\" (the run of a fork's pull request gets none)"
}

// Request asks for a token with an audience. It is tried five times where the
// runner's service does not answer. The error wraps ErrNoToken where the job
// may have none.
func (s *Source) Request(ctx context.Context, audience string) (string, error) {
	if s.URL == "" || s.Token == "" {
		return "", &noTokenError{"the runner names no service that would issue one"}
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return "", &noTokenError{"ACTIONS_ID_TOKEN_REQUEST_URL is no URL"}
	}
	q := u.Query()
	q.Set("audience", audience)
	u.RawQuery = q.Encode()
	for attempt := 0; ; attempt++ {
		token, again, err := s.request(ctx, u)
		if err == nil || !again || attempt == attempts-1 {
			return token, err
		}
		if err := s.Clock.Sleep(ctx, pause(attempt)); err != nil {
			return "", fmt.Errorf("request an OIDC token: %w", err)
		}
	}
}

func (s *Source) request(ctx context.Context, u *url.URL) (token string, again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", false, &noTokenError{"ACTIONS_ID_TOKEN_REQUEST_URL is no URL"}
	}
	req.Header.Set("Authorization", "Bearer "+s.Token)
	status, body, err := fetch(s.HTTP, req)
	switch {
	case err != nil:
		return "", ctx.Err() == nil, fmt.Errorf("request an OIDC token of %s: %w", u.Host, err)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return "", false, &noTokenError{fmt.Sprintf("%s answers with status %d", u.Host, status)}
	case status != http.StatusOK:
		return "", transient(status), fmt.Errorf("request an OIDC token of %s: status %d", u.Host, status)
	}
	var answer struct {
		Value string `json:"value"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Value == "" {
		return "", false, fmt.Errorf("request an OIDC token of %s: there is none in the answer", u.Host)
	}
	return answer.Value, false, nil
}

func transient(status int) bool {
	return status == http.StatusTooManyRequests || status >= http.StatusInternalServerError
}

// fetch sends a request and reads the answer. Its errors are without the
// request's URL, which may hold more than is meant for a log.
func fetch(client *http.Client, req *http.Request) (status int, body []byte, err error) {
	resp, err := client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, err
}
