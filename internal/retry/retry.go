// Package retry asks an HTTP service again that cannot answer now, and keeps
// secrets and signed URLs out of errors.
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
	"regexp"
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
	// whole is how long an answer may be to be read before it is given back.
	whole = 32 << 20
)

// Transport makes a request up to Attempts times: when the network fails, also
// in the midst of the answer, and for the answers 429, 500, 502, 503, 504 and
// GitHub's 403 for rate limits. It waits as long as the answer asks, else
// exponentially longer, with jitter. A request whose body cannot be had again
// (http.Request.GetBody) is made once. Answers of up to 32 MiB are held in
// memory.
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
		resp, said, err := t.once(req)
		if !repeatable || attempt == Attempts || req.Context().Err() != nil {
			return resp, err
		}
		wait, again := t.wait(resp, said, err, attempt)
		if !again {
			return resp, err
		}
		if resp != nil {
			err = resp.Body.Close()
		}
		if serr := t.Clock.Sleep(req.Context(), wait); serr != nil {
			return nil, errors.Join(serr, err)
		}
		if req, err = renewed(req); err != nil {
			return nil, err
		}
	}
}

// once makes the request and reads the answer, which can still be read
// afterwards.
func (t Transport) once(req *http.Request) (*http.Response, []byte, error) {
	resp, err := t.Next.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	said, err := io.ReadAll(io.LimitReader(resp.Body, whole))
	if err != nil {
		return nil, nil, errors.Join(err, resp.Body.Close())
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(said), resp.Body), resp.Body}
	return resp, said, nil
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
func (t Transport) wait(resp *http.Response, said []byte, err error, attempt int) (time.Duration, bool) {
	backoff := firstWait << (attempt - 1)
	backoff += time.Duration((rand.Float64() - 0.5) * float64(backoff))
	if err != nil {
		return backoff, true
	}
	asked, limited := t.asked(resp, said)
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
func (t Transport) asked(resp *http.Response, said []byte) (time.Duration, bool) {
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
	if resp.StatusCode == http.StatusForbidden && bytes.Contains(bytes.ToLower(said), []byte("secondary rate limit")) {
		return limitWait, true
	}
	return 0, false
}

// signature finds what is secret in an address that a text quotes.
var signature = regexp.MustCompile(`(?i)\b(sig|signature|token)=[^&\s"<]+`)

// Scrub gives text without the secrets and signatures in it.
func Scrub(text string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return signature.ReplaceAllString(text, "$1=***")
}

// Redact gives err without the secrets in its text, and without the query of
// the URL that it names: the signature in it is one.
func Redact(err error, secrets ...string) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = fmt.Errorf("%s %s: %w", strings.ToUpper(failed.Op), Place(failed.URL), failed.Err)
	}
	if err == nil {
		return nil
	}
	if text := Scrub(err.Error(), secrets...); text != err.Error() {
		return redacted{text, err}
	}
	return err
}

// redacted is an error that is shown as another text.
type redacted struct {
	text string
	err  error
}

func (r redacted) Error() string { return r.text }
func (r redacted) Unwrap() error { return r.err }

// Place is a URL that can be shown: without user, query and fragment.
func Place(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an address that cannot be read"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
