package prometheus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/gapless-deploy/gapless/internal/retry"
)

// patience is how long one query may take, with all attempts.
const patience = 30 * time.Second

// QueryError is a question that Prometheus did not answer.
type QueryError struct {
	// Server is its address, without a password.
	Server string
	// Query is what was asked.
	Query string
	// Status is the HTTP status of its last answer, 0 where none came.
	Status int
	Err    error
}

func (e *QueryError) Error() string {
	return fmt.Sprintf("prometheus %s: query %s: %v", e.Server, e.Query, e.Err)
}

func (e *QueryError) Unwrap() error { return e.Err }

// Hint says what a person can do.
func (e *QueryError) Hint() string {
	switch {
	case e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden:
		return "check the variable that token_env or basic_auth_env names"
	case e.Status == http.StatusNotFound:
		return "check meter.prometheus.url: queries go to /api/v1/query below it"
	case e.Status == http.StatusBadRequest || e.Status == http.StatusUnprocessableEntity:
		return "try the query in Prometheus itself"
	case e.Status == http.StatusTooManyRequests || e.Status >= http.StatusInternalServerError:
		return "Prometheus is overloaded or restarting; run this job again once it answers"
	}
	return "check meter.prometheus.url and that Prometheus is reachable from here"
}

// client asks one Prometheus.
type client struct {
	api    v1.API
	server string
	hide   []string
	warn   func(string)
}

// newClient makes the client that the options ask for.
func newClient(o Options) (client, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
		IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: patience,
	}
	if len(o.CA) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(o.CA) {
			return client{}, fmt.Errorf("%s holds no certificate in PEM", o.Config.CAEnv)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	authorised := credentials{next: transport, token: o.Token}
	hide := []string{o.Token, o.BasicAuth}
	if o.BasicAuth != "" {
		user, password, ok := strings.Cut(o.BasicAuth, ":")
		if !ok {
			return client{}, fmt.Errorf("%s: expected user:password", o.Config.BasicAuthEnv)
		}
		authorised.user, authorised.password = user, password
		hide = append(hide, password)
	}
	again := retry.Client(&http.Client{Transport: authorised}, o.Clock)
	inner, err := api.NewClient(api.Config{Address: o.Config.URL, Client: again})
	if err != nil {
		return client{}, fmt.Errorf("prometheus %s: %w", retry.Place(o.Config.URL), err)
	}
	return client{api: v1.NewAPI(plain{inner}), server: retry.Place(o.Config.URL), hide: hide, warn: o.Warn}, nil
}

// credentials go with each request to Prometheus itself; one that is redirected
// elsewhere goes without, as the standard client does it.
type credentials struct {
	next                  http.RoundTripper
	token, user, password string
}

// RoundTrip makes the request.
func (c credentials) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.token == "" && c.user == "" || r.Response != nil {
		return c.next.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	} else {
		r.SetBasicAuth(c.user, c.password)
	}
	return c.next.RoundTrip(r)
}

// matrix asks for the raw values of series over a time until at.
func (c client) matrix(ctx context.Context, query string, at model.Time, over time.Duration) (model.Matrix, error) {
	query = fmt.Sprintf("%s[%dms]", query, over.Milliseconds())
	value, err := c.ask(ctx, query, at)
	if err != nil {
		return nil, err
	}
	matrix, ok := value.(model.Matrix)
	if !ok {
		return nil, &QueryError{c.server, query, http.StatusOK, fmt.Errorf("expected a matrix, observed a %s", value.Type())}
	}
	return matrix, nil
}

// vector asks for values at one moment.
func (c client) vector(ctx context.Context, query string, at model.Time) (model.Vector, error) {
	value, err := c.ask(ctx, query, at)
	if err != nil {
		return nil, err
	}
	vector, ok := value.(model.Vector)
	if !ok {
		return nil, &QueryError{c.server, query, http.StatusOK, fmt.Errorf("expected a vector, observed a %s", value.Type())}
	}
	return vector, nil
}

func (c client) ask(ctx context.Context, query string, at model.Time) (model.Value, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer within %s", patience))
	defer cancel()
	value, warnings, _, err := c.api.Query(ctx, query, at.Time())
	for _, w := range warnings {
		c.warn("prometheus warns: " + w)
	}
	if err == nil {
		return value, nil
	}
	failed := &QueryError{Server: c.server, Query: query}
	if answer, ok := errors.AsType[*answerError](err); ok {
		failed.Status = answer.status
	} else if _, ok := errors.AsType[*v1.Error](err); ok {
		failed.Status = http.StatusBadRequest
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	failed.Err = retry.Redact(err, c.hide...)
	return nil, failed
}

// plain turns an answer that is none of Prometheus's own into an error that
// tells what came.
type plain struct{ api.Client }

// Do makes the request.
func (p plain) Do(ctx context.Context, r *http.Request) (*http.Response, []byte, error) {
	resp, body, err := p.Client.Do(ctx, r)
	if err != nil {
		return resp, body, err
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusBadRequest, http.StatusUnprocessableEntity:
		return resp, body, nil
	}
	said := strings.Join(strings.Fields(string(body)), " ")
	return resp, body, &answerError{resp.StatusCode, fmt.Sprintf("%.200s", said)}
}

type answerError struct {
	status int
	said   string
}

func (e *answerError) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("answered %d %s: %s", e.status, http.StatusText(e.status), e.said), ": ")
}
