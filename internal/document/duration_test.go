package document_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/document"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "30s": 30 * time.Second, "5m": 5 * time.Minute, "24h": 24 * time.Hour,
		"7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "1.5h": 90 * time.Minute, "200ms": 200 * time.Millisecond,
	} {
		if got, err := document.ParseDuration(text); err != nil || got != want {
			t.Errorf("%s: want %v, got %v, %v", text, want, got, err)
		}
	}
	for _, text := range []string{"", "5", "-5m", "+5m", "5 m", "m", "1.5d", "5m7d", "1d-3h", "d", "99999999d", "999999999h", "99999d999999h999999999h", "5us", "1e3s", "0x1s"} {
		if got, err := document.ParseDuration(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestFormatDurationReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := time.Duration(rapid.Int64Range(0, int64(90*24*time.Hour/time.Millisecond)).Draw(t, "ms")) * time.Millisecond
		text := document.FormatDuration(want)
		if got, err := document.ParseDuration(text); err != nil || got != want {
			t.Fatalf("%v as %q: got %v, %v", want, text, got, err)
		}
	})
	for want, d := range map[string]time.Duration{"24h": 24 * time.Hour, "5m": 5 * time.Minute, "1h10m": 70 * time.Minute, "0s": 0, "10s": 10 * time.Second, "1h0m10s": time.Hour + 10*time.Second} {
		if got := document.FormatDuration(d); got != want {
			t.Errorf("want %s, got %s", want, got)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	allowed := []string{"bake", "bake_limit", "settle", "steps"}
	for written, want := range map[string]string{
		"bakee": `did you mean "bake"?`, "baek": `did you mean "bake"?`, "step": `did you mean "steps"?`,
		"bake-limit": `did you mean "bake_limit"?`, "setle": `did you mean "settle"?`, "weights": "", "": "", "x": "",
	} {
		if got := document.DidYouMean(written, allowed); got != want {
			t.Errorf("%s: want %q, got %q", written, want, got)
		}
	}
}
