package document

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const durationExample = "write it like 30s, 5m, 24h or 7d"

// DurationPattern is the form of a duration as a regular expression.
const DurationPattern = `^(0|[0-9]{1,5}d([0-9]{1,9}(\.[0-9]{1,9})?(h|m|s|ms))*|([0-9]{1,9}(\.[0-9]{1,9})?(h|m|s|ms))+)$`

var durationForm = regexp.MustCompile(DurationPattern)

// ParseDuration reads hours, minutes, seconds and milliseconds as
// time.ParseDuration does, whole days of 24 hours in front of them, as in 7d or
// 1d12h, and a bare 0.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("expected a duration, observed %s", quoted(s))
	if !durationForm.MatchString(s) {
		return 0, bad
	}
	var total time.Duration
	days, rest, hasDays := strings.Cut(s, "d")
	if hasDays {
		count, err := strconv.Atoi(days)
		if err != nil {
			return 0, bad
		}
		total = time.Duration(count) * 24 * time.Hour
		if rest == "" {
			return total, nil
		}
	} else {
		rest = s
	}
	part, err := time.ParseDuration(rest)
	if err != nil || total+part < total {
		return 0, bad
	}
	return total + part, nil
}

// FormatDuration writes d as a person would: 24h rather than 24h0m0s.
// ParseDuration reads it back unchanged from a millisecond on.
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
