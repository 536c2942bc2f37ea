package router_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/router"
)

func TestAnswersTellWhoGaveThem(t *testing.T) {
	s := newStage(t, router.Options{})
	expect := func(what, revision, weight, problem string) {
		t.Helper()
		got := s.ask(http.MethodGet, "/", nil).Header()
		if got.Get("Gapless-Revision") != revision || got.Get("Gapless-Weight") != weight || got.Get("Gapless-Error") != problem {
			t.Errorf("%s: told %q at %q%%, error %q; want %q at %q%%, error %q", what, got.Get("Gapless-Revision"),
				got.Get("Gapless-Weight"), got.Get("Gapless-Error"), revision, weight, problem)
		}
	}
	s.split(1000, 0)
	expect("nobody is there", "", "", "no instance is ready")
	s.serve(api.Blue, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Gapless-Revision", "forged")
		w.Header().Set("Gapless-Error", "forged")
	})
	expect("blue serves", "blue", "100", "")
	s.split(999, 1)
	expect("almost all is blue's", "blue", "99.9", "")
	s.serve(api.Green, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := io.WriteString(conn, "no HTTP"); err != nil {
			t.Error(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	s.split(0, 1000)
	expect("green breaks", "green", "100", "the instance did not answer")
}
