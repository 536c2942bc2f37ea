// Package config reads gapless.yaml, the file in which a user says how a
// service is released: where it runs, by which strategy, how a candidate is
// checked and judged, which schema changes go with it and who lets it through.
package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gapless-deploy/gapless/internal/document"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Config is gapless.yaml, read and found free of contradictions. Keys that the
// file leaves out have their defaults.
type Config struct {
	// Name of the service: lower-case letters, digits and hyphens, at most 63.
	Service string `yaml:"service,required" jsonschema:"pattern=^[a-z]([a-z0-9-]{0\\,61}[a-z0-9])?$"`
	// Where the service runs: exactly one platform.
	Target Target `yaml:"target,required"`
	// How a new revision takes over: exactly one strategy.
	Strategy Strategy `yaml:"strategy,required"`
	// What the service answers to. Workers and scheduled jobs take no traffic (none) and can only be rolled. Default http.
	Traffic Traffic `yaml:"traffic"`
	// Clients stay with the revision they met first, by a cookie. Without it each request is divided anew.
	Sessions *Sessions `yaml:"sessions"`
	// How long the instances of a new revision may take to become ready. Default 2m.
	ReadyWithin time.Duration `yaml:"ready_within"`
	// How long an instance that gets no new requests may take to finish those it has. Default 30s.
	Drain time.Duration `yaml:"drain"`
	// Requests that a candidate must answer as told before it gets any traffic.
	Smoke []Smoke `yaml:"smoke"`
	// Requests sent to a candidate before it gets any traffic, so that its caches are filled.
	Warmup []Warmup `yaml:"warmup"`
	// A client that asks the service from outside throughout, for the ledger of dropped requests.
	Probe *Probe `yaml:"probe"`
	// How a candidate is judged against the stable revision.
	Judge Judge `yaml:"judge"`
	// Where requests, errors and durations are counted, on a platform that does not count them itself.
	Meter *Meter `yaml:"meter"`
	// The database and the schema changes that go with this release.
	Schema *Schema `yaml:"schema"`
	// How long the old revision is kept after the new one took all traffic, for a way back within seconds. Default 24h.
	RollbackWindow time.Duration `yaml:"rollback_window"`
	// How long a rollout may stand below 100 percent without any phase at work before tick takes it back. Default 168h.
	AbandonAfter time.Duration `yaml:"abandon_after"`
	// Who lets a phase through.
	Gates Gates `yaml:"gates"`
	// What a cancelled job does with a candidate that gets traffic: take the traffic back, or leave it as it is. Default rollback.
	OnCancel OnCancel `yaml:"on_cancel"`

	doc    *document.Document
	source rollout.File
}

// Default fills in what a file may leave out.
func (c *Config) Default() {
	c.Traffic = TrafficHTTP
	c.ReadyWithin = 2 * time.Minute
	c.Drain = 30 * time.Second
	c.RollbackWindow = 24 * time.Hour
	c.AbandonAfter = 7 * 24 * time.Hour
	c.OnCancel = CancelRollback
	c.Judge.Default()
}

// Traffic is what a service answers to.
type Traffic string

// The kinds of traffic.
const (
	TrafficHTTP Traffic = "http"
	TrafficNone Traffic = "none"
)

// Values are the texts a file may give.
func (Traffic) Values() []string { return []string{string(TrafficHTTP), string(TrafficNone)} }

// OnCancel is what a cancelled job does with a candidate that gets traffic.
type OnCancel string

// The ways to take a cancellation.
const (
	CancelRollback OnCancel = "rollback"
	CancelHold     OnCancel = "hold"
)

// Values are the texts a file may give.
func (OnCancel) Values() []string { return []string{string(CancelRollback), string(CancelHold)} }

// Parse reads data as gapless.yaml. The error is document.Faults, all of them,
// in which file names data.
func Parse(file string, data []byte) (*Config, error) {
	doc, err := document.Parse(file, data)
	if err != nil {
		return nil, err
	}
	c := &Config{doc: doc, source: rollout.File{Name: file, Data: data}}
	err = doc.Decode(c)
	faults := document.FaultsOf(err)
	if err != nil && len(faults) == 0 {
		return nil, err
	}
	check := checker{doc: doc, faults: faults}
	check.config(c)
	if err := check.faults.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Load reads the file at path. The error is document.Faults, or about reading:
// it wraps fs.ErrNotExist where there is no such file.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, document.MaxSize+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read config %s: %w", path, err)
	}
	return Parse(path, data)
}

// Source is the file that c was read from, byte by byte.
func (c *Config) Source() rollout.File { return c.source }

// Fault is a fault at a path such as schema.changes[0] of the file that c was
// read from, for what shows only later: a change that is missing, a service
// that the platform does not know.
func (c *Config) Fault(path, message, suggestion string) document.Fault {
	return c.doc.Fault(path, message, suggestion)
}
