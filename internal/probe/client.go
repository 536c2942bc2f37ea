// Package probe asks a service the same small question throughout a release,
// as a client would, and enters into a ledger what became of each.
package probe

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gapless-deploy/gapless/internal/ledger"
)

// maxAnswer is how much of an answer is read; the rest is left to the closing
// of the connection.
const maxAnswer = 1 << 20

// ErrWithdrawn says that the client itself gave a request up: its context
// ended. It says nothing of the service.
var ErrWithdrawn = errors.New("request was withdrawn")

// Client sends each request once. A retry would hide what is looked for.
type Client struct {
	http    *http.Client
	timeout time.Duration
	now     func() time.Time
}

// ClientOptions bounds a client.
type ClientOptions struct {
	// Timeout bounds one request with its answer; zero means 5 s.
	Timeout time.Duration
	// Fresh opens a connection for each request, and so meets every gap of the
	// listener; otherwise connections are kept.
	Fresh bool
	// Idle is how many connections are kept; zero means 2.
	Idle int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Reply is an answer with its content.
type Reply struct {
	ledger.Answer
	Body []byte
}

// NewClient gives a client with connections of its own.
func NewClient(o ClientOptions) *Client {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Client{
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				DisableKeepAlives:   o.Fresh,
				MaxIdleConnsPerHost: o.Idle,
			},
			// What is asked for is this answer, wherever it points.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout: cmp.Or(o.Timeout, 5*time.Second),
		now:     o.Now,
	}
}

// Do sends one request. What went wrong on the way is in the reply; the error
// says that the request was withdrawn (ErrWithdrawn) or cannot be made at all.
func (c *Client) Do(ctx context.Context, method, url string, body []byte) (Reply, error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, method, url, once(body))
	if err != nil {
		return Reply{}, fmt.Errorf("request: %w", err)
	}
	if len(body) > 0 {
		request.ContentLength = int64(len(body))
		request.Header.Set("Content-Type", "application/json")
	}
	reply := Reply{Answer: ledger.Answer{Started: c.now()}}
	c.ask(request, &reply)
	reply.Ended = c.now()
	if reply.Err != nil && ctx.Err() != nil {
		return Reply{}, fmt.Errorf("%w: %w", ErrWithdrawn, reply.Err)
	}
	return reply, nil
}

func (c *Client) ask(request *http.Request, reply *Reply) {
	response, err := c.http.Do(request)
	if err != nil {
		reply.Err = err
		return
	}
	reply.Status = response.StatusCode
	reply.Read(response.Header)
	reply.Body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	reply.Err = errors.Join(err, response.Body.Close())
}

// Close closes the connections that are kept.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// once hides from net/http that a body could be sent again. Without it the
// transport silently retries a GET whose kept connection broke, and never
// tells. An empty body of this kind is not sent.
func once(body []byte) io.Reader {
	return struct{ io.Reader }{bytes.NewReader(body)}
}
