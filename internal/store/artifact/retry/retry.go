// Package retry asks a service again that cannot answer now, and keeps signed
// URLs out of errors.
package retry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Clock is the time by which is waited.
type Clock interface {
	Now() time.Time
	// Sleep returns after d, or earlier with the context's error.
	Sleep(ctx context.Context, d time.Duration) error
}

const (
	// Attempts bounds how often one request is made.
	Attempts = 5
	// Patience is the longest that a service may ask to be left alone; where it
	// asks for more, its answer is given back at once.
	Patience = 2 * time.Minute

	firstWait = time.Second
	// limitWait is GitHub's advice for a secondary limit without Retry-After.
	limitWait = time.Minute
	// peeked is how much of a refusal is read to tell a limit by it.
	peeked = 64 << 10
)

// Transport makes a request up to Attempts times: when the network fails, and
// for the answers 429, 500, 502, 503, 504 and GitHub's 403 for rate limits. It
// waits as long as the answer asks, else exponentially longer, with jitter. A
// request whose body cannot be had again (http.Request.GetBody) is made once.
type Transport struct {
	Next  http.RoundTripper
	Clock Clock
}

// Client gives a copy of c that asks again.
func Client(c *http.Client, clock Clock) *http.Client {
	again := *c
	next := c.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	again.Transport = Transport{Next: next, Clock: clock}
	return &again
}

// RoundTrip makes the request; the last answer or error is given back as it is.
func (t Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	repeatable := req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
	for attempt := 1; ; attempt++ {
		resp, err := t.Next.RoundTrip(req)
		if !repeatable || attempt == Attempts || req.Context().Err() != nil {
			return resp, err
		}
		wait, again := t.wait(resp, err, attempt)
		if !again {
			return resp, err
		}
		if resp != nil {
			// The rest of the answer is read so that the connection can be used again.
			_, cerr := io.Copy(io.Discard, io.LimitReader(resp.Body, peeked))
			err = errors.Join(cerr, resp.Body.Close())
		}
		if serr := t.Clock.Sleep(req.Context(), wait); serr != nil {
			return nil, errors.Join(serr, err)
		}
		if req, err = renewed(req); err != nil {
			return nil, err
		}
	}
}

func renewed(req *http.Request) (*http.Request, error) {
	next := req.Clone(req.Context())
	if req.GetBody == nil {
		return next, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, fmt.Errorf("read the request's body again: %w", err)
	}
	next.Body = body
	return next, nil
}

// wait says whether to ask again, and after which time.
func (t Transport) wait(resp *http.Response, err error, attempt int) (time.Duration, bool) {
	backoff := firstWait << (attempt - 1)
	backoff += time.Duration((rand.Float64() - 0.5) * float64(backoff))
	if err != nil {
		return backoff, true
	}
	asked, limited := t.asked(resp)
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return max(asked, backoff), asked <= Patience
	case http.StatusForbidden:
		return asked, limited && asked <= Patience
	}
	return 0, false
}

// asked tells how long the service asks to be left alone, and whether it does.
func (t Transport) asked(resp *http.Response) (time.Duration, bool) {
	if after := resp.Header.Get("Retry-After"); after != "" {
		if seconds, err := strconv.Atoi(after); err == nil {
			return time.Duration(seconds) * time.Second, true
		}
		if at, err := http.ParseTime(after); err == nil {
			return max(0, at.Sub(t.Clock.Now())), true
		}
	}
	if resp.Header.Get("X-RateLimit-Remaining") == "0" {
		if at, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			return max(time.Second, time.Unix(at, 0).Sub(t.Clock.Now())), true
		}
	}
	if resp.StatusCode == http.StatusForbidden && secondary(resp) {
		return limitWait, true
	}
	return 0, false
}

// secondary tells GitHub's secondary limit by the answer's body, which can
// still be read afterwards.
func secondary(resp *http.Response) bool {
	head, err := io.ReadAll(io.LimitReader(resp.Body, peeked))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
	return err == nil && strings.Contains(strings.ToLower(string(head)), "secondary rate limit")
}

// Redact gives err without the query of the URL that it names: the signature
// in it is a secret.
func Redact(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("%s %s: %w", strings.ToUpper(failed.Op), Place(failed.URL), failed.Err)
	}
	return err
}

// Place is a URL that can be shown: without user, query and fragment.
func Place(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an address that cannot be read"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
