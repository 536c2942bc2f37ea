package plan

import (
	"time"

	"github.com/gapless-deploy/gapless/internal/config"
)

// shortWindow is the least rollback window in which people notice something.
const shortWindow = 10 * time.Minute

// Lints lists settings under which requests can be dropped, or a bad candidate
// seen late. None of them stops a release.
func Lints(cfg *config.Config) []string {
	var lints []string
	add := func(when bool, lint string) {
		if when {
			lints = append(lints, lint)
		}
	}
	if local := cfg.Target.Local; local != nil {
		add(local.Instances == 1, "target.local.instances is 1: when that instance crashes, nobody serves until it is up again")
	}
	add(cfg.Target.Kubernetes != nil && cfg.Meter == nil && cfg.Traffic != config.TrafficNone,
		"no meter: requests are not counted, so every verdict is inconclusive and waits for somebody to accept it")
	add(len(cfg.Smoke) == 0, "no smoke test: a candidate that is healthy and wrong is found out by users")
	add(cfg.Probe == nil, "no probe: what a client sees during a phase is not recorded")
	add(cfg.Drain < time.Second, "drain is below 1s: longer requests are cut when an instance is stopped")
	add(cfg.RollbackWindow < shortWindow, "rollback_window is below 10m: after it the way back takes a launch")
	add(cfg.Gates.Promote == nil, "no gate promote: whoever can run the phase can give the candidate traffic")
	add(cfg.Schema != nil && len(cfg.Schema.Changes) > 0 && cfg.Gates.Contract == nil,
		"no gate contract: whoever can run the phase can remove the old form of the schema")
	return lints
}
