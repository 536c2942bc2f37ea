package platformtest

import (
	"context"
	"errors"
	"math"
	"sync"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// attempts bounds how often a roll is tried against calls of an earlier one
// that were cut short on their way.
const attempts = 5

// cutShort rolls until its nth call and reports whether it came so far.
func (st *stage) cutShort(to rollout.Spec, atLeast, n int) (was bool) {
	st.Helper()
	for range attempts {
		ctx, cancel := context.WithCancel(st.patient())
		p, hook := st.hooked(n, cancel)
		_, err := capable[phase.Roller](st, p).Roll(ctx, st.token(), to, atLeast, nil)
		cancel()
		switch {
		case hook.reached():
			return true
		case err == nil:
			return false
		case !errors.Is(err, rollout.ErrConflict):
			st.Fatalf("rolled with %v, and was not cut short before call %d", err, n)
		}
	}
	st.Fatalf("%d attempts ended with a conflict", attempts)
	return false
}

func testRollSweep(st *stage) {
	one, two := st.Good("v1", 2), st.Good("v2", 2)
	st.release(one)
	w := st.watched(one.Instances)
	n := 1
	for ; st.cutShort(two, 1, n); n++ {
		if n > most {
			st.Fatal("it does not come to an end")
		}
		if n%2 == 0 { // first on, else straight back
			st.roll(two, 1, nil)
			st.rolled(one, two, 1)
			for m := 1; m < n && st.cutShort(two, 2, m); m += 3 {
				continue
			}
			st.roll(two, 2, nil)
			st.rolled(one, two, 2)
		}
		for m := n; m < n+4 && st.cutShort(rollout.Spec{Revision: one.Revision}, math.MaxInt32, m); m++ {
			continue
		}
		st.back(one)
		st.rolled(two, one, 2)
	}
	w.end()
	st.Logf("cut short at %d calls", n-1)
}

func testRollOwner(st *stage) {
	one, two := st.Good("v1", 2), st.Good("v2", 2)
	st.release(one)
	claim := func(epoch int, holder string) rollout.Token {
		seen, err := st.Platform.Observe(st.patient())
		if err == nil {
			m := mark(epoch, holder, seen)
			m.Back = nil
			err = st.Platform.Claim(st.patient(), seen.Token, m)
		}
		if err != nil && !errors.Is(err, rollout.ErrConflict) {
			st.Error(err)
		}
		after, err := st.Platform.Observe(st.patient())
		if err != nil {
			st.Error(err)
		}
		return after.Token
	}
	claim(1, "us")
	var calls sync.Mutex
	n := 0
	renewing := st.Hooked(func() {
		calls.Lock()
		defer calls.Unlock()
		if n++; n%3 == 0 { // one in three calls finds another token
			claim(1, "us")
		}
	}, func() {})
	w := st.watched(one.Instances)
	_, err := capable[phase.Roller](st, renewing).Roll(st.patient(), st.token(), two, 2, nil)
	st.must(err)
	st.rolled(one, two, 2)
	w.end()
	st.back(one)
	for n, epoch := 1, 1; ; n, epoch = n+2, epoch+1 { // before each call
		var left rollout.Token
		p, hook := st.hooked(n, func() { left = claim(epoch+1, "us") })
		_, err := capable[phase.Roller](st, p).Roll(st.patient(), st.token(), two, 1, nil)
		if !hook.reached() {
			st.must(err)
			break
		}
		if !errors.Is(err, rollout.ErrConflict) {
			st.Errorf("taken over before call %d: %v, want ErrConflict", (n+1)/2, err)
		}
		if now := st.token(); now != left {
			st.Errorf("taken over before call %d it wrote on: the token is %s, was %s", (n+1)/2, now, left)
		}
		st.back(one)
	}
	p, _ := st.hooked(3, func() { claim(1000, "them") })
	if _, err := capable[phase.Roller](st, p).Roll(st.patient(), st.token(), one, 2, nil); !errors.Is(err, rollout.ErrConflict) {
		st.Errorf("another holder: %v, want ErrConflict", err)
	}
}
