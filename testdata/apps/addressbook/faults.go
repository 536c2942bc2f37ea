package addressbook

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Faults makes a revision bad on purpose. The zero value is a good one.
type Faults struct {
	// After is how many requests a process answers well before Errors and Slow
	// set in, so that smoke tests and warm-up do not meet them (BAD_AFTER=60).
	After int
	// Errors is the share of requests, 0 to 1, that is answered 500 before
	// anything was read or written (BAD_ERRORS=0.05).
	Errors float64
	// Slow is the share of requests, 0 to 1, that takes SlowBy longer
	// (BAD_SLOW=0.1, BAD_SLOW_BY=500ms).
	Slow   float64
	SlowBy time.Duration
	// Memory is held from the start, in MiB (BAD_MEMORY=200).
	Memory int
	// CrashAfter ends the process, at once and in the middle of its requests,
	// when it has answered so many, or up to twice as many: each process
	// draws its own number, so that they do not all end together
	// (BAD_CRASH_AFTER=600).
	CrashAfter int
	// Unhealthy never answers the health path (BAD_HEALTH=true).
	Unhealthy bool
}

// FaultsFromEnv reads the BAD_ variables; an unset one is no fault.
func FaultsFromEnv(getenv func(string) string) (Faults, error) {
	var f Faults
	share := func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }
	err := errors.Join(
		read(getenv, "BAD_AFTER", &f.After, strconv.Atoi),
		read(getenv, "BAD_ERRORS", &f.Errors, share),
		read(getenv, "BAD_SLOW", &f.Slow, share),
		read(getenv, "BAD_SLOW_BY", &f.SlowBy, time.ParseDuration),
		read(getenv, "BAD_MEMORY", &f.Memory, strconv.Atoi),
		read(getenv, "BAD_CRASH_AFTER", &f.CrashAfter, strconv.Atoi),
		read(getenv, "BAD_HEALTH", &f.Unhealthy, strconv.ParseBool),
	)
	for name, value := range map[string]float64{"BAD_ERRORS": f.Errors, "BAD_SLOW": f.Slow} {
		if value < 0 || value > 1 {
			err = errors.Join(err, fmt.Errorf("%s %g: allowed are 0 to 1", name, value))
		}
	}
	for name, value := range map[string]int{"BAD_AFTER": f.After, "BAD_MEMORY": f.Memory, "BAD_CRASH_AFTER": f.CrashAfter} {
		if value < 0 {
			err = errors.Join(err, fmt.Errorf("%s %d: must not be negative", name, value))
		}
	}
	return f, err
}

func read[T any](getenv func(string) string, name string, into *T, parse func(string) (T, error)) error {
	value := getenv(name)
	if value == "" {
		return nil
	}
	parsed, err := parse(value)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	*into = parsed
	return nil
}

// hold takes the memory and touches each page, so that it counts.
func (f Faults) hold() []byte {
	held := make([]byte, f.Memory<<20)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	return held
}

// spoil wraps h. The health check stays good unless it is the fault itself:
// the others are faults that only traffic shows.
func (f Faults) spoil(h http.Handler) http.Handler {
	var requests atomic.Int64
	last := f.crashAt()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/healthz") {
			if f.Unhealthy {
				<-r.Context().Done()
				return
			}
			h.ServeHTTP(w, r)
			return
		}
		n := requests.Add(1)
		if last > 0 && n > last {
			crash()
		}
		bad := n > int64(f.After)
		if bad && rand.Float64() < f.Slow {
			select {
			case <-time.After(f.SlowBy):
			case <-r.Context().Done():
			}
		}
		if bad && rand.Float64() < f.Errors {
			http.Error(w, "the address book lost its page", http.StatusInternalServerError)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// crashAt draws after how many requests the process ends; 0 is never.
func (f Faults) crashAt() int64 {
	if f.CrashAfter == 0 {
		return 0
	}
	return int64(f.CrashAfter) + rand.Int64N(int64(f.CrashAfter)+1)
}

// crash ends the process as a fault would: nothing is finished, nothing said.
func crash() {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		fmt.Fprintln(os.Stderr, "address-book: crash:", err)
	}
}
