// Package platformtest holds what every platform must do: one suite for each
// capability that phase's ports name. The test of each platform runs those that
// fit it, against the real thing or the best stand-in there is.
package platformtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Stage is a platform on which nothing was released yet, with what a suite
// needs to play on it.
type Stage struct {
	Platform phase.Platform
	// Hooked gives another client of the same platform that calls before and
	// after around each call it makes; what is called after, the answer has not
	// been read yet.
	Hooked func(before, after func()) phase.Platform
	// Good gives a revision that comes up, Unready one that runs and is never
	// ready, Crashing one that ends at once. One id is one specification.
	Good, Unready, Crashing func(id string, instances int) rollout.Spec
	// Path is answered by each instance with its revision's id.
	Path string
	// Ask sends one public request, without trying again, and tells the id of the
	// revision that answered. It is nil for a service that takes no traffic.
	Ask func(ctx context.Context) (id string, err error)
	// Restart kills the platform's own controller and starts it again. It is nil
	// where that is not ours to kill.
	Restart func()
	// Serves is set where an instance that is ready takes traffic before it was
	// admitted: the platform cannot hold it back.
	Serves bool
	// WholeOnly is set where all of the traffic goes to one side, and no part of
	// it.
	WholeOnly bool
	// Patience bounds each verb that must succeed (default 30s), Short those that
	// wait for what never comes (default 1s).
	Patience, Short time.Duration
}

// Fresh makes a stage that ends with the test.
type Fresh func(*testing.T) *Stage

// test is one property of a platform.
type test struct {
	name string
	run  func(*stage)
}

// runAll runs each test on a stage of its own.
func runAll(t *testing.T, fresh Fresh, tests []test) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			st := &stage{Stage: fresh(t), T: t}
			if st.Patience == 0 {
				st.Patience = 30 * time.Second
			}
			if st.Short == 0 {
				st.Short = time.Second
			}
			test.run(st)
		})
	}
}

// stage is a Stage in the hands of a test.
type stage struct {
	*Stage
	*testing.T
}

func (st *stage) must(err error) {
	st.Helper()
	if err != nil {
		st.Fatal(err)
	}
}

// patient bounds what must happen.
func (st *stage) patient() context.Context {
	ctx, cancel := context.WithTimeout(st.Context(), st.Patience)
	st.Cleanup(cancel)
	return ctx
}

// errLate is the cause of the end of a verb that waits in vain.
var errLate = errors.New("not ready in the time it was given")

// short bounds what cannot happen.
func (st *stage) short() context.Context {
	ctx, cancel := context.WithTimeoutCause(st.Context(), st.Short, errLate)
	st.Cleanup(cancel)
	return ctx
}

func (st *stage) observe() rollout.Observation {
	st.Helper()
	seen, err := st.Platform.Observe(st.patient())
	st.must(err)
	return seen
}

func (st *stage) token() rollout.Token { return st.observe().Token }

func (st *stage) sides() phase.Sides { return capable[phase.Sides](st, st.Platform) }

func (st *stage) roller() phase.Roller { return capable[phase.Roller](st, st.Platform) }

// capable is the platform as one that has the capability under test.
func capable[T phase.Platform](st *stage, p phase.Platform) T {
	able, ok := p.(T)
	if !ok {
		st.Fatalf("%T is not a %T", p, (*T)(nil))
	}
	return able
}

// release brings a first revision into service, by whichever way there is.
func (st *stage) release(spec rollout.Spec) {
	st.Helper()
	if roller, ok := st.Platform.(phase.Roller); ok {
		_, err := roller.Roll(st.patient(), st.token(), spec, spec.Instances, nil)
		st.must(err)
		return
	}
	st.launch(rollout.Blue, spec)
	st.shift(rollout.Blue, rollout.Full)
}

// answers asks the public address several times and fails unless each answer
// is the revision's.
func (st *stage) answers(want rollout.Revision) {
	st.Helper()
	if st.Ask == nil {
		return
	}
	for range 30 {
		got, err := st.Ask(st.patient())
		st.must(err)
		if got != want.ID {
			st.Fatalf("a request was answered by %q, all traffic is %s's", got, want)
		}
	}
}

// reached asks one instance past the routing.
func (st *stage) reached(ctx context.Context, i rollout.Instance) (id string, err error) {
	via, err := st.Platform.Reach(ctx, i)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, st.Path, nil)
	if err != nil {
		return "", err
	}
	response, err := via.RoundTrip(request)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %q", response.StatusCode, body)
	}
	return string(body), nil
}
