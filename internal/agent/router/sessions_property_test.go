package router_test

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/router"
	"github.com/gapless-deploy/gapless/internal/agent/tally"
)

// site is a router at work, with what a person beside it would expect.
type site struct {
	*stage
	backends  map[api.Side][]string // addresses of instances that answer with their side
	weights   api.Weights
	launches  map[api.Side]int
	instances map[api.Side][]*placed
	clients   []*visitor
	fresh     int // new clients since the last shift
	green     int // of them surely green's
	unsure    int // of them diverted, or met nobody
}

type placed struct {
	*router.Instance
	ready bool
}

// visitor is a client and what it keeps.
type visitor struct {
	cookie string // as it is sent
	side   api.Side
	launch int
}

// with tells whether a side has an instance, ready or at least failing.
func (s *site) with(side api.Side, ready bool) bool {
	return slices.ContainsFunc(s.instances[side], func(in *placed) bool { return in.ready == ready })
}

func (s *site) value(side api.Side) string { return fmt.Sprint(side, "-", s.launches[side]) }

func (s *site) remember() {
	s.Remember(&router.Sessions{Cookie: "sid", Values: map[api.Side]string{
		api.Blue: s.value(api.Blue), api.Green: s.value(api.Green),
	}})
}

// launch replaces what is on a side without a weight.
func (s *site) launch(t *rapid.T) {
	side := rapid.SampledFrom([]api.Side{api.Blue, api.Green}).Draw(t, "launched")
	if s.weights[side] > 0 {
		return
	}
	for _, in := range s.instances[side] {
		in.Gone()
	}
	s.instances[side] = nil
	s.launches[side]++
	s.remember()
}

func (s *site) shift(t *rapid.T) {
	green := rapid.OneOf(rapid.SampledFrom([]int{0, 1000}), rapid.IntRange(0, 1000)).Draw(t, "green")
	s.weights = api.Weights{api.Blue: 1000 - green, api.Green: green}
	s.split(1000-green, green)
	s.fresh, s.green, s.unsure = 0, 0, 0
}

// change has an instance come, become ready or not, or go.
func (s *site) change(t *rapid.T) {
	side := rapid.SampledFrom([]api.Side{api.Blue, api.Green}).Draw(t, "changed")
	at := rapid.IntRange(0, 3).Draw(t, "place")
	if at >= len(s.instances[side]) {
		address := rapid.SampledFrom(s.backends[side]).Draw(t, "address")
		s.instances[side] = append(s.instances[side], &placed{s.add(side, address), true})
		return
	}
	switch in := s.instances[side][at]; rapid.IntRange(0, 2).Draw(t, "how") {
	case 0:
		in.ready = true
		in.Ready(true)
	case 1:
		in.ready = false
		in.Ready(false)
	default:
		in.Drain(t.Context())
		in.Ready(true) // a late answer of the health path changes nothing
		s.instances[side] = slices.Delete(s.instances[side], at, at+1)
	}
}

// visit sends a client's request and holds the answer against what is promised.
func (s *site) visit(t *rapid.T) {
	client := s.clients[rapid.IntRange(0, len(s.clients)-1).Draw(t, "client")]
	stays := client.side != "" && s.weights[client.side] > 0 && client.launch == s.launches[client.side]
	var sent []string
	if client.cookie != "" {
		sent = append(sent, client.cookie)
	}
	got := s.askAs(sent...)
	by := api.Side(got.by)
	if by.Check() != nil {
		by = ""
	}
	order := []api.Side{client.side, client.side.Other()}
	if !stays {
		s.fresh++
		order = s.turn(by)
	}
	if want := s.expected(order); want != by {
		t.Fatalf("client %+v (stays: %v) under %v was answered by %q, want %q: %v", client, stays, s.weights, by, want, got.header)
	}
	switch {
	case by == "" || stays:
		if got.given != "" {
			t.Fatalf("client %+v was given %q by %q", client, got.given, by)
		}
	case got.given != s.value(by):
		t.Fatalf("a new client of %s was given %q, want %q", by, got.given, s.value(by))
	case rapid.IntRange(0, 2).Draw(t, "keeps cookies") == 0:
		*client = visitor{cookie: "sid=" + got.given, side: by, launch: s.launches[by]}
	}
}

// expected is the first side in an order that has a weight and can answer.
func (s *site) expected(order []api.Side) api.Side {
	for _, ready := range []bool{true, false} {
		for _, side := range order {
			if s.weights[side] > 0 && s.with(side, ready) {
				return side
			}
		}
	}
	return ""
}

// turn notes whom a new client met, and gives the order that it was asked in.
// It was that side's turn unless the other had nothing as good.
func (s *site) turn(by api.Side) []api.Side {
	own, other := by, by.Other()
	equal := by != "" && s.with(own, true) == s.with(other, true) && (s.with(own, true) || s.with(own, false) == s.with(other, false))
	switch {
	case s.weights[api.Blue] == 0 || by == api.Green && equal:
		s.green++
	case s.weights[api.Green] > 0 && !equal:
		s.unsure++
	}
	if by == "" {
		own, other = api.Blue, api.Green
	}
	return []api.Side{own, other}
}

// Whatever is shifted, launched, lost and asked: no request reaches a side
// without a weight or an instance that left, clients stay with what they met,
// and new clients are divided to within one of the weights.
func TestSessionsUnderAnySequenceOfActs(t *testing.T) {
	backends := map[api.Side][]string{}
	for _, side := range api.Sides() {
		for range 2 {
			server := httptest.NewServer(says(string(side)))
			t.Cleanup(server.Close)
			backends[side] = append(backends[side], server.Listener.Addr().String())
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := &site{
			stage: &stage{
				Router:  router.New(router.Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)}),
				cleanup: t.Cleanup, book: tally.NewBook(time.Now(), 100),
			},
			backends: backends, launches: map[api.Side]int{}, instances: map[api.Side][]*placed{},
		}
		defer func() {
			for _, side := range api.Sides() {
				for _, in := range s.instances[side] {
					in.Gone()
				}
			}
		}()
		for range 6 {
			s.clients = append(s.clients, &visitor{})
		}
		s.clients[5].cookie = "sid=green; other=1"
		for _, side := range api.Sides() {
			s.instances[side] = append(s.instances[side], &placed{s.add(side, backends[side][0]), true})
		}
		s.remember()
		s.shift(t)
		for range rapid.IntRange(1, 150).Draw(t, "acts") {
			switch act := rapid.IntRange(0, 39).Draw(t, "act"); act {
			case 0:
				s.launch(t)
			case 1:
				s.shift(t)
			case 2, 3:
				s.change(t)
			default:
				s.visit(t)
			}
			ideal := float64(s.fresh*s.weights[api.Green]) / api.Whole
			if low, high := float64(s.green), float64(s.green+s.unsure); high <= ideal-1 || low >= ideal+1 {
				t.Fatalf("of %d new clients under %v green had %v to %v, ideally %v", s.fresh, s.weights, low, high, ideal)
			}
		}
	})
}
