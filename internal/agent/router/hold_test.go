package router_test

import (
	"net/http"
	"testing"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/router"
)

// A held instance takes no request, not even as the last resort, whatever it
// says of itself meanwhile; let go, it stands as it last said.
func TestAHeldInstanceIsNeverClaimed(t *testing.T) {
	t.Parallel()
	s := newStage(t, router.Options{})
	in := s.serve(api.Blue, says("held"))
	s.split(1000, 0)
	in.Hold(true)
	for _, healthy := range []bool{true, false, true} {
		in.Ready(healthy)
		if got := s.ask(http.MethodGet, "/", nil); got.Code != http.StatusServiceUnavailable {
			t.Errorf("healthy %t and held, it answers %d %q", healthy, got.Code, got.Body)
		}
	}
	for _, healthy := range []bool{true, false} {
		in.Ready(healthy)
		in.Hold(true)
		in.Hold(false)
		if got := s.ask(http.MethodGet, "/", nil); got.Code != http.StatusOK {
			t.Errorf("healthy %t and let go, it answers %d", healthy, got.Code)
		}
	}
	in.Hold(true)
	in.Drain(t.Context())
	in.Hold(false)
	if got := s.ask(http.MethodGet, "/", nil); got.Code != http.StatusServiceUnavailable {
		t.Errorf("drained and let go, it answers %d", got.Code)
	}
}
