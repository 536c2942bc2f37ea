package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

const (
	healthEvery   = time.Second
	healthTimeout = 2 * time.Second
	startingEvery = 200 * time.Millisecond
	failsAfter    = 3 // unhealthy answers in a row
	defaultGrace  = 10 * time.Second
)

// checker asks one process for its health.
type checker struct {
	client  *http.Client
	url     string
	every   time.Duration
	timeout time.Duration
}

func newChecker(address string, spec api.Spec) *checker {
	return &checker{
		client: &http.Client{
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		url:     "http://" + address + spec.Health,
		every:   orDefault(spec.HealthEvery, healthEvery),
		timeout: orDefault(spec.HealthTimeout, healthTimeout),
	}
}

func orDefault(given api.Duration, otherwise time.Duration) time.Duration {
	if given > 0 {
		return given.Std()
	}
	return otherwise
}

// pause is the time until the next question.
func (c *checker) pause(ready bool) time.Duration {
	if ready {
		return c.every
	}
	return min(startingEvery, c.every/5)
}

// ask returns nil for any 2xx answer, else what was wrong in one line.
func (c *checker) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "gapless-agent")
	response, err := c.client.Do(request)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("no answer within %s", c.timeout)
		}
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return err
	}
	said, err := io.ReadAll(io.LimitReader(response.Body, 200))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return fmt.Errorf("status %d, then %w", response.StatusCode, err)
	}
	if response.StatusCode/100 == 2 {
		return nil
	}
	return fmt.Errorf("status %d: %q", response.StatusCode, strings.TrimSpace(string(said)))
}
