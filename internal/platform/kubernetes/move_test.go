package kubernetes

import (
	"testing"

	"pgregory.net/rapid"
)

// controller is a Deployment's controller, as kube-controller-manager 1.36 acts
// (pkg/controller/deployment, rolling.go and sync.go).
type controller struct {
	set          setting
	olds, news   int // pods wanted
	ready        int // of the new ones
	availableOld int
	desired      int  // the number of replicas that it has seen last
	astray       bool // it was left to divide pods as it likes
}

// sync is one pass; it reports whether it changed anything.
func (k *controller) sync() bool {
	before := *k
	switch {
	case k.set.paused, k.desired != k.set.replicas:
		k.scale()
	default:
		k.roll()
	}
	k.availableOld = min(k.availableOld, k.olds)
	k.ready = min(k.ready, k.news)
	return *k != before
}

func (k *controller) available() int {
	if k.set.pace == braked {
		return 0
	}
	return k.ready
}

func (k *controller) roll() {
	total, surge := k.olds+k.news, k.set.surge
	if k.news < k.set.replicas && total < k.set.replicas+surge {
		k.news += min(k.set.replicas+surge-total, k.set.replicas-k.news)
		return
	}
	least := k.set.replicas - min(k.set.unavailable, k.set.replicas)
	room := total - least - (k.news - k.available())
	if room <= 0 || k.olds == 0 {
		return
	}
	broken := min(room, k.olds-k.availableOld)
	k.olds -= broken
	if more := k.availableOld + k.available() - least; more > 0 {
		k.olds -= min(k.olds, more)
	}
}

// scale is what it does while it is paused and when the number of replicas has
// changed.
func (k *controller) scale() {
	k.desired = k.set.replicas
	switch {
	case k.olds == 0:
		k.news = k.set.replicas
	case k.news == 0:
		k.olds = k.set.replicas
	case k.olds+k.news != k.set.replicas+k.set.surge:
		k.astray = true
	}
}

func TestMove(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		former := rapid.IntRange(1, 12).Draw(t, "former")
		of := rapid.OneOf(rapid.Just(former), rapid.IntRange(1, 12)).Draw(t, "of")
		k := &controller{olds: former, availableOld: former, desired: former, set: setting{pace: own, replicas: former}}
		for _, pods := range rapid.SliceOfN(rapid.IntRange(1, of), 1, 3).Draw(t, "batches") {
			rollTo(t, k, goal{pods: pods, of: of, former: former})
		}
		if rapid.Bool().Draw(t, "back") {
			k.olds, k.news, k.availableOld, k.ready = k.news, k.olds, 0, k.olds
			back(t, k, goal{pods: former, of: former, back: true}, min(former, of))
			return
		}
		rollTo(t, k, goal{pods: of, of: of, former: former})
		if k.olds != 0 || k.news != of || k.set.pace != own {
			t.Fatalf("at the end there are %+v", k)
		}
	})
}

func rollTo(t *rapid.T, k *controller, g goal) {
	g.pods = max(g.pods, min(k.news, g.of))
	admitted := k.ready
	steps := 0
	for ; steps < 400; steps++ {
		set, reached := g.next(counts{replicas: k.set.replicas, others: k.olds, wanted: k.news, ready: k.ready, admitted: admitted})
		if set != k.set {
			k.set = set
		} else if reached {
			break
		}
		for k.sync() {
			if k.astray || k.news > admitted+1 && k.olds > 0 {
				t.Fatalf("%d new pods, %d of them let in: %+v", k.news, admitted, k)
			}
			if n := k.availableOld + k.ready; n < min(g.former, g.of) {
				t.Fatalf("only %d pods are ready: %+v", n, k)
			}
		}
		if k.ready < k.news {
			k.ready++
		} else {
			admitted = k.ready
		}
	}
	if steps == 400 {
		t.Fatalf("it comes to no end: %+v to %+v", k, g)
	}
	if want := keep(g.former, g.pods, g.of); k.news != g.pods || k.olds != want {
		t.Fatalf("there are %d new and %d old pods, want %d and %d", k.news, k.olds, g.pods, want)
	}
}

func back(t *rapid.T, k *controller, g goal, least int) {
	for range 400 {
		set, reached := g.next(counts{replicas: k.set.replicas, others: k.olds, wanted: k.news, ready: k.ready, admitted: k.ready})
		if set == k.set && reached {
			return
		}
		k.set = set
		for k.sync() {
			if n := k.olds + k.ready; k.astray || n < min(least, g.of) {
				t.Fatalf("only %d pods are ready: %+v", n, k)
			}
		}
		if k.ready < k.news {
			k.ready++
		}
	}
	t.Fatalf("it comes to no end: %+v to %+v", k, g)
}
