package oidc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// freshFor is how long keys are not asked for again: whoever shows tokens of
// keys that nobody knows must not have the issuer asked each time.
const freshFor = time.Minute

// keys are those that an issuer publishes, read when one is first needed and
// again when one is missing.
type keys struct {
	issuer string
	client *http.Client
	clock  Clock

	mu   sync.Mutex
	set  jose.JSONWebKeySet
	read time.Time
}

// find gives the key of an id. The error wraps ErrUnknownKey where the issuer
// does not publish it; others say that the issuer could not be asked.
func (k *keys) find(ctx context.Context, id string) (*jose.JSONWebKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key := k.known(id); key != nil {
		return key, nil
	}
	if k.read.IsZero() || k.clock.Now().Sub(k.read) >= freshFor {
		if err := k.refresh(ctx); err != nil {
			return nil, fmt.Errorf("read the keys of issuer %s: %w", k.issuer, err)
		}
	}
	if key := k.known(id); key != nil {
		return key, nil
	}
	return nil, fmt.Errorf("%w: key %q of %s", ErrUnknownKey, id, k.issuer)
}

// known gives a key that may be used for what it is here for.
func (k *keys) known(id string) *jose.JSONWebKey {
	for _, key := range k.set.Key(id) {
		if key.IsPublic() && (key.Use == "" || key.Use == "sig") {
			return &key
		}
	}
	return nil
}

// refresh reads the issuer's description and the keys that it names.
func (k *keys) refresh(ctx context.Context) error {
	var described struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := k.get(ctx, k.issuer+"/.well-known/openid-configuration", &described); err != nil {
		return err
	}
	if described.Issuer != k.issuer {
		return fmt.Errorf("it calls itself %q", described.Issuer)
	}
	var set jose.JSONWebKeySet
	if err := k.get(ctx, described.Keys, &set); err != nil {
		return err
	}
	k.set, k.read = set, k.clock.Now()
	return nil
}

func (k *keys) get(ctx context.Context, from string, into any) error {
	for attempt := 0; ; attempt++ {
		again, err := k.try(ctx, from, into)
		if err == nil || !again || attempt == attempts-1 {
			return err
		}
		if err := k.clock.Sleep(ctx, pause(attempt)); err != nil {
			return err
		}
	}
}

func (k *keys) try(ctx context.Context, from string, into any) (again bool, err error) {
	u, err := url.Parse(from)
	if err != nil || u.Host == "" {
		return false, fmt.Errorf("%q is no URL", from)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return false, err
	}
	status, body, err := fetch(k.client, req)
	if err != nil {
		return ctx.Err() == nil, fmt.Errorf("GET %s: %w", u.Path, err)
	}
	if status != http.StatusOK {
		return transient(status), fmt.Errorf("GET %s: status %d", u.Path, status)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return false, fmt.Errorf("GET %s: %w", u.Path, err)
	}
	return false, nil
}
