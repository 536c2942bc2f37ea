package scaffold

import (
	"fmt"
	"slices"
	"strings"
)

// workflow is a workflow's file. Its jobs are made by the functions of this
// package; the template only writes them down.
type workflow struct {
	Header []string
	Name   string
	On     events
	Action string
	Jobs   []job
}

// events are what starts the workflow.
type events struct {
	Push, PullRequest, Comment, Schedule bool
	// Dispatch lists the phases that a person may start; Reason asks for one.
	Dispatch []string
	Reason   bool
	// Bare lets a person start it, without inputs.
	Bare bool
	// Contract lets a person start contract, and take upon themselves what the
	// database cannot tell.
	Contract bool
}

type job struct {
	Key         string
	Comment     []string
	Needs       []string
	If          string
	RunsOn      string
	Environment string
	Permissions string
	Outputs     []pair
	Steps       []step
}

// step runs the action, or the command in Run.
type step struct {
	Comment []string
	Run     string
	ID, If  string
	With    []pair
	Env     []pair
}

// pair is a key with its value, as YAML has it.
type pair struct{ Name, Value string }

const (
	// selfHosted is a runner on the service's host, or one that reaches its agent.
	selfHosted = "self-hosted"
	hosted     = "ubuntu-latest"

	// ownEnvironment has the secrets of jobs that nobody has to approve.
	ownEnvironment = "gapless"

	readOnly = "{contents: read}"
	// forPhase is all that a phase needs: to read records and approvals, to
	// write the comment, and to prove which job it runs in.
	forPhase = "{contents: read, actions: read, pull-requests: write, id-token: write}"
)

// maker makes jobs by the options.
type maker struct{ Options }

// phase is a step that runs a phase.
func (m maker) phase(id, phase string, with ...pair) step {
	s := step{ID: id, With: append([]pair{{"phase", phase}}, with...)}
	s.Env = []pair{
		{"GAPLESS_AGENT_TOKEN", secret("GAPLESS_AGENT_TOKEN")},
		{"GAPLESS_AGENT_CA", expression("vars.GAPLESS_AGENT_CA")},
	}
	if m.Schema {
		s.Env = append(s.Env, pair{"DATABASE_URL", secret("DATABASE_URL")})
	}
	return s
}

// job is a job that runs a phase as its only step, and hands on what it found.
func (m maker) job(key, environment, phase string, with ...pair) job {
	return job{
		Key: key, RunsOn: selfHosted, Environment: environment, Permissions: forPhase,
		Steps: []step{m.phase(stepID, phase, with...)}, Outputs: outputs(stepID, "rollout", "head", "gate-digest", "next-phase"),
	}
}

const stepID = "gapless"

func (j job) after(needs ...string) job { j.Needs = needs; return j }
func (j job) when(condition string) job { j.If = condition; return j }
func (j job) noted(lines ...string) job { j.Comment = lines; return j }
func (j job) last() job                 { j.Outputs = nil; return j }

func outputs(step string, names ...string) []pair {
	var all []pair
	for _, name := range names {
		all = append(all, pair{name, expression("steps." + step + ".outputs." + name)})
	}
	return all
}

// meant hands on what the job before saw: which rollout, and up to where.
func meant(from string) []pair {
	return []pair{{"rollout", output(from, "rollout")}, {"head", output(from, "head")}}
}

// approved is meant, with the digest that an approval is bound to.
func approved(from string) []pair {
	return append(meant(from), pair{"expect", output(from, "gate-digest")})
}

func output(job, name string) string { return expression("needs." + job + ".outputs." + name) }
func secret(name string) string      { return expression("secrets." + name) }
func expression(text string) string  { return "${{ " + text + " }}" }

// gateOf is the environment of a gated job.
func (m maker) gateOf(environment string) string {
	if m.Gate == ByEnvironment {
		return environment
	}
	return ownEnvironment
}

// whole is the one workflow that does all.
func whole(o Options) workflow {
	m := maker{o}
	w := workflow{
		Name: "gapless", Action: o.Action,
		Header: []string{
			"Releases " + o.Service + ": each job runs one phase. Written by gapless init; it is yours to change.",
		},
		On: events{Push: true, PullRequest: true, Comment: true, Schedule: true, Dispatch: []string{"rollback"}, Reason: true},
	}
	if o.Schema {
		w.On.Dispatch, w.On.Contract = append(w.On.Dispatch, "contract"), true
	}
	w.Jobs = slices.Concat(
		m.validate(),
		starting(m.release(), "github.event_name == 'push'"),
		starting(m.tick(), "github.event_name == 'schedule'"),
		m.commands(),
		starting(m.rollback(), "github.event_name == 'workflow_dispatch' && inputs.phase == 'rollback'"),
	)
	if o.Schema {
		w.Jobs = append(w.Jobs, starting(m.contract(), "github.event_name == 'workflow_dispatch' && inputs.phase == 'contract'")...)
	} else {
		w.Jobs[len(w.Jobs)-1].If = "github.event_name == 'workflow_dispatch'"
	}
	return w
}

// release takes a commit of main as far as its gates let it.
func (m maker) release() []job {
	jobs := []job{
		{Key: "build", RunsOn: selfHosted, Permissions: readOnly, Steps: []step{{
			Run:     fmt.Sprintf("%s \"$GITHUB_SHA\"", m.Build),
			Comment: []string{"Puts this commit's program where the agent starts it from: {revision}", "in the command of gapless.yaml is the commit."},
		}}},
		m.job("plan", ownEnvironment, "plan", revision()).after("build"),
	}
	before := "plan"
	if m.Schema {
		jobs = append(jobs, m.job("expand", ownEnvironment, "expand", slices.Concat([]pair{revision()}, meant(before))...).after(before))
		before = "expand"
	}
	deploy := m.job("deploy", ownEnvironment, "deploy", slices.Concat([]pair{revision()}, approved(before))...).after(before)
	if m.Gate == ByEnvironment {
		m.gateDeploy(&deploy, before)
	}
	jobs = append(jobs, deploy)
	switch {
	case m.Strategy == Rolling, m.Gate == ByComment:
		jobs[len(jobs)-1] = jobs[len(jobs)-1].last()
		return jobs
	case m.Strategy == BlueGreen:
		return append(jobs, m.promote("promote", "deploy", "").last())
	}
	before = "deploy"
	for _, share := range m.Steps {
		key := "promote-" + strings.ReplaceAll(share, ".", "-")
		jobs = append(jobs, m.promote(key, before, share))
		before = key
	}
	jobs[len(jobs)-1] = jobs[len(jobs)-1].last()
	return jobs
}

// gateDeploy has deploy wait for the reviewers where it is what first gives a
// candidate traffic.
func (m maker) gateDeploy(deploy *job, before string) {
	if m.Strategy == Rolling {
		deploy.Environment = m.before("100")
		return
	}
	deploy.Environment = fmt.Sprintf("${{ needs.%s.outputs.gate-digest != '' && '%s' || '%s' }}", before, m.before("100"), ownEnvironment)
	deploy.Comment = []string{"A first release takes all traffic here, so that the gate stands before it."}
}

// before is the environment in which a job gives the candidate a share of the
// traffic, in percent.
func (m maker) before(share string) string {
	return m.gateOf(strings.ReplaceAll(m.Environment, "{to}", share))
}

// promote goes to a share; an empty one is the only step.
func (m maker) promote(key, before, share string) job {
	var with []pair
	if share != "" {
		with = []pair{{"to", share}}
	} else {
		share = "100"
	}
	return m.job(key, m.before(share), "promote", slices.Concat(with, approved(before))...).
		after(before).when("needs." + before + ".outputs.next-phase == 'promote'")
}

func revision() pair { return pair{"revision", expression("github.sha")} }
