package local_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/platform/local"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

var _ phase.Roller = (*local.Platform)(nil)

func TestRollForwardAndBack(t *testing.T) {
	t.Parallel()
	client, public := host(t)
	p := stage{local.New(client, local.Options{Service: "shop", Drain: time.Second}), t}
	ctx := t.Context()
	one, two := spec(t, "1.0", 3), spec(t, "1.1", 3)
	roll := func(to rollout.Spec, n int, admit func(context.Context, rollout.Instance) error) {
		t.Helper()
		_, err := p.Roll(ctx, p.observe().Token, to, n, admit)
		p.must(err)
	}
	roll(one, 3, nil)
	if got := get(t, http.DefaultClient, "http://"+public+"/"); got != "1.0" {
		t.Errorf("first release is answered by %q", got)
	}
	var asked []string
	admit := func(_ context.Context, i rollout.Instance) error { asked = append(asked, i.Name); return nil }
	roll(two, 1, admit)
	seen := p.observe()
	if seen.Split != rollout.SplitTo(rollout.Green, 333) || seen.Sides[rollout.Blue].Desired != 2 || seen.Sides[rollout.Green].Ready != 1 || len(asked) != 1 {
		t.Errorf("after 1 of 3: %+v, asked %v", seen, asked)
	}
	roll(two, 2, admit)
	refuse := errors.New("refused")
	if _, err := p.Roll(ctx, p.observe().Token, two, 3, func(context.Context, rollout.Instance) error { return refuse }); !errors.Is(err, refuse) {
		t.Errorf("rolled with %v", err)
	}
	if i := p.observe().Sides[rollout.Green].Instances[2]; !i.Held || !i.Ready {
		t.Errorf("refused instance is %+v", i)
	}
	roll(two, 3, admit)
	if seen := p.observe(); seen.Split != rollout.SplitTo(rollout.Green, rollout.Full) || len(seen.Sides) != 1 || len(asked) != 3 {
		t.Errorf("after 3 of 3: %+v, asked %v", seen, asked)
	}
	roll(rollout.Spec{Revision: one.Revision}, math.MaxInt32, nil)
	if seen := p.observe(); seen.Split != rollout.SplitTo(rollout.Blue, rollout.Full) || len(seen.Sides) != 1 || seen.Sides[rollout.Blue].Ready != 3 {
		t.Errorf("after the way back: %+v", seen)
	}
}
