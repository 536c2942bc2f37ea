package addressbook

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Faults makes a revision bad on purpose. The zero value is a good one.
type Faults struct {
	// Errors is the share of requests, 0 to 1, that is answered 500 before
	// anything was read or written (BAD_ERRORS=0.05).
	Errors float64
	// Slow is added to each request (BAD_SLOW=300ms).
	Slow time.Duration
	// Memory is held from the start, in MiB (BAD_MEMORY=200).
	Memory int
	// CrashAfter ends the process, at once and in the middle of its requests
	// (BAD_CRASH_AFTER=20s).
	CrashAfter time.Duration
}

// FaultsFromEnv reads the BAD_ variables; an unset one is no fault.
func FaultsFromEnv(getenv func(string) string) (Faults, error) {
	var f Faults
	err := errors.Join(
		read(getenv, "BAD_ERRORS", &f.Errors, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }),
		read(getenv, "BAD_SLOW", &f.Slow, time.ParseDuration),
		read(getenv, "BAD_MEMORY", &f.Memory, strconv.Atoi),
		read(getenv, "BAD_CRASH_AFTER", &f.CrashAfter, time.ParseDuration),
	)
	if err == nil && (f.Errors < 0 || f.Errors > 1) {
		err = fmt.Errorf("BAD_ERRORS %g: allowed are 0 to 1", f.Errors)
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

// spoil wraps h. The health check stays good: what is meant here are faults
// that only traffic shows.
func (f Faults) spoil(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/healthz") {
			h.ServeHTTP(w, r)
			return
		}
		select {
		case <-time.After(f.Slow):
		case <-r.Context().Done():
		}
		if rand.Float64() < f.Errors {
			http.Error(w, "the address book lost its page", http.StatusInternalServerError)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// crash ends the process as a fault would: nothing is finished, nothing said.
func crash() {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		fmt.Fprintln(os.Stderr, "address-book: crash:", err)
	}
}
