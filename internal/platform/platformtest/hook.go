package platformtest

import (
	"sync/atomic"

	"github.com/gapless-deploy/gapless/internal/phase"
)

// most bounds how many calls a verb may make before it is said to go on for
// ever.
const most = 200

// hook acts once, at one of the calls that a client makes.
type hook struct{ calls, at atomic.Int64 }

// reached reports whether it acted.
func (h *hook) reached() bool { return h.calls.Load() >= h.at.Load() }

// due counts a call and tells whether it is the one.
func (h *hook) due() bool { return h.calls.Add(1) == h.at.Load() }

// hooked gives a client that acts at its nth call. Of each two the first
// acts before the call and the second after it: 1 is before the first call, 2
// after it.
func (st *stage) hooked(n int, act func()) (phase.Platform, *hook) {
	h := &hook{}
	h.at.Store(int64(n))
	on := func() {
		if h.due() {
			act()
		}
	}
	return st.Hooked(on, on), h
}
