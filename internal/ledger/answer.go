package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// What a router tells of an answer, beside the answer itself.
const (
	// HeaderRevision names the revision that answered.
	HeaderRevision = "Gapless-Revision"
	// HeaderError gives the router's reason for an answer of its own.
	HeaderError = "Gapless-Error"
	// HeaderWeight is the share of the traffic, in percent, that this revision
	// had when the router chose.
	HeaderWeight = "Gapless-Weight"
)

// Read fills in what a router told. A header that is not understood counts as
// absent: it is evidence, not input.
func (a *Answer) Read(h http.Header) {
	a.Revision = h.Get(HeaderRevision)
	a.Router = h.Get(HeaderError)
	if w, err := rollout.ParseWeight(h.Get(HeaderWeight)); err == nil {
		a.Weight = &w
	}
}

// failed reports whether the client did not get what it had asked for.
func (a Answer) failed() bool {
	return a.Err != nil || a.Status == 0 || a.Router != "" || a.Wrong || a.Status >= http.StatusInternalServerError
}

// by reports whether the revision itself answered, whole, and badly.
func (a Answer) by(revision string) bool {
	return revision != "" && a.Revision == revision && a.Err == nil && a.Router == "" && a.Status != 0
}

// cutOff reports whether the revision's process left the request: the router
// had to answer in its name, or its answer broke off. One that took too long
// did neither.
func (a Answer) cutOff(revision string) bool {
	if revision == "" || a.Revision != revision || a.Status == 0 || a.late() {
		return false
	}
	return a.Router != "" || a.Err != nil
}

// late reports whether the client gave the request up.
func (a Answer) late() bool {
	var timeout net.Error
	return errors.Is(a.Err, context.DeadlineExceeded) || errors.As(a.Err, &timeout) && timeout.Timeout()
}

// cause puts the failure into words of which there are few.
func (a Answer) cause() string {
	switch {
	case a.Router != "":
		return "router: " + a.Router
	case a.Err == nil && a.Revision != "":
		return fmt.Sprintf("%s answered %d", a.Revision, a.Status)
	case a.Err == nil:
		return fmt.Sprintf("answered %d", a.Status)
	case errors.Is(a.Err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(a.Err, syscall.ECONNRESET), errors.Is(a.Err, syscall.EPIPE):
		return "connection reset"
	case a.late():
		return "no answer in time"
	case errors.Is(a.Err, io.EOF), errors.Is(a.Err, io.ErrUnexpectedEOF):
		return "connection closed before the answer"
	}
	return "other failure of the connection"
}
