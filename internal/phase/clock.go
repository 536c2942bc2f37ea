package phase

import (
	"context"
	"time"
)

// Clock is the time of the machine that a phase runs on.
type Clock interface {
	Now() time.Time
	// Sleep returns after d, or earlier with the context's error.
	Sleep(ctx context.Context, d time.Duration) error
}

// SystemClock is the real one.
type SystemClock struct{}

// Now gives the time.
func (SystemClock) Now() time.Time {
	return time.Now() //nolint:forbidigo // this is the clock that the others are given
}

// Sleep waits for d.
func (SystemClock) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
