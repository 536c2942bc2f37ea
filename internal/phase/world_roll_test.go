package phase_test

import (
	"context"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Roll is made of parts between which it may be killed, as the real one is.
func (w *world) Roll(
	ctx context.Context, seen rollout.Token, to rollout.Spec, atLeast int, admit func(context.Context, rollout.Instance) error,
) (cut int, err error) {
	var side rollout.Side
	var n, of int
	err = w.call(func() error {
		if ctx.Err() != nil { // no time is left for instances to start
			return context.Cause(ctx)
		}
		if err := w.check(seen); err != nil {
			return err
		}
		if to, err = w.definition(to); err != nil {
			return err
		}
		of = to.Instances
		n = min(atLeast, of)
		side = w.sideFor(to.Revision)
		return w.put(side, to, max(n, w.sides[side].Desired), w.serving(side))
	})
	if err != nil {
		return 0, err
	}
	for _, i := range w.instances(side) {
		if !i.Held || admit == nil {
			continue
		}
		if err := admit(ctx, i); err != nil {
			return 0, err
		}
	}
	err = w.call(func() error {
		if err := w.put(side, to, n, n); err != nil {
			return err
		}
		w.shift(rollout.SplitTo(side, rollout.PartOf(n, of)))
		return nil
	})
	if err != nil {
		return 0, err
	}
	return 0, w.call(func() error {
		other, there := w.sides[side.Other()]
		if n == of || !there {
			delete(w.sides, side.Other())
			return nil
		}
		return w.put(side.Other(), w.kept[other.Revision], of-n, of-n)
	})
}

// sideFor is the one that holds r, else the one that does not serve.
func (w *world) sideFor(r rollout.Revision) rollout.Side {
	for _, side := range []rollout.Side{rollout.Blue, rollout.Green} {
		if st, there := w.sides[side]; there && st.Revision == r {
			return side
		}
	}
	if w.split.Of(rollout.Blue) > 0 {
		return rollout.Green
	}
	return rollout.Blue
}

func (w *world) serving(side rollout.Side) (n int) {
	for _, i := range w.sides[side].Instances {
		if !i.Held {
			n++
		}
	}
	return n
}

func (w *world) instances(side rollout.Side) []rollout.Instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sides[side].Instances
}
