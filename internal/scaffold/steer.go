package scaffold

import "slices"

// tick looks after a rollout between its approvals, and stops the old revision
// when the rollback window is over.
func (m maker) tick() []job {
	tick := m.job("tick", ownEnvironment, "tick").
		noted("Takes back what went bad meanwhile, and names the phase that is due. Where", "nothing is under way, it has nothing to do.")
	tick.Outputs = append(tick.Outputs, outputs(stepID, "waiting-for")...)
	return []job{
		tick,
		m.job("retire", ownEnvironment, "retire", meant("tick")...).after("tick").last().
			when("needs.tick.outputs.next-phase == 'retire' && needs.tick.outputs.waiting-for == ''"),
	}
}

// commands does what a comment on the pull request asks for, in the run of the
// comment.
func (m maker) commands() []job {
	read := m.job("command", ownEnvironment, "command").
		when("github.event_name == 'issue_comment' && github.event.issue.pull_request && startsWith(github.event.comment.body, '/gapless ')").
		noted("Finds out who asks for what, and whether they may. The comment is read by", "the action, never by a shell.")
	read.Outputs = append(read.Outputs, outputs(stepID, "next-to")...)
	asked := func(phase string) string { return "needs.command.outputs.next-phase == '" + phase + "'" }
	jobs := []job{
		read,
		m.job("command-promote", m.before(output("command", "next-to")), "promote",
			slices.Concat([]pair{{"to", output("command", "next-to")}}, approved("command"))...).after("command").when(asked("promote")).last(),
		m.job("command-rollback", ownEnvironment, "rollback").after("command").when(asked("rollback")).last(),
		m.job("command-hold", ownEnvironment, "hold", meant("command")...).after("command").when(asked("hold")).last(),
	}
	if m.Strategy == Rolling {
		jobs = slices.Delete(jobs, 1, 2)
	}
	if m.Schema {
		jobs = append(jobs, m.job("command-contract", m.gateOf(m.SchemaEnvironment), "contract", approved("command")...).
			after("command").when(asked("contract")).last())
	}
	return jobs
}

// rollback is the button for a person.
func (m maker) rollback() []job {
	return []job{
		m.job("rollback", ownEnvironment, "rollback", pair{"reason", expression("inputs.reason")}).last().
			noted("Gives all traffic to the stable revision. Asks nobody, and needs neither", "record nor database."),
	}
}

// contract removes the old form of the schema, in a run of its own: days after
// the release.
func (m maker) contract() []job {
	waiver := pair{"accept", expression("inputs.accept")}
	return []job{
		m.job("due", ownEnvironment, "status", waiver).noted("Shows what is due, and which digest its approval is bound to."),
		m.job("contract", m.gateOf(m.SchemaEnvironment), "contract", append(approved("due"), waiver)...).after("due").
			when("needs.due.outputs.next-phase == 'contract'").last(),
	}
}

// validate checks the files of a pull request. It has no secrets, so that it
// may run for a fork's too, and on a machine that is thrown away.
func (m maker) validate() []job {
	return []job{{
		Key: "validate", If: "github.event_name == 'pull_request'", RunsOn: hosted, Permissions: readOnly,
		Comment: []string{"No secrets and no runner of ours: a fork's pull request may run this."},
		Steps:   []step{{ID: stepID, With: []pair{{"phase", "validate"}, {"comment", "false"}}}},
	}}
}

// plan shows on a pull request what its release would do.
func (m maker) plan() []job {
	own := m.job("plan", "gapless-plan", "plan", pair{"revision", expression("github.event.pull_request.head.sha")}).last().
		when("github.event.pull_request.head.repo.full_name == github.repository").
		noted("Looks at the platform and the database, so it has secrets: give environment",
			"gapless-plan reviewers where not everybody who may push a branch may use them.")
	fork := m.validate()[0]
	fork.Key, fork.If = "fork", "github.event.pull_request.head.repo.full_name != github.repository"
	fork.Steps = []step{{ID: stepID, With: []pair{{"phase", "plan"}, {"revision", expression("github.event.pull_request.head.sha")}}}}
	return []job{own, fork}
}
