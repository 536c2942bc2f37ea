package api_test

import (
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// TestTLS reaches an agent behind TLS only by an authority that is trusted, and
// tells nobody else the token.
func TestTLS(t *testing.T) {
	asked := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.Header.Get("Authorization") != "Bearer a-token-of-this-test" {
			t.Errorf("authorization %q", r.Header.Get("Authorization"))
		}
		if _, err := io.WriteString(w, `{"token":"7"}`); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})

	trusting, err := api.NewClientTrusting(server.URL, "a-token-of-this-test", authority)
	if err != nil {
		t.Fatal(err)
	}
	state, err := trusting.State(t.Context())
	if err != nil || state.Token != "7" || asked != 1 {
		t.Errorf("state %+v, %v, asked %d times", state, err, asked)
	}

	other, err := api.NewClient(server.URL, "a-token-of-this-test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.State(t.Context()); !errors.Is(err, api.ErrUnreachable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an authority that nobody trusts: %v", err)
	}
	if asked != 1 {
		t.Error("was asked, and told the token, before it was trusted")
	}

	if _, err := api.NewClientTrusting(server.URL, "a-token-of-this-test", []byte("none")); err == nil || !strings.Contains(err.Error(), "no certificates in PEM") {
		t.Errorf("authorities that are none: %v", err)
	}
}
