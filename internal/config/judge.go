package config

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/gapless-deploy/gapless/internal/document"
)

// Judge is what makes a candidate unacceptable beside the stable revision.
type Judge struct {
	// Requests answered with an error (5xx, or no answer).
	Errors Errors `yaml:"errors"`
	// Requests answered too slowly.
	Slow Slow `yaml:"slow"`
	// CPU time per request. It can fail a candidate, never pass one.
	CPU Excess `yaml:"cpu"`
	// Memory per instance. It can fail a candidate, never pass one.
	Memory Excess `yaml:"memory"`
	// How many requests a candidate must have answered before it may pass a step. Default 150.
	MinRequests int `yaml:"min_requests" jsonschema:"minimum=1"`
}

// Errors bounds the candidate's share of failed requests.
type Errors struct {
	// How many percentage points above stable are too many. Default 0.1pp.
	WorseBy Points `yaml:"worse_by"`
	// How many times stable's share is too many. Default 1.25.
	Ratio float64 `yaml:"ratio" jsonschema:"exclusiveMinimum=1"`
}

// Slow bounds the candidate's share of slow requests.
type Slow struct {
	// From which duration on a request is slow. Default 300ms.
	Over time.Duration `yaml:"over"`
	// How many percentage points above stable are too many. Default 0.5pp.
	WorseBy Points `yaml:"worse_by"`
	// How many times stable's share is too many. Default 1.25.
	Ratio float64 `yaml:"ratio" jsonschema:"exclusiveMinimum=1"`
}

// Excess bounds what the candidate may use.
type Excess struct {
	// How many times what stable uses is too much. Default 1.5 for cpu, 1.3 for memory.
	Ratio float64 `yaml:"ratio" jsonschema:"exclusiveMinimum=1"`
}

// Default fills in what a file may leave out.
func (j *Judge) Default() {
	j.Errors.Default()
	j.Slow.Default()
	j.CPU.Ratio = 1.5
	j.Memory.Ratio = 1.3
	j.MinRequests = 150
}

// Default fills in what a file may leave out.
func (e *Errors) Default() { e.WorseBy, e.Ratio = 0.1, 1.25 }

// Default fills in what a file may leave out.
func (s *Slow) Default() {
	s.Over = 300 * time.Millisecond
	s.WorseBy, s.Ratio = 0.5, 1.25
}

// Points is a difference between two shares in percentage points.
type Points float64

var points = regexp.MustCompile(`^(\d{1,3}(?:\.\d{1,6})?)(pp|%)?$`)

// UnmarshalText reads 0.1pp. A bare number or a percentage is refused: a
// difference of 25% may be meant relatively.
func (p *Points) UnmarshalText(text []byte) error {
	suggestion := "write it like 0.1pp"
	if m := points.FindSubmatch(text); m != nil {
		value, err := strconv.ParseFloat(string(m[1]), 64)
		if err == nil && string(m[2]) == "pp" && value > 0 && value <= 100 {
			*p = Points(value)
			return nil
		}
		if string(m[2]) != "pp" {
			suggestion = fmt.Sprintf("write %spp", m[1])
		}
	}
	return document.Fault{
		Message:    fmt.Sprintf("expected percentage points above 0pp, at most 100pp, observed %q", text),
		Suggestion: suggestion,
	}
}

// String is the difference as a file gives it.
func (p Points) String() string { return strconv.FormatFloat(float64(p), 'f', -1, 64) + "pp" }

// Share is the difference as a fraction of one: 0.1pp is 0.001.
func (p Points) Share() float64 { return float64(p) / 100 }
