package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// fault is how a version is bad; the empty one is good.
type fault string

const (
	unready  fault = "unready"
	crashing fault = "crashing"
	failing  fault = "errors"
	slow     fault = "slow"
	abrupt   fault = "abrupt"
)

func (f fault) known() error {
	if all := []fault{"", unready, crashing, failing, slow, abrupt}; !slices.Contains(all, f) {
		return fmt.Errorf("FAULT %q: allowed are %q", f, all[1:])
	}
	return nil
}

type service struct {
	version string
	fault   fault
	work    time.Duration
	asked   atomic.Int64
}

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", s.health)
	mux.HandleFunc("/", s.answer)
	return mux
}

func (s *service) health(w http.ResponseWriter, _ *http.Request) {
	if s.fault == unready {
		http.Error(w, "not ready, as FAULT asks", http.StatusServiceUnavailable)
	}
}

func (s *service) answer(w http.ResponseWriter, r *http.Request) {
	n := s.asked.Add(1)
	work := s.work
	if s.fault == slow {
		work += 500 * time.Millisecond
	}
	select {
	case <-time.After(work):
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Version", s.version)
	if s.fault == failing && n%2 == 0 {
		w.WriteHeader(http.StatusInternalServerError)
	}
	if _, err := io.WriteString(w, s.version); err != nil {
		return // who asked is gone
	}
}
