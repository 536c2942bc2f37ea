package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client speaks with one agent. It is safe for concurrent use.
type Client struct {
	base  string // scheme and host of requests
	agent string // as the user wrote it, for messages
	token string
	http  *http.Client
}

// NewClient makes a client for the agent at address, "http://127.0.0.1:7070",
// "https://172.17.0.1:7071" or "unix:///run/gapless/agent.sock", that proves
// itself with token. Of TLS it trusts the authorities that the machine trusts.
func NewClient(address, token string) (*Client, error) {
	return NewClientTrusting(address, token, nil)
}

// NewClientTrusting is NewClient, but of TLS it trusts these authorities alone,
// in PEM; empty for those that the machine trusts.
func NewClientTrusting(address, token string, authorities []byte) (*Client, error) {
	network, target, err := Endpoint(address)
	if err != nil {
		return nil, err
	}
	trusted, err := trust(authorities)
	if err != nil {
		return nil, fmt.Errorf("agent %s: %w", address, err)
	}
	dialled := network
	if network == "tls" {
		dialled = "tcp"
	}
	dialer := &net.Dialer{Timeout: 3 * time.Second}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, dialled, target)
		},
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted},
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     30 * time.Second,
	}
	base := "http://" + target
	switch network {
	case "unix":
		base = "http://agent"
	case "tls":
		base = "https://" + target
	}
	return &Client{base: base, agent: address, token: token, http: &http.Client{Transport: transport}}, nil
}

// trust is nil, for the machine's authorities, where none are given.
func trust(authorities []byte) (*x509.CertPool, error) {
	if len(authorities) == 0 {
		return nil, nil //nolint:nilnil // as crypto/tls has it
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authorities) {
		return nil, errors.New("the authorities to trust are no certificates in PEM")
	}
	return pool, nil
}

// Endpoint splits the address of an agent into a network ("unix", "tcp", or
// "tls" for TLS over TCP) and a path or host:port. It refuses every other form.
func Endpoint(address string) (network, target string, err error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		path = "/" + strings.TrimLeft(path, "/")
		if path == "/" {
			return "", "", fmt.Errorf("agent address %q: must name a socket, such as unix:///run/gapless/agent.sock", address)
		}
		return "unix", path, nil
	}
	host := address
	if strings.Contains(address, "://") {
		parsed, err := url.Parse(address)
		if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") || strings.Trim(parsed.Path, "/") != "" || parsed.RawQuery != "" {
			return "", "", fmt.Errorf("agent address %q: must be http://HOST:PORT, https://HOST:PORT or unix:///PATH", address)
		}
		host = parsed.Host
		if parsed.Scheme == "https" {
			network = "tls"
		}
	}
	if _, port, err := net.SplitHostPort(host); err != nil || port == "" {
		return "", "", fmt.Errorf("agent address %q: must be http://HOST:PORT, https://HOST:PORT or unix:///PATH", address)
	}
	return cmp.Or(network, "tcp"), host, nil
}

// State returns the platform as it is now.
func (c *Client) State(ctx context.Context) (State, error) {
	var state State
	return state, c.do(ctx, http.MethodGet, "/v1/state", nil, &state)
}

// SetMark writes the mark. ErrConflict when the token is stale.
func (c *Client) SetMark(ctx context.Context, to SetMark) (Done, error) {
	var done Done
	return done, c.do(ctx, http.MethodPut, "/v1/mark", to, &done)
}

// Launch starts a revision on a side and returns once the agent took it on;
// readiness shows in [Client.State]. Launching what stands there already does
// no more than start instances that are missing. ErrConflict, ErrServing
// (another revision takes traffic there), ErrInvalid.
func (c *Client) Launch(ctx context.Context, side Side, launch Launch) (Done, error) {
	var done Done
	return done, c.do(ctx, http.MethodPut, "/v1/sides/"+string(side), launch, &done)
}

// Scale has as many instances of a side run and serve as asked for. It returns
// once those that are ended are gone; that started ones are ready shows in
// [Client.State]. Repeated, it waits for those that still leave. ErrConflict,
// ErrServing and ErrNotReady (the side takes traffic, and no instance would be
// left for it), ErrInvalid.
func (c *Client) Scale(ctx context.Context, side Side, scale Scale) (Done, error) {
	var done Done
	return done, c.do(ctx, http.MethodPut, "/v1/sides/"+string(side)+"/instances", scale, &done)
}

// Shift puts a split in force and returns once no request is routed by the
// former one. ErrConflict, ErrNotReady, ErrInvalid.
func (c *Client) Shift(ctx context.Context, shift Shift) (Done, error) {
	var done Done
	return done, c.do(ctx, http.MethodPut, "/v1/split", shift, &done)
}

// Retire drains and ends the instances on a side and returns once they are
// gone. ErrConflict, ErrServing.
func (c *Client) Retire(ctx context.Context, side Side, retire Retire) (Done, error) {
	var done Done
	return done, c.do(ctx, http.MethodDelete, "/v1/sides/"+string(side), retire, &done)
}

// Counts returns what was counted since then, as fine as asked for.
func (c *Client) Counts(ctx context.Context, since time.Time, resolution Resolution) (Counts, error) {
	query := url.Values{"resolution": {string(resolution)}}
	if !since.IsZero() {
		query.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	var counts Counts
	return counts, c.do(ctx, http.MethodGet, "/v1/counts?"+query.Encode(), nil, &counts)
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) do(ctx context.Context, method, path string, in, out any) (err error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("agent %s: encode %s %s: %w", c.agent, method, path, err)
		}
		body = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return fmt.Errorf("agent %s: %w", c.agent, err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return c.refused(response)
	}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		return fmt.Errorf("agent %s: %s %s: %w: %w", c.agent, method, path, ErrUnreachable, err)
	}
	return nil
}

// unreachable leaves cancellation visible as such and strips what the HTTP
// client wraps around a failed connection, which repeats the address.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("agent %s: %w", c.agent, ctx.Err())
	}
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("agent %s: %w: %w", c.agent, ErrUnreachable, err)
}

func (c *Client) refused(response *http.Response) error {
	raw, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("agent %s: %w: status %d: %w", c.agent, ErrUnreachable, response.StatusCode, err)
	}
	refusal := &RefusedError{}
	if json.Unmarshal(raw, refusal) != nil || refusal.Code == "" {
		return fmt.Errorf("agent %s: %w: status %d is not an agent's answer", c.agent, ErrUnreachable, response.StatusCode)
	}
	return fmt.Errorf("agent %s: %w", c.agent, refusal)
}
