package report

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// count writes n with thousands separators.
func count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// of writes n with its noun: "1 row", "2 rows".
func of(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

// percent writes a share of one with at most two decimals; a share that is not
// zero never reads as zero.
func percent(share float64) string {
	switch {
	case math.IsNaN(share) || math.IsInf(share, 0):
		return "unknown"
	case share > 0 && share < 0.0001:
		return "<0.01%"
	}
	return trimZeros(strconv.FormatFloat(share*100, 'f', 2, 64)) + "%"
}

// points writes a difference between two shares in percentage points.
func points(share float64) string { return strings.Replace(percent(share), "%", "pp", 1) }

func trimZeros(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// portion writes a part of a whole as a count with its share.
func portion(n, whole int64) string {
	if whole <= 0 {
		return count(n)
	}
	return fmt.Sprintf("%s (%s)", count(n), percent(float64(n)/float64(whole)))
}

// lasting writes a duration in its two largest units.
func lasting(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return trimZeros(strconv.FormatFloat(d.Seconds(), 'f', 1, 64)) + "s"
	}
	d = d.Round(time.Second)
	h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", s)
	case h == 0 && s == 0:
		return fmt.Sprintf("%dm", m)
	case h == 0:
		return fmt.Sprintf("%dm %02ds", m, s)
	case h < 48 && m == 0:
		return fmt.Sprintf("%dh", h)
	case h < 48:
		return fmt.Sprintf("%dh %02dm", h, m)
	}
	return fmt.Sprintf("%dd %dh", h/24, h%24)
}

// seconds reads a number of seconds that may come from outside.
func seconds(s float64) time.Duration {
	const most = 100 * 365 * 24 * 3600
	if math.IsNaN(s) || s < 0 {
		return 0
	}
	return time.Duration(min(s, most) * float64(time.Second))
}

const stamp = "2006-01-02 15:04:05"

// at writes a moment in UTC.
func at(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format(stamp) + " UTC"
}

// ago adds how long ago t was to its moment.
func ago(t, now time.Time) string {
	if t.IsZero() || now.IsZero() || now.Before(t.Add(time.Second)) {
		return at(t)
	}
	return fmt.Sprintf("%s (%s ago)", at(t), lasting(now.Sub(t)))
}

// perRequest writes CPU time in its unit.
func perRequest(s float64) string {
	if s <= 0 || math.IsNaN(s) || math.IsInf(s, 0) {
		return "unknown"
	}
	if s < 1 {
		return strconv.FormatFloat(s*1000, 'g', 3, 64) + " ms"
	}
	return strconv.FormatFloat(s, 'g', 3, 64) + " s"
}

// bytes writes an amount of memory in its unit.
func bytes(b float64) string {
	if b <= 0 || math.IsNaN(b) || math.IsInf(b, 0) {
		return "unknown"
	}
	for _, unit := range []string{"B", "kB", "MB", "GB", "TB"} {
		if b < 1000 || unit == "TB" {
			return trimZeros(strconv.FormatFloat(b, 'f', 1, 64)) + " " + unit
		}
		b /= 1000
	}
	return ""
}

var longDigest = regexp.MustCompile(`^(?:sha256:)?([0-9a-f]{12})[0-9a-f]{20,}$`)

// short gives the first digits of a digest, and all of anything else.
func short(id string) string {
	if m := longDigest.FindStringSubmatch(id); m != nil {
		return m[1]
	}
	return id
}

// naming names the revisions of one rollout; a release of new settings alone
// has two of one ID, told apart by their specification.
type naming struct{ alike bool }

func namesOf(o rollout.Opened) naming {
	return naming{alike: o.Stable.ID == o.Candidate.ID && o.Stable != o.Candidate}
}

func (n naming) name(r rollout.Revision) string {
	if !n.alike || r.Spec == "" {
		return short(r.String())
	}
	return fmt.Sprintf("%s (spec %s)", short(r.String()), clip(r.Spec, 9))
}

// shares lists who takes the traffic.
func (n naming) shares(serving []rollout.Share) string {
	if len(serving) == 0 {
		return "nothing: no revision takes traffic"
	}
	parts := make([]string, len(serving))
	for i, s := range serving {
		parts[i] = n.name(s.Revision) + " " + s.Weight.String()
	}
	return strings.Join(parts, ", ")
}
