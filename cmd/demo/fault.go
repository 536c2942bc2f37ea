package main

import (
	"context"
	"time"
)

// fault is what goes wrong on the way.
type fault string

const (
	noFault      fault = "none"
	badErrors    fault = "bad-errors"
	badSlow      fault = "bad-slow"
	badMemory    fault = "bad-memory"
	crash        fault = "crash"
	unhealthy    fault = "unhealthy"
	killBackfill fault = "kill-backfill"
	killPhase    fault = "kill-phase"
	killAgent    fault = "kill-agent"
	drift        fault = "drift"
)

func faults() []fault {
	return []fault{noFault, badErrors, badSlow, badMemory, crash, unhealthy, killBackfill, killPhase, killAgent, drift}
}

// trouble is what a fault does, and what must come of it.
type trouble struct {
	what string
	end  outcome

	// env makes the service bad; only the new revision heeds it.
	env []string
	// errors is the share of its answers that are errors then.
	errors float64
	// bake and limit are how long each weight is watched where the demo's usual
	// times are too short for the judge to see it; zero leaves them.
	bake, limit time.Duration

	// strike runs a phase and does the damage meanwhile. It strikes the phase
	// of that name, or the one that has a midway.
	strike func(*demo, context.Context, step) (status int, err error)
	phase  string

	// cuts: requests fail by the fault itself, not only by what the candidate
	// answers.
	cuts bool
	// unseen: no request may meet the candidate.
	unseen bool
}

// After smoke test and warm-up, which no fault of this kind may show at.
const late = "BAD_AFTER=60"

func (f fault) trouble() trouble {
	switch f {
	case badErrors:
		return trouble{what: "the new revision answers some requests with an error", end: rolledBack,
			env: []string{late, "BAD_ERRORS=0.05"}, errors: 0.05}
	case badSlow:
		return trouble{what: "the new revision answers some requests much slower", end: rolledBack,
			env: []string{late, "BAD_SLOW=0.1", "BAD_SLOW_BY=500ms"}}
	case badMemory:
		return trouble{what: "the new revision uses several times the memory", end: rolledBack,
			env: []string{"BAD_MEMORY=64"}, bake: 150 * time.Second, limit: 170 * time.Second}
	case crash:
		return trouble{what: "the new revision's processes end under load now and then", end: rolledBack, cuts: true,
			env: []string{"BAD_CRASH_AFTER=800"}, bake: 20 * time.Second, limit: 60 * time.Second}
	case unhealthy:
		return trouble{what: "the new revision never answers its health path", end: rolledBack, unseen: true,
			env: []string{"BAD_HEALTH=true"}}
	case killBackfill:
		return trouble{what: "expand is killed in the middle of its backfill, and run again", end: released,
			strike: (*demo).killBackfill, phase: "expand"}
	case killPhase:
		return trouble{what: "gapless is killed while it moves traffic, and run again", end: released,
			strike: (*demo).killPhase}
	case killAgent:
		return trouble{what: "the agent is killed in the middle of a bake, and started again", end: released, cuts: true,
			strike: (*demo).killAgent}
	case drift:
		return trouble{what: "somebody else moves the traffic by hand", end: rolledBack,
			strike: (*demo).drift}
	case noFault:
	}
	return trouble{what: "nothing", end: released}
}

// strikes reports whether the fault strikes a phase.
func (t trouble) strikes(s step) bool {
	if t.strike == nil {
		return false
	}
	return t.phase == s.args[0] || t.phase == "" && s.midway > 0
}
