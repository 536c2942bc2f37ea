package runner

import (
	"slices"
	"strings"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Input is one of the action's inputs. action.yml, the tables in the
// documentation and the reading of the environment come from this list.
type Input struct {
	Name string
	// Description is Markdown; its first sentence stands alone in the README.
	Description string
	// Default may be an expression of GitHub's, which the runner evaluates.
	Default  string
	Required bool
	// Boolean inputs are true or false.
	Boolean bool
	// Secret inputs are masked in all that is written.
	Secret bool
	// For lists the phases that take the input; nil is all of them.
	For []rollout.Phase
	// Flag is the command line's flag that the input becomes, without its
	// dashes; empty where the action itself acts on it. No secret has one.
	Flag string
}

// The names of the inputs.
const (
	InputPhase             = "phase"
	InputConfig            = "config"
	InputWorkingDirectory  = "working-directory"
	InputRevision          = "revision"
	InputTo                = "to"
	InputRollout           = "rollout"
	InputHead              = "head"
	InputExpect            = "expect"
	InputAccept            = "accept"
	InputReason            = "reason"
	InputSupersede         = "supersede"
	InputSchema            = "schema"
	InputChange            = "change"
	InputDryRun            = "dry-run"
	InputMaxRate           = "max-rate"
	InputState             = "state"
	InputRecordKey         = "record-key"
	InputRecordKeyPrevious = "record-key-previous"
	InputComment           = "comment"
	InputGitHubToken       = "github-token"
	InputOIDCIssuer        = "oidc-issuer"
)

// Inputs is the one list of the action's inputs.
func Inputs() []Input { return slices.Concat(whatToDo(), whatIsMeant(), howToDoIt()) }

func whatToDo() []Input {
	return []Input{
		{
			Name: InputPhase, Required: true,
			Description: "What this step does: one of " + strings.Join(namesOf(Phases()), ", ") + ".",
		},
		{
			Name: InputRevision, Flag: "revision", For: []rollout.Phase{rollout.Plan, rollout.Expand, rollout.Deploy, Can},
			Description: "The revision to release: a version or an image with its digest.",
		},
		{
			Name: InputTo, Flag: "to", For: []rollout.Phase{rollout.Promote, Can},
			Description: "Give the candidate so many percent of the traffic. Without it, the next step of the config.",
		},
		{
			Name: InputSupersede, Flag: "supersede", Boolean: true, Default: "false",
			For:         []rollout.Phase{rollout.Plan, rollout.Expand, rollout.Deploy, Can},
			Description: "End another rollout that is under way first. One that passed at 100 percent is settled, every other is taken back.",
		},
		{
			Name: InputReason, Flag: "reason", For: []rollout.Phase{rollout.Rollback, rollout.Hold, rollout.Adopt},
			Description: "Why, for the record.",
		},
		{
			Name: InputMaxRate, Flag: "max-rate", For: []rollout.Phase{rollout.Expand},
			Description: "The most rows a second that the backfill writes, over what the config says; 0 is no bound.",
		},
		{
			Name: InputSchema, Flag: "schema", For: []rollout.Phase{rollout.Rollback},
			Description: "What a rollback does about the schema: `keep` it, which serves both revisions, or `revert` what expand made, once the candidate is gone. Without it, `keep`.",
		},
		{
			Name: InputChange, For: []rollout.Phase{rollout.Restore, Can},
			Description: "The change that restore brings back, named as its file is without the extension.",
		},
		{
			Name: InputDryRun, Boolean: true, Default: "false", For: rollout.Phases()[1:],
			Description: "List what the phase still needs, and do nothing.",
		},
	}
}

func whatIsMeant() []Input {
	accepting := []rollout.Phase{rollout.Deploy, rollout.Promote, rollout.Contract, Can, Status}
	underWay := slices.Concat(rollout.Phases()[1:], []rollout.Phase{Status, Can})
	return []Input{
		{
			Name: InputRollout, Flag: "rollout", For: underWay,
			Description: "The id of the rollout that the job means, an output of the job before. The phase is refused when another one is under way.",
		},
		{
			Name: InputHead, Flag: "head", For: slices.Concat(underWay, []rollout.Phase{rollout.Plan, Command}),
			Description: "The newest entry of the record that is known, an output of the job before. Needed where the platform cannot tell it.",
		},
		{
			Name: InputExpect, Flag: "expect", For: underWay,
			Description: "The gate-digest that was approved, an output of the job before. The phase holds where another one is due.",
		},
		{
			Name: InputAccept, Flag: "accept", For: accepting,
			Description: "A reason to go on after an inconclusive verdict, or though some signals of use cannot be read. It goes into the record with the name of who started the run.",
		},
	}
}

func howToDoIt() []Input {
	return []Input{
		{
			Name: InputConfig, Flag: "config", Default: "gapless.yaml",
			Description: "The service's config.",
		},
		{
			Name: InputWorkingDirectory, Default: ".",
			Description: "The directory in the workspace that `config` and the paths in it start from.",
		},
		{
			Name: InputState, Default: "artifact",
			Description: "Where the records are kept: `artifact` (of the workflow runs) or a directory. A directory must outlive the job, as on a self-hosted runner.",
		},
		{
			Name: InputRecordKey, Secret: true,
			Description: "Key that signs the records, of at least 32 bytes. Only needed where the job gets no OIDC token (`id-token: write`).",
		},
		{
			Name: InputRecordKeyPrevious, Secret: true,
			Description: "The key before `record-key`, while records signed by it are still about.",
		},
		{
			Name: InputComment, Boolean: true, Default: "true",
			Description: "Keep a comment about the rollout on the pull request that brought the revision.",
		},
		{
			Name: InputGitHubToken, Secret: true, Default: "${{ github.token }}",
			Description: "Token for GitHub's API. It needs `actions: read`, and `pull-requests: write` for the comment.",
		},
		{
			Name:        InputOIDCIssuer,
			Description: "Who issues the OIDC tokens of jobs, where that is not github.com: of a GHE.com tenant, or of an enterprise with an issuer of its own.",
		},
	}
}
