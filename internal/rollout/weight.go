package rollout

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Weight is the candidate's share of public traffic in tenths of a percent,
// 0 to 1000. Its wire form is a number of percent: 0.1, 5, 100.
type Weight int

// Full is all of the traffic.
const Full Weight = 1000

// PartOf is the share that n of so many instances take: a tenth of a percent
// at least while there are any, and all of it for all of them.
func PartOf(n, of int) Weight {
	switch {
	case n <= 0 || of <= 0:
		return 0
	case n >= of:
		return Full
	}
	return max(1, Full*Weight(n)/Weight(of))
}

// ParseWeight reads a number of percent, with or without the sign: "5",
// "0.1%". Steps finer than a tenth and values outside 0 to 100 are errors.
func ParseWeight(s string) (Weight, error) {
	f, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(s), "%"), 64)
	if err != nil || math.IsNaN(f) {
		return 0, fmt.Errorf("weight %q is not a number of percent", s)
	}
	tenths := math.Round(f * 10)
	if tenths/10 != f {
		return 0, fmt.Errorf("weight %q: allowed are steps of 0.1 percent", s)
	}
	if tenths < 0 || tenths > float64(Full) {
		return 0, fmt.Errorf("weight %q: allowed are 0 to 100 percent", s)
	}
	return Weight(tenths), nil
}

// Percent gives w as a number of percent.
func (w Weight) Percent() float64 { return float64(w) / 10 }

// Share gives w as a fraction of one.
func (w Weight) Share() float64 { return float64(w) / float64(Full) }

// String gives w as people read it: "5%", "0.1%".
func (w Weight) String() string { return strconv.FormatFloat(w.Percent(), 'f', -1, 64) + "%" }

// MarshalJSON writes a number of percent.
func (w Weight) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, w.Percent(), 'f', -1, 64), nil
}

// UnmarshalJSON reads a number of percent.
func (w *Weight) UnmarshalJSON(data []byte) error {
	var n json.Number
	if err := json.Unmarshal(data, &n); err != nil {
		return fmt.Errorf("weight %s is not a number of percent: %w", data, err)
	}
	parsed, err := ParseWeight(n.String())
	if err != nil {
		return err
	}
	*w = parsed
	return nil
}
