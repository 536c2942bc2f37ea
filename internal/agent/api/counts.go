package api

import "time"

// Counts is what the agent counted from From on; it knows nothing earlier.
// Up to CompleteUntil nothing will be added any more.
type Counts struct {
	From          time.Time `json:"from"`
	CompleteUntil time.Time `json:"complete_until"`
	Samples       []Sample  `json:"samples"`
}

// Sample is what one revision on one side was asked and answered from From
// until To, during which the split did not change. A request belongs to the
// moment at which it ended.
type Sample struct {
	Side     Side      `json:"side"`
	Revision Revision  `json:"revision"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Weights  Weights   `json:"weights"`
	Requests uint64    `json:"requests"`
	// Errors counts answers of 500 and above and those that broke off.
	Errors uint64 `json:"errors"`
	// Slow counts requests that took longer than SlowOver: until the last byte,
	// or for upgraded connections and event streams until the head of the answer.
	Slow     uint64   `json:"slow"`
	SlowOver Duration `json:"slow_over,omitempty"`
	// Durations counts requests by duration, see [DurationBounds]; nil per second.
	Durations []uint64 `json:"durations,omitempty"`
	// CPUSeconds is used by all instances together; nil when it was not read
	// throughout.
	CPUSeconds *float64 `json:"cpu_seconds,omitempty"`
	// MemoryBytes is the mean resident size of an instance, nil when not read.
	MemoryBytes *float64 `json:"memory_bytes,omitempty"`
	// Instances is the mean number of ready instances.
	Instances float64 `json:"instances"`
}

// Resolution tells how fine the samples of [Client.Counts] are.
type Resolution string

const (
	// PerSplit merges all samples of a revision between two changes of the split.
	PerSplit Resolution = "split"
	// PerSecond gives one sample a second, the finest there is.
	PerSecond Resolution = "1s"
)

// DurationBounds are the upper bounds of Sample.Durations, five to each power
// of ten from 1 ms to 10 s; a last count holds all that took longer.
func DurationBounds() []time.Duration {
	bounds := make([]time.Duration, 0, 21)
	for decade := int64(1); decade <= 1000; decade *= 10 {
		for _, microseconds := range [...]int64{1000, 1585, 2512, 3981, 6310} {
			bounds = append(bounds, time.Duration(microseconds*decade)*time.Microsecond)
		}
	}
	return append(bounds, 10*time.Second)
}
