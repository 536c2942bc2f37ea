package document

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const durationExample = "write it like 30s, 5m, 24h or 7d"

// ParseDuration reads a duration as time.ParseDuration does, and also whole
// days of 24 hours in front, as in 7d or 1d12h. Negative ones are refused.
func ParseDuration(s string) (time.Duration, error) {
	days, rest, hasDays := strings.Cut(s, "d")
	if !hasDays {
		days, rest = "0", s
	}
	count, err := strconv.ParseUint(days, 10, 16)
	if err != nil || (rest == "" && !hasDays) || strings.HasPrefix(rest, "+") {
		return 0, fmt.Errorf("expected a duration, observed %s", quoted(s))
	}
	total := time.Duration(count) * 24 * time.Hour
	if rest == "" {
		return total, nil
	}
	part, err := time.ParseDuration(rest)
	if err != nil || total+part < total {
		return 0, fmt.Errorf("expected a duration, observed %s", quoted(s))
	}
	return total + part, nil
}

// FormatDuration writes d as a person would: 24h rather than 24h0m0s.
// ParseDuration reads it back unchanged.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
