package database

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func lag(load float64) []reading {
	return []reading{{"lag of db2", fmt.Sprintf("standby db2 is %.1f s behind (most 10 s)", 10*load), load, fromHalf}}
}

// The holds of a series of lags, one look after the other.
func TestBrake(t *testing.T) {
	t.Parallel()
	type look struct {
		load float64
		want string // the hold: go, slow, stop
	}
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"in proportion", []look{{0, "go"}, {0.5, "go"}, {0.6, "slow 1.6"}, {0.75, "slow 4.0"}, {0.99, "slow 7.8"}, {0.4, "go"}}},
		{"stops at once, and goes on after three low looks", []look{{1, "stop"}, {0.7, "stop"}, {0.7, "stop"}, {0.7, "slow 3.2"}, {0.1, "go"}}},
		{"just below the stop it stays", []look{{1.2, "stop"}, {0.9, "stop"}, {0.8, "stop"}, {0.76, "stop"}, {0.76, "stop"}, {0.76, "stop"}}},
		{"a look that is not low begins the count again", []look{{1, "stop"}, {0, "stop"}, {0, "stop"}, {0.8, "stop"}, {0, "stop"}, {0, "stop"}, {0, "go"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b brake
			for i, l := range c.looks {
				h := b.judge(lag(l.load))
				got := "go"
				switch {
				case h.stop:
					got = "stop"
				case h.stretch > 0:
					got = fmt.Sprintf("slow %.1f", h.stretch)
				}
				if got != l.want {
					t.Fatalf("look %d, load %.2f: %s, wanted %s", i, l.load, got, l.want)
				}
				if named := strings.Contains(h.why, "standby db2 is"); named != (got != "go") {
					t.Errorf("look %d, %s: it says %q", i, got, h.why)
				}
			}
		})
	}
}

// A signal that is gone, with its standby, lets go as a low one does; one that
// may only stop never slows.
func TestBrakeLetsGoOfWhatIsGone(t *testing.T) {
	t.Parallel()
	var b brake
	b.judge(lag(2))
	for i, want := range []bool{true, true, false} {
		if h := b.judge(nil); h.stop != want {
			t.Errorf("look %d: %+v", i, h)
		}
	}
	if h := b.judge([]reading{{"connections", "", 0.99, stopOnly}}); h.stop || h.stretch != 0 || h.why != "" {
		t.Errorf("%+v", h)
	}
}

// Of several the worst is named, and the end of one stop does not end another.
func TestBrakeNamesTheWorst(t *testing.T) {
	t.Parallel()
	var b brake
	locks := reading{"locks", "10 sessions wait for locks (most 10)", 1, fromHalf}
	if h := b.judge(append(lag(3), locks)); h.why != "held back: standby db2 is 30.0 s behind (most 10 s)" {
		t.Error(h.why)
	}
	for range calmLooks {
		b.judge(append(lag(0), locks))
	}
	if h := b.judge(append(lag(0), locks)); !h.stop || !strings.Contains(h.why, locks.text) {
		t.Errorf("%+v", h)
	}
}

// Whatever a signal does, it never goes from a stop to another in fewer looks
// than it takes to calm down, and never beyond the stop without one.
func TestBrakeDoesNotFlap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var b brake
		was, since := false, 0
		for range 100 {
			load := rapid.Float64Range(0, 1.5).Draw(t, "load")
			h := b.judge(lag(load))
			if load >= 1 && !h.stop {
				t.Fatalf("goes on at %.2f", load)
			}
			if was && !h.stop && since < calmLooks {
				t.Fatalf("a stop ended after %d looks", since)
			}
			if since++; h.stop != was {
				was, since = h.stop, 1
			}
		}
	})
}
