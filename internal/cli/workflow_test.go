package cli

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gapless-deploy/gapless/internal/forge/runner"
	"github.com/gapless-deploy/gapless/internal/githubtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestWorkflows plays whole workflows against the fake GitHub: each step is the
// action as the runner starts it, with a real agent and real processes.
func TestWorkflows(t *testing.T) {
	commands := scriptCommands()
	maps.Copy(commands, map[string]scriptCommand{
		"github": startHub, "merged": mergePull, "environment": protect, "run": startRun, "job": startJob, "approve": approveJob,
		"step": step, "post": post, "output": outputOf, "comment": commentIs, "summary": summaryIs, "say": sayComment,
		"expire": expire, "unseen": unseen, "reacted": reacted, "replies": replies, "says": says, "twice": twice, "edited": edited,
	})
	maps.Copy(commands, faults())
	play(t, "workflow", commands)
}

// hub is the fake GitHub of one script.
type hub struct {
	server *githubtest.Server
	repo   *githubtest.Repository
	pull   *githubtest.PullRequest
	run    *githubtest.Run
	runs   []*githubtest.Run
	job    *githubtest.Job
	last   *githubtest.Comment
	// asked is how many requests there were before the last step.
	asked int
}

func hubOf(ts *testscript.TestScript) *hub {
	h := stageOf(ts).hub
	if h == nil {
		ts.Fatalf("the script has no github")
	}
	return h
}

// startHub makes a repository with a pull request of ben's that ana merged.
func startHub(ts *testscript.TestScript, _ bool, _ []string) {
	s := stageOf(ts)
	server := githubtest.New(s.tb)
	repo := server.Repository("octo/shop", githubtest.Protected("main"))
	repo.Collaborator("ana", "admin")
	repo.Collaborator("ben", "write")
	repo.Collaborator("carl", "read")
	pull := repo.PullRequest(githubtest.PullRequestSpec{Author: "ben", Title: "Release"})
	pull.Merge("ana")
	s.hub = &hub{server: server, repo: repo, pull: pull}
}

// mergePull has ana merge another pull request of ben's.
func mergePull(ts *testscript.TestScript, _ bool, _ []string) {
	h := hubOf(ts)
	h.pull = h.repo.PullRequest(githubtest.PullRequestSpec{Author: "ben", Title: "Release"})
	h.pull.Merge("ana")
}

// protect: environment NAME LOGIN... gives an environment reviewers and a
// branch policy; without people it has neither.
func protect(ts *testscript.TestScript, _ bool, args []string) {
	p := githubtest.Protection{Reviewers: args[1:]}
	if len(args) > 1 {
		p.Branches = githubtest.ProtectedBranches
	}
	hubOf(ts).repo.Environment(args[0], p)
}

// startRun: run EVENT starts a run; run again is its next attempt.
func startRun(ts *testscript.TestScript, _ bool, args []string) {
	h := hubOf(ts)
	spec := githubtest.RunSpec{Event: args[0], Actor: "ben"}
	switch args[0] {
	case "again":
		h.run.Rerun()
		return
	case githubtest.IssueComment:
		spec.Comment, spec.Actor = h.last, args[1]
	case githubtest.OnPullRequest:
		spec.PullRequest = h.repo.PullRequest(githubtest.PullRequestSpec{Author: "ben", Branch: "next"})
		h.pull = spec.PullRequest
	case "fork":
		fork := h.server.Repository("eve/shop", githubtest.ForkOf(h.repo))
		spec.Event = githubtest.OnPullRequest
		spec.PullRequest = h.repo.PullRequest(githubtest.PullRequestSpec{Author: "eve", Branch: "next", Head: fork})
		h.pull = spec.PullRequest
	}
	h.run = h.repo.Run(spec)
	h.runs = append(h.runs, h.run)
}

// startJob: job NAME [ENVIRONMENT] starts a job with the permissions that the
// examples give; one of ENVIRONMENT "-" gets no token that proves who it is.
func startJob(ts *testscript.TestScript, _ bool, args []string) {
	h := hubOf(ts)
	if h.job != nil {
		h.job.Complete("success")
	}
	spec := githubtest.JobSpec{Name: args[0], Permissions: githubtest.Permissions{
		githubtest.Contents: githubtest.Read, githubtest.Actions: githubtest.Read,
		githubtest.PullRequests: githubtest.Write, githubtest.IDToken: githubtest.Write,
	}}
	if len(args) > 1 && args[1] == "-" {
		delete(spec.Permissions, githubtest.IDToken)
	} else if len(args) > 1 {
		spec.Environment = args[1]
	}
	h.job = h.run.Job(spec)
}

// approveJob: approve ENVIRONMENT LOGIN
func approveJob(ts *testscript.TestScript, _ bool, args []string) {
	hubOf(ts).run.Approve(args[0], args[1])
}

// step: step STATUS [INPUT=VALUE...] runs the action and wants this exit
// status. Its outputs are in the environment after it: NEXT_PHASE and so on.
func step(ts *testscript.TestScript, _ bool, args []string) {
	inputs(ts, args[1:])
	if got := fmt.Sprint(exitStatus(ts, ts.Exec("gapless", "action"))); got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
	for name, value := range written(ts, ts.Getenv("GITHUB_OUTPUT")) {
		ts.Setenv(strings.ToUpper(strings.ReplaceAll(name, "-", "_")), value)
	}
}

// inputs sets the environment of a step as the runner does.
func inputs(ts *testscript.TestScript, args []string) {
	h := hubOf(ts)
	h.asked = len(h.server.Requests())
	for name, value := range h.job.Env() {
		ts.Setenv(name, value)
	}
	for _, in := range inputNames() {
		if in != "INPUT_GITHUB-TOKEN" {
			ts.Setenv(in, "")
		}
	}
	ts.Setenv("INPUT_OIDC-ISSUER", h.server.Issuer())
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		ts.Setenv("INPUT_"+strings.ToUpper(name), value)
	}
}

// cutShort: interrupt TEXT INPUT... sends SIGINT to the action once it has said a
// text, as the runner does, and wants it to have ended within 5 s; crash TEXT
// INPUT... ends it with SIGKILL.
func cutShort(by syscall.Signal) scriptCommand {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		cmd, said := begin(ts, args)
		signalled(ts, cmd, said, by)
	}
}

// signalled sends a signal and wants the action to have ended within 5 s.
func signalled(ts *testscript.TestScript, cmd *exec.Cmd, said *transcript, by syscall.Signal) {
	ts.Check(cmd.Process.Signal(by))
	began := time.Now()
	err := cmd.Wait()
	took := time.Since(began)
	ts.Logf("%sended %s after the signal", said, took.Round(time.Millisecond))
	if took > 5*time.Second {
		ts.Fatalf("ended %s after the signal, allowed are 5s", took)
	}
	if err == nil {
		ts.Fatalf("the action ended well")
	}
}

// begin starts the action and waits until it has said a text.
func begin(ts *testscript.TestScript, args []string) (*exec.Cmd, *transcript) {
	cmd, said := start(ts, args[1:])
	eventually(ts, "the action says "+args[0], func() bool { return strings.Contains(said.String(), args[0]) })
	return cmd, said
}

// start starts the action.
func start(ts *testscript.TestScript, args []string) (*exec.Cmd, *transcript) {
	inputs(ts, args)
	path, err := lookPath(ts.Getenv("PATH"), "gapless")
	ts.Check(err)
	said := &transcript{}
	cmd := exec.Command(path, "action")
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = ts.MkAbs("."), said, said, environOf(ts)
	ts.Check(cmd.Start())
	return cmd, said
}

// twice: twice TEXT INPUT... runs the action a second time once the first has
// said a text: the second waits for nothing, the first ends well.
func twice(ts *testscript.TestScript, _ bool, args []string) {
	cmd, said := begin(ts, args)
	status := exitStatus(ts, ts.Exec("gapless", "action"))
	err := cmd.Wait()
	ts.Logf("%s", said)
	if status != exitWaiting || err != nil {
		ts.Fatalf("the second ended with %d, the first with %v", status, err)
	}
}

// transcript is what a process says while it runs.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// environOf is the script's environment, as far as a step has it.
func environOf(ts *testscript.TestScript) []string {
	var environ []string
	for _, name := range append(inputNames(), "PATH", "HOME", "TMPDIR", "GAPLESS_AGENT_TOKEN", "DATABASE_URL") {
		environ = append(environ, name+"="+ts.Getenv(name))
	}
	for name := range hubOf(ts).job.Env() {
		environ = append(environ, name+"="+ts.Getenv(name))
	}
	return environ
}

// written reads a file of outputs as the runner does.
func written(ts *testscript.TestScript, path string) map[string]string {
	data, err := os.ReadFile(path)
	ts.Check(err)
	values := map[string]string{}
	for rest := string(data); rest != ""; {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		name, delimiter, ok := strings.Cut(line, "<<")
		if !ok {
			ts.Fatalf("%s: %q begins no output", path, line)
		}
		value, after, ok := strings.Cut("\n"+rest, "\n"+delimiter+"\n")
		if !ok {
			ts.Fatalf("%s: output %s does not end", path, name)
		}
		values[name], rest = strings.TrimPrefix(value, "\n"), after
	}
	return values
}

// post runs the action's post step in the same job.
func post(ts *testscript.TestScript, _ bool, _ []string) {
	if status := exitStatus(ts, ts.Exec("gapless-post")); status != 0 {
		ts.Fatalf("exit status %d", status)
	}
}

// output: output NAME REGEXP
func outputOf(ts *testscript.TestScript, neg bool, args []string) {
	got := ts.Getenv(strings.ToUpper(strings.ReplaceAll(args[0], "-", "_")))
	if regexp.MustCompile(args[1]).MatchString(got) == neg {
		ts.Fatalf("output %s is %q", args[0], got)
	}
}

// comment: comment plan|rollout FILE compares the one comment of this kind on
// the pull request with a golden file; comment none wants none of ours.
func commentIs(ts *testscript.TestScript, _ bool, args []string) {
	h := hubOf(ts)
	var ours []string
	for _, c := range h.repo.Comments(h.pull.Number) {
		body := c.Body()
		plan := strings.HasPrefix(body, "<!-- gapless:shop:plan -->")
		if strings.HasPrefix(body, "<!-- gapless:shop:") && (args[0] == "none" || plan == (args[0] == "plan")) {
			ours = append(ours, body)
		}
	}
	if args[0] == "none" {
		if len(ours) != 0 {
			ts.Fatalf("there is a comment: %s", ours[0])
		}
		return
	}
	if len(ours) != 1 {
		ts.Fatalf("%d comments of ours, want one", len(ours))
	}
	golden(ts, args[1], ours[0])
}

// summary: summary FILE compares the step's summary.
func summaryIs(ts *testscript.TestScript, _ bool, args []string) {
	data, err := os.ReadFile(ts.Getenv("GITHUB_STEP_SUMMARY"))
	ts.Check(err)
	golden(ts, args[0], string(data))
}

// golden compares what people read, but for what differs from run to run.
func golden(ts *testscript.TestScript, name, got string) {
	path := filepath.Join("..", "..", "testdata", "workflow", "golden", name)
	got = steady(got)
	if *update {
		ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
		ts.Check(os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	ts.Check(err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		ts.Fatalf("%s differs (-want +got):\n%s", name, diff)
	}
}

// steady puts signs for what differs from run to run: times, digests, counts.
func steady(text string) string {
	for _, r := range []struct{ pattern, sign string }{
		{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( UTC)?`, "TIME"},
		{` \([0-9.]+ ?(ms|s|m|min)? ago\)`, ""},
		{`\b[0-9][0-9,]*/s`, "N/s"},
		{`\b[0-9a-f]{12,64}\b`, "DIGEST"},
		{`(\d\.\d)-[0-9a-f]{6}\b`, "$1-ID"},
		{`127\.0\.0\.1:\d+`, "ADDRESS"},
		{`\b[0-9][0-9,]*(\.[0-9]+)? ?(ms|s)\b`, "N s"},
		{`\b[0-9][0-9,]*(\.[0-9]+)? ?(kB|MB|requests|times|rows)\b`, "N $2"},
		{`\| [0-9][0-9,]* `, "| N "},
		{`[0-9.]+pp worse`, "Npp worse"},
		{`Exposure: .*`, "Exposure: COUNTS"},
		{`0 --> [0-9.]+`, "0 --> N"},
		{`\[[0-9., ]+\]`, "[N]"},
		{`\b(run |runs/)\d+`, "${1}N"},
		// Whether there was enough of it to compare depends on the machine; it is one of the two.
		{`\| CPU per request \| (N s \| N s \| N times stable's, limit 1\.5|unknown \| unknown \| nothing to compare yet) \|`, "| CPU per request | COMPARED OR UNKNOWN |"},
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.sign)
	}
	return text
}

// sayComment: say LOGIN TEXT comments on the pull request.
func sayComment(ts *testscript.TestScript, _ bool, args []string) {
	h := hubOf(ts)
	h.last = h.repo.Comment(h.pull.Number, args[0], args[1])
}

// reacted: reacted CONTENT wants our reaction to what was said last.
func reacted(ts *testscript.TestScript, _ bool, args []string) {
	if got := hubOf(ts).last.Reactions(); !strings.Contains(fmt.Sprint(got), args[0]) {
		ts.Fatalf("reactions are %v, want %s", got, args[0])
	}
}

// replies: replies TEXT wants it in a reply of ours.
func replies(ts *testscript.TestScript, _ bool, args []string) {
	h := hubOf(ts)
	for _, c := range h.repo.Comments(h.pull.Number) {
		if c.ID > h.last.ID && strings.Contains(c.Body(), args[0]) {
			return
		}
	}
	ts.Fatalf("nobody replied %q", args[0])
}

// says: says TEXT wants it in a comment of ours.
func says(ts *testscript.TestScript, _ bool, args []string) {
	h := hubOf(ts)
	for _, c := range h.repo.Comments(h.pull.Number) {
		if strings.HasPrefix(c.Body(), "<!-- gapless:") && strings.Contains(c.Body(), args[0]) {
			return
		}
	}
	ts.Fatalf("no comment of ours says %q", args[0])
}

// edited: edited TEXT changes what was said last.
func edited(ts *testscript.TestScript, _ bool, args []string) { hubOf(ts).last.Edit(args[0]) }

// expire ends the life of all artifacts.
func expire(ts *testscript.TestScript, _ bool, _ []string) {
	h := hubOf(ts)
	for _, run := range h.runs {
		for _, a := range run.Artifacts() {
			h.server.Expire(a)
		}
	}
}

func inputNames() []string {
	var names []string
	for _, in := range runner.Inputs() {
		names = append(names, "INPUT_"+strings.ToUpper(in.Name))
	}
	return names
}
