package agent_test

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/gapless-deploy/gapless/internal/agent"
	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// launchWith launches with sessions, nil for none.
func (h *host) launchWith(sessions *api.Sessions, side api.Side, version string) api.Done {
	h.t.Helper()
	done, err := h.client.Launch(h.t.Context(), side, api.Launch{
		IfToken: h.now().Token, Revision: api.Revision{ID: version}, Spec: spec(version, 1), Sessions: sessions,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.await(version+" ready", func(state api.State) bool { return state.Sides[side].Ready == 1 })
	return done
}

// visit asks who answers; a cookie that the answer sets takes the place of cookie.
func (h *host) visit(cookie *string) (version string) {
	h.t.Helper()
	request, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, "http://"+h.public+"/who", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	if *cookie != "" {
		request.Header.Set("Cookie", *cookie)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // everything was read
	for _, set := range response.Cookies() {
		*cookie = set.Name + "=" + set.Value
	}
	return response.Header.Get("Gapless-Revision")
}

func TestSessionsHoldForBothSidesFromALaunchOnAndOverARestart(t *testing.T) {
	t.Parallel()
	opts := fixed(t)
	h, cmd := separate(t, opts)
	h.launchWith(nil, api.Blue, "v1")
	h.shift(1000, 0)
	old := ""
	if h.visit(&old); old != "" {
		t.Errorf("without sessions a cookie was set: %s", old)
	}
	with := &api.Sessions{Cookie: "sid", Keep: api.Duration(time.Hour)}
	h.launchWith(with, api.Green, "v2")
	if h.visit(&old); !strings.HasPrefix(old, "sid=") {
		t.Fatalf("the client of v1 was given %q", old)
	}
	h.shift(0, 1000)
	fresh := ""
	if by := h.visit(&fresh); by != "v2" || fresh == old {
		t.Fatalf("all traffic is v2's: answered by %s, given %s", by, fresh)
	}
	h.shift(500, 500)
	stay := func(when string) {
		t.Helper()
		for range 4 {
			was := [2]string{old, fresh}
			if one, two := h.visit(&old), h.visit(&fresh); one != "v1" || two != "v2" || was != [2]string{old, fresh} {
				t.Errorf("%s: clients of v1 and v2 were answered by %s and %s", when, one, two)
			}
		}
	}
	stay("at half the traffic")
	h.await("written down", func(api.State) bool { return written(t, opts.State) == 2 })
	kill(t, cmd)
	h, _ = separate(t, opts)
	h.await("ready", func(s api.State) bool { return s.Sides[api.Blue].Ready == 1 && s.Sides[api.Green].Ready == 1 })
	stay("after the agent was killed")

	// Whoever met what a launch replaced is new to it.
	h.shift(0, 1000)
	h.retire(api.Blue, time.Second)
	h.launchWith(with, api.Blue, "v1")
	h.shift(999, 1)
	was := old
	if by := h.visit(&old); by != "v1" || was == old || old == fresh {
		t.Errorf("a client of what ran on blue before met %s and carries %s, was %s", by, old, was)
	}
}

func TestSessionsChangeWithoutANewInstance(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	h.launchWith(&api.Sessions{Cookie: "one"}, api.Blue, "v1")
	h.shift(1000, 0)
	before := h.now()
	cookie := ""
	h.visit(&cookie)
	if done := h.launchWith(&api.Sessions{Cookie: "one"}, api.Blue, "v1"); done.Token != before.Token {
		t.Error("the same launch with the same sessions changed the token")
	}
	if done := h.launchWith(&api.Sessions{Cookie: "two"}, api.Blue, "v1"); done.Token == before.Token {
		t.Error("other sessions left the token as it was")
	}
	value := strings.TrimPrefix(cookie, "one=")
	if h.visit(&cookie); cookie != "two="+value {
		t.Errorf("under another name the client was given %s, was %s", cookie, value)
	}
	h.launchWith(nil, api.Blue, "v1")
	none := ""
	if h.visit(&none); none != "" {
		t.Errorf("sessions were ended, and a client was given %s", none)
	}
	if now := h.now().Sides[api.Blue].Instances[0].PID; now != before.Sides[api.Blue].Instances[0].PID {
		t.Error("sessions replaced the instance")
	}
}

func TestSessionsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	for _, sessions := range []api.Sessions{{}, {Cookie: "a b"}, {Cookie: "a;"}, {Cookie: "a", Keep: -1}} {
		_, err := h.client.Launch(t.Context(), api.Blue, api.Launch{
			IfToken: h.now().Token, Revision: api.Revision{ID: "v1"}, Spec: spec("v1", 1), Sessions: &sessions,
		})
		if !errors.Is(err, api.ErrInvalid) || !strings.Contains(err.Error(), "sessions: ") {
			t.Errorf("launch with %+v: %v, want ErrInvalid", sessions, err)
		}
	}
	opts := options(t)
	state := `{"version":1,"service":"shop","owner":"0123456789abcdef","sessions":{"cookie":"sid"}}`
	if err := os.WriteFile(opts.State, []byte(state), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := agent.Run(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "sessions: key is missing") {
		t.Errorf("a state whose cookies anybody could make: %v", err)
	}
}

func TestConnectionsCutAtTheDeadlineAreCounted(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	h.launch(api.Blue, "v1", spec("v1", 1))
	h.launch(api.Green, "v2", spec("v2", 1))
	h.shift(1000, 0)
	listen := func() (leave func(), lines *bufio.Scanner) {
		ctx, cancel := context.WithCancel(t.Context())
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.public+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cancel(); response.Body.Close() }) //nolint:errcheck // everything was read
		lines = bufio.NewScanner(response.Body)
		lines.Scan()
		return cancel, lines
	}
	leave, _ := listen()
	_, stays := listen()
	conn, _, err := websocket.Dial(t.Context(), "ws://"+h.public+"/socket", nil) //nolint:bodyclose // the connection owns it
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow() //nolint:errcheck // it is cut before
	h.shift(0, 1000)
	h.await("three in flight", func(s api.State) bool { return s.Sides[api.Blue].Instances[0].InFlight == 3 })
	retired := make(chan api.Done, 1)
	go func() { retired <- h.retire(api.Blue, time.Second) }()
	h.await("draining", func(s api.State) bool { return len(s.Draining) == 1 })
	leave()
	if done := <-retired; done.Cut != 2 {
		t.Errorf("cut %d, want the two connections whose clients stayed", done.Cut)
	}
	for stays.Scan() { // nothing but the rest of the first event is left
	}
	if stays.Err() == nil {
		t.Error("the stream that was cut ended as if it were complete")
	}
	if _, _, err := conn.Read(t.Context()); err == nil {
		t.Error("the socket still speaks after its instance was retired")
	}
	if _, page := h.metrics(token); !strings.Contains(page, "gapless_cut_requests_total{service=\"shop\"} 2\n") {
		t.Error("metrics do not tell that two were cut")
	}
}
