package runner

// Output is one of the action's outputs.
type Output struct{ Name, Description string }

// The names of the outputs.
const (
	OutputRollout    = "rollout"
	OutputHead       = "head"
	OutputState      = "state"
	OutputServing    = "serving"
	OutputWeight     = "weight"
	OutputVerdict    = "verdict"
	OutputWayBack    = "way-back"
	OutputPhase      = "phase"
	OutputOutcome    = "outcome"
	OutputNextPhase  = "next-phase"
	OutputNextTo     = "next-to"
	OutputWaitingFor = "waiting-for"
	OutputPlanDigest = "plan-digest"
	OutputGateDigest = "gate-digest"
	OutputResult     = "result"
)

// Outputs is the one list of the action's outputs.
func Outputs() []Output {
	return []Output{
		{OutputRollout, "The id of the rollout. Hand it to the jobs after this one as `rollout`."},
		{OutputHead, "The newest entry of the record, as JSON. Hand it to the jobs after this one as `head`."},
		{OutputState, "Where the rollout stands: settled, open, rolling, standing, exposed, live."},
		{OutputServing, "Who takes the traffic now, as JSON: a list of revisions with their weights."},
		{OutputWeight, "The candidate's share of the traffic, in percent."},
		{OutputVerdict, "The judge's last word: pass, fail, inconclusive. Empty before the first."},
		{OutputWayBack, "What going back would take: seconds, batches, launch, none."},
		{OutputPhase, "The phase that was run; of a comment or a tick, the one that it asks for."},
		{OutputOutcome, "How the phase ended: done, waiting, stopped, refused, needs-person."},
		{OutputNextPhase, "The phase that is due next; `waiting-for` says whether it may run now. Empty where nobody can tell."},
		{OutputNextTo, "The weight that the next promote leads to, in percent."},
		{OutputWaitingFor, "What the rollout waits for, in words. Empty when the next phase may run at once."},
		{OutputPlanDigest, "Digest of what is released by this rollout, and how."},
		{OutputGateDigest, "Digest that the approval of the next phase is bound to. Hand it to the gated job as `expect`."},
		{OutputResult, "All of it as one JSON object. Its `version` is 1."},
	}
}
