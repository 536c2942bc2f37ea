package router_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/router"
)

// sessions are those of a stage whose sides were launched for the n-th time.
func sessions(n string) *router.Sessions {
	return &router.Sessions{Cookie: "sid", Values: map[api.Side]string{api.Blue: "b" + n, api.Green: "g" + n}}
}

// asked is an answer as far as sessions go.
type asked struct {
	by, given string // who answered, and the value of the cookie it set
	header    http.Header
}

// askAs sends a request with these Cookie headers straight into the router.
func (s *stage) askAs(cookies ...string) asked {
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	if len(cookies) > 0 {
		request.Header["Cookie"] = cookies
	}
	return s.askWith(request)
}

func (s *stage) askWith(request *http.Request) asked {
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, request)
	got := asked{by: rec.Body.String(), header: rec.Header()}
	for _, cookie := range rec.Result().Cookies() {
		if cookie.Name == "sid" {
			got.given = cookie.Value
		}
	}
	return got
}

func newSessionStage(t *testing.T) *stage {
	t.Helper()
	s := newStage(t, router.Options{})
	s.serve(api.Blue, says("blue"))
	s.serve(api.Green, says("green"))
	s.Remember(sessions("1"))
	return s
}

func TestAClientStaysForAsLongAsItsSideHasAWeight(t *testing.T) {
	s := newSessionStage(t)
	s.split(999, 1)
	met := s.askAs()
	if met.by != "blue" || met.given != "b1" {
		t.Fatalf("a new client met %s and was given %q, want blue's cookie", met.by, met.given)
	}
	stays := func(when, value, side string) {
		t.Helper()
		for range 20 {
			if got := s.askAs("sid=" + value); got.by != side || got.given != "" {
				t.Fatalf("%s: answered by %s, which set %q; want %s and no new cookie", when, got.by, got.given, side)
			}
		}
	}
	stays("at 0.1 percent", "b1", "blue")
	s.split(1, 999)
	stays("at 99.9 percent", "b1", "blue")
	s.split(0, 1000)
	moved := s.askAs("sid=b1")
	if moved.by != "green" || moved.given != "g1" {
		t.Fatalf("at weight 0: answered by %s with cookie %q, want green and its cookie", moved.by, moved.given)
	}
	s.split(999, 1)
	stays("after it moved", "g1", "green")
}

func TestStayingClientsLeaveTheSharesOfNewOnesExact(t *testing.T) {
	s := newSessionStage(t)
	s.split(970, 30)
	green := 0
	for i := range 1000 {
		for range i % 3 {
			s.askAs("sid=g1")
		}
		if i%2 == 0 {
			s.askAs("sid=b1")
		}
		if s.askAs().by == "green" {
			green++
		}
	}
	if green != 30 {
		t.Errorf("green had %d of 1000 new clients, want 30", green)
	}
}

// Neither guesses nor the cookies of what ran on a side before choose one.
func TestOnlyACookieOfThisLaunchChoosesASide(t *testing.T) {
	s := newSessionStage(t)
	s.split(1000, 0)
	s.Remember(&router.Sessions{Cookie: "sid", Values: map[api.Side]string{api.Blue: "b1", api.Green: "g2"}})
	s.split(999, 1)
	for _, cookie := range []string{"sid=g1", "sid=green", "sid=", "sid", "sid=g2x", "SID=g2", "xsid=g2", "sid=g2 g2"} {
		if got := s.askAs(cookie); got.by != "blue" || got.given != "b1" {
			t.Errorf("%q: answered by %s with cookie %q, want blue as for any new client", cookie, got.by, got.given)
		}
	}
	if got := s.askAs("sid=g2"); got.by != "green" {
		t.Errorf("the cookie of the present launch led to %s", got.by)
	}
	s.Remember(nil)
	if got := s.askAs("sid=g2"); got.by != "blue" || got.given != "" {
		t.Errorf("without sessions: answered by %s with cookie %q", got.by, got.given)
	}
}

func TestAClientWhoseSideCannotAnswerIsServedByTheOther(t *testing.T) {
	s := newStage(t, router.Options{})
	s.serve(api.Blue, says("blue"))
	green := s.serve(api.Green, says("green"))
	s.Remember(sessions("1"))
	s.split(990, 10)
	expect := func(when, by string) {
		t.Helper()
		if got := s.askAs("sid=g1"); got.by != by || got.given != "" {
			t.Errorf("%s: answered by %q with cookie %q, want %s and the cookie it has", when, got.by, got.given, by)
		}
	}
	green.Ready(false)
	expect("green is not ready", "blue")
	green.Ready(true)
	expect("green is ready again", "green")
	if cut := green.Drain(t.Context()); cut != 0 {
		t.Errorf("cut %d", cut)
	}
	expect("green has nothing left", "blue")
	s.add(api.Green, deadAddress(t))
	expect("green refuses connections", "blue")
	s.split(0, 1000)
	if got := s.askAs("sid=b1"); got.given != "" || got.header.Get("Gapless-Error") == "" {
		t.Errorf("nobody could answer, and the client was given %q", got.given)
	}
}

func TestTheInstanceSeesAllCookiesButOurs(t *testing.T) {
	s := newStage(t, router.Options{})
	var seen []string
	s.serve(api.Blue, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header["Cookie"]
		w.Header().Add("Set-Cookie", "a=1; Path=/a")
		w.Header().Add("Set-Cookie", "b=2")
	})
	s.Remember(sessions("1"))
	s.split(1000, 0)
	for _, test := range []struct {
		sent, want []string
		known      bool // blue's cookie is among them
	}{
		{nil, nil, false},
		{[]string{"sid=b1"}, nil, true},
		{[]string{"sid=x"}, nil, false},
		{[]string{"sid=x; sid=b1"}, nil, true},
		{[]string{"sid=b1; a=1"}, []string{"a=1"}, true},
		{[]string{"a=1; sid=b1; b=\"2 3\""}, []string{"a=1; b=\"2 3\""}, true},
		{[]string{"a=1;sid = b1 ;b=sid=b1"}, []string{"a=1;b=sid=b1"}, true},
		{[]string{"asid=b1; sidb=2; odd;; =x"}, []string{"asid=b1; sidb=2; odd;; =x"}, false},
		{[]string{"a=1", "sid=b1", "b=2; sid=x"}, []string{"a=1", "b=2"}, true},
	} {
		got := s.askAs(test.sent...)
		if !slices.Equal(seen, test.want) {
			t.Errorf("sent %q: the instance saw %q, want %q", test.sent, seen, test.want)
		}
		want := []string{"a=1; Path=/a", "b=2"}
		if !test.known {
			want = append(want, "sid=b1; Path=/; HttpOnly; SameSite=Lax")
		}
		if set := got.header["Set-Cookie"]; !slices.Equal(set, want) {
			t.Errorf("sent %q: set %q, want %q", test.sent, set, want)
		}
	}
	s.Remember(nil)
	if s.askAs("sid=b1"); !slices.Equal(seen, []string{"sid=b1"}) {
		t.Errorf("without sessions the instance saw %q", seen)
	}
}

func TestTheCookieIsSetAsItShouldBe(t *testing.T) {
	const plain = "sid=b1; Path=/; HttpOnly; SameSite=Lax"
	for _, test := range []struct {
		name  string
		trust bool
		keep  time.Duration
		proto []string
		tls   bool
		want  string
	}{
		{name: "plain", want: plain},
		{name: "over TLS", tls: true, want: "sid=b1; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{name: "a claim not trusted", proto: []string{"https"}, want: plain},
		{name: "a claim trusted", trust: true, proto: []string{"https"}, want: "sid=b1; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{name: "of several proxies", trust: true, proto: []string{"HTTPS, http"}, want: "sid=b1; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{name: "trusted, and plain", trust: true, proto: []string{"http"}, tls: true, want: plain},
		{name: "trusted, and silent", trust: true, want: plain},
		{name: "kept", keep: 24 * time.Hour, want: "sid=b1; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"},
		{name: "kept for part of a second", keep: time.Millisecond, want: "sid=b1; Path=/; Max-Age=1; HttpOnly; SameSite=Lax"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, router.Options{TrustForwarded: test.trust})
			s.serve(api.Blue, says("blue"))
			with := sessions("1")
			with.Keep = test.keep
			s.Remember(with)
			s.split(1000, 0)
			request := httptest.NewRequest(http.MethodGet, "/", nil)
			request.Header["X-Forwarded-Proto"] = test.proto
			if test.tls {
				request.TLS = &tls.ConnectionState{}
			}
			if got := s.askWith(request).header["Set-Cookie"]; len(got) != 1 || got[0] != test.want {
				t.Errorf("set %q, want %q", got, test.want)
			}
		})
	}
}

// A browser's cookie jar takes what the router sets, and upgrades and streams
// keep to it.
func TestUpgradesAndStreamsAreRequestsOfTheSession(t *testing.T) {
	s := newStage(t, router.Options{})
	for _, side := range api.Sides() {
		s.serve(side, endless(string(side), nil))
	}
	s.Remember(sessions("1"))
	s.split(500, 500)
	public := s.public()
	for range 4 {
		client := &http.Client{Jar: newJar(t)}
		met, header := openSocket(t, client, public)
		if by := hear(t, met); header.Get("Set-Cookie") == "" {
			t.Errorf("the upgrade to %s set no cookie", by)
		} else {
			for range 3 {
				again, header := openSocket(t, client, public)
				if now := hear(t, again); now != by || header.Get("Set-Cookie") != "" {
					t.Errorf("second connection of a client of %s: %s, set %q", by, now, header["Set-Cookie"])
				}
				if now := openEvents(t, client, public).next(t); now != "data: "+by {
					t.Errorf("events for a client of %s begin with %q", by, now)
				}
			}
		}
	}
}

// The router's own answers make nobody stay.
func TestABrokenAnswerSetsNoCookie(t *testing.T) {
	s := newStage(t, router.Options{})
	s.serve(api.Blue, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	s.Remember(sessions("1"))
	s.split(1000, 0)
	if got := s.askAs(); got.given != "" || got.header.Get("Gapless-Error") == "" {
		t.Errorf("the instance broke off, and the client was given %q", got.given)
	}
}

func TestACookieJarKeepsAClientWithItsSide(t *testing.T) {
	s := newSessionStage(t)
	s.split(500, 500)
	public := s.public()
	at, err := url.Parse(public)
	if err != nil {
		t.Fatal(err)
	}
	met := map[string]int{}
	for range 10 {
		client := &http.Client{Jar: newJar(t)}
		var by string
		for i := range 5 {
			response, err := client.Get(public)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if err := response.Body.Close(); err != nil {
				t.Fatal(err)
			}
			if i > 0 && string(body) != by {
				t.Errorf("a client of %s was answered by %s", by, body)
			}
			by = string(body)
		}
		met[by]++
		if kept := client.Jar.Cookies(at); len(kept) != 1 {
			t.Errorf("the jar holds %v", kept)
		}
	}
	if met["blue"] != 5 || met["green"] != 5 {
		t.Errorf("ten new clients were divided %v, want 5 each", met)
	}
}
