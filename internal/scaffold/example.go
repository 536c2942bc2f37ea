package scaffold

// ExamplesDir is where the examples are, from the repository's root.
const ExamplesDir = "workflows-examples"

// Examples gives the example workflows by their paths.
func Examples() ([]File, error) {
	var files []File
	for _, w := range examples() {
		text, err := render("workflow.yml.tmpl", w.workflow)
		if err != nil {
			return nil, err
		}
		files = append(files, File{ExamplesDir + "/" + w.file, text})
	}
	return files, nil
}

type example struct {
	file string
	workflow
}

func examples() []example {
	o := Defaults()
	of := func(s Strategy) maker { o := o; o.Strategy = s; return maker{o} }
	withSchema := o
	withSchema.Schema = true
	changing := maker{withSchema}

	stepwise := o
	stepwise.Environment = "production-{to}"
	canary := workflow{Name: "release", On: events{Push: true}, Jobs: maker{stepwise}.release(), Header: []string{
		"Canary: the candidate takes 5, 25, then 100 percent of the traffic, a job for",
		"each step. Each step has an environment with reviewers of its own: production-5,",
		"production-25, production-100. They see in the summary of the job before what the",
		"step before has shown. gapless.yaml:", "",
		"  strategy: {canary: {steps: [5, 25, 100], bake: 5m}}",
		"  gates: {promote: {environment: \"production-{to}\"}}",
	}}
	blueGreen := workflow{Name: "release", On: events{Push: true}, Jobs: of(BlueGreen).release(), Header: []string{
		"Blue-green: the candidate stands ready without traffic, then takes all of it at",
		"once when a reviewer of environment production approves. gapless.yaml:", "",
		"  strategy: {blue_green: {bake: 10m}}",
		"  gates: {promote: {environment: production}}",
	}}
	rolling := workflow{Name: "release", On: events{Push: true}, Jobs: of(Rolling).release(), Header: []string{
		"Rolling: instances are replaced batch by batch, each watched before the next. It",
		"gives people the new revision at once, so deploy itself waits for a reviewer of",
		"environment production. gapless.yaml:", "",
		"  strategy: {rolling: {batch: 25%, on_failure: rollback}}",
		"  gates: {promote: {environment: production}}",
	}}
	schema := workflow{Name: "release", On: events{Push: true, Contract: true}, Header: []string{
		"A release with a breaking schema change. A push expands the schema, so that it",
		"serves both versions, and releases the code. Days later, when nobody writes the",
		"old form any more, somebody runs this workflow by hand: contract archives and",
		"removes the old form, once a reviewer of environment production-schema approves.",
		"Until then the way back is traffic only. gapless.yaml:", "",
		"  schema: {url_env: DATABASE_URL, changes: [db/changes/0007-split-street.yaml]}",
		"  gates: {promote: {environment: production}, contract: {environment: production-schema}}",
	}}
	schema.Jobs = append(starting(changing.release(), "github.event_name == 'push'"),
		starting(changing.contract(), "github.event_name == 'workflow_dispatch'")...)

	all := []example{{"canary.yml", canary}, {"blue-green.yml", blueGreen}, {"rolling.yml", rolling}, {"schema-change.yml", schema}}
	all = append(all, steering(changing)...)
	for i := range all {
		all[i].Action = o.Action
	}
	return all
}

// steering are the workflows beside that of the releases.
func steering(m maker) []example {
	commands := m.commands()
	commands[0].If = "github.event.issue.pull_request && startsWith(github.event.comment.body, '/gapless ')"
	return []example{
		{"commands.yml", workflow{Name: "commands", On: events{Comment: true}, Jobs: commands, Header: []string{
			"Comments on the pull request that brought the release: /gapless promote DIGEST,",
			"/gapless contract DIGEST, /gapless rollback, /gapless hold, /gapless status. The",
			"first two need the digest that the rollout's comment shows. The phase runs here,",
			"in the run of the comment, so that the record names who asked. With comments as",
			"the gate, gates: {promote: {comment: write}}, take \"environment: gapless\" for",
			"the two jobs that name another one.",
		}}},
		{"tick.yml", workflow{Name: "tick", On: events{Schedule: true, Bare: true}, Jobs: m.tick(), Header: []string{
			"Looks after rollouts between their approvals: every half hour it takes back what",
			"went bad, and stops the old revision once the rollback window is over.",
		}}},
		{"rollback.yml", workflow{Name: "rollback", On: events{Dispatch: []string{"rollback"}, Reason: true}, Jobs: m.rollback(), Header: []string{
			"The way back as a button: Actions, rollback, Run workflow.",
		}}},
		{"plan.yml", workflow{Name: "plan", On: events{PullRequest: true}, Jobs: m.plan(), Header: []string{
			"What a pull request's release would do: a comment on it, with annotations beside",
			"the lines of gapless.yaml and of the change files. A fork's pull request gets a",
			"plan by its files alone, in the summary, and no secrets.",
		}}},
	}
}

// starting gives the first of jobs a condition; the jobs after it are skipped
// with it.
func starting(jobs []job, condition string) []job {
	jobs[0].If = condition
	return jobs
}
