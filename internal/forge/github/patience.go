package github

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	attempts = 5
	// maxWait bounds what is waited for one request in all.
	maxWait = 3 * time.Minute
	// answerWithin bounds one attempt.
	answerWithin = 30 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 16 << 20
	// unnamedLimit is what GitHub asks to wait for at least where it names no
	// time for a secondary rate limit.
	unnamedLimit = time.Minute
)

// patience repeats what GitHub could not answer or asks to be asked later: it
// waits for as long as it is told to, for three minutes at most. What creates
// something is repeated only where it is sure to have done nothing.
type patience struct {
	next  http.RoundTripper
	clock Clock
}

// RoundTrip implements http.RoundTripper. The answer is whole when it returns.
func (p *patience) RoundTrip(req *http.Request) (*http.Response, error) {
	var waited time.Duration
	for attempt := 0; ; attempt++ {
		resp, err := p.try(req)
		wait, again := p.again(req, resp, err, attempt)
		if !again || attempt == attempts-1 || waited+wait > maxWait {
			return resp, err
		}
		waited += wait
		if err := p.clock.Sleep(req.Context(), wait); err != nil {
			return nil, err
		}
	}
}

func (p *patience) try(req *http.Request) (resp *http.Response, err error) {
	ctx, cancel := context.WithTimeout(req.Context(), answerWithin)
	defer cancel()
	once := req.Clone(ctx)
	if req.GetBody != nil {
		if once.Body, err = req.GetBody(); err != nil {
			return nil, fmt.Errorf("read the request again: %w", err)
		}
	}
	if resp, err = p.next.RoundTrip(once); err != nil {
		return nil, err
	}
	whole, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(whole))
	if limited(resp, whole) {
		resp.Header.Set(limitHeader, "yes")
	}
	return resp, nil
}

// limitHeader notes that the answer's body speaks of a rate limit.
const limitHeader = "X-Gapless-Limited"

func limited(resp *http.Response, body []byte) bool {
	refused := resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusTooManyRequests
	return refused && strings.Contains(strings.ToLower(string(body)), "rate limit")
}

// again says whether and after what time a request is worth another attempt.
func (p *patience) again(req *http.Request, resp *http.Response, err error, attempt int) (time.Duration, bool) {
	repeatable := req.Method != http.MethodPost
	pause := time.Second << attempt
	switch {
	case err != nil:
		return pause, repeatable && req.Context().Err() == nil
	case resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusTooManyRequests:
		return p.limit(resp, attempt)
	case resp.StatusCode >= http.StatusInternalServerError:
		return pause, repeatable
	}
	return 0, false
}

// limit reads how long a rate limit lasts; none is one where the token simply
// may not.
func (p *patience) limit(resp *http.Response, attempt int) (time.Duration, bool) {
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		return time.Duration(max(seconds, 1)) * time.Second, true
	}
	if resp.Header.Get("X-RateLimit-Remaining") == "0" {
		if reset, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			return max(time.Unix(reset, 0).Sub(p.clock.Now()), 0) + time.Second, true
		}
	}
	if resp.Header.Get(limitHeader) != "" {
		return unnamedLimit << attempt, true
	}
	return time.Second << attempt, resp.StatusCode == http.StatusTooManyRequests
}
