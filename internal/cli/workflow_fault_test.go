package cli

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gapless-deploy/gapless/internal/githubtest"
)

// faults are the commands by which a script has GitHub fail.
func faults() map[string]scriptCommand {
	return map[string]scriptCommand{
		"fails": fails, "mend": mend, "hangup": hangup, "within": within, "budget": budget, "disconnect": disconnect, "full": full,
		"interrupt": cutShort(syscall.SIGINT), "crash": cutShort(syscall.SIGKILL),
	}
}

// fails: fails STATUS PATTERN has all requests whose method and path match
// refused from now on, until mend; with "reset" the connection is cut, with
// "limit" it is GitHub's secondary limit for a minute, with "hang" the answer
// does not end.
func fails(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile(args[1])
	match := func(r *http.Request) bool { return pattern.MatchString(r.Method + " " + r.URL.Path) }
	named := map[string]githubtest.Fault{
		"reset": githubtest.Reset(), "limit": githubtest.SecondaryLimit(http.StatusForbidden, time.Minute), "hang": githubtest.Slow(nil),
	}
	f, ok := named[args[0]]
	if !ok {
		status, err := strconv.Atoi(args[0])
		ts.Check(err)
		f = githubtest.Status(status)
	}
	hubOf(ts).server.Fail(1<<20, match, f)
}

// mend ends what fails began.
func mend(ts *testscript.TestScript, _ bool, _ []string) { hubOf(ts).server.Mend() }

// disconnect: disconnect TEXT INPUT... has all of GitHub fail once the action has
// said a text, and then interrupts it.
func disconnect(ts *testscript.TestScript, _ bool, args []string) {
	cmd, said := begin(ts, args)
	fails(ts, false, []string{"503", "."})
	signalled(ts, cmd, said, syscall.SIGINT)
}

// full: full STATUS INPUT... runs a step on a runner whose disk is full.
func full(ts *testscript.TestScript, _ bool, args []string) {
	inputs(ts, args[1:])
	for _, name := range []string{"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"} {
		ts.Check(os.Remove(ts.Getenv(name)))
		ts.Check(os.Symlink("/dev/full", ts.Getenv(name)))
	}
	ts.Check(os.Symlink("/proc/none", filepath.Join(ts.Getenv("RUNNER_TEMP"), "gapless")))
	if got := fmt.Sprint(exitStatus(ts, ts.Exec("gapless", "action"))); got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}

// hangup: hangup PATTERN INPUT... sends SIGINT while the action waits for a request that
// matches; see interrupt.
func hangup(ts *testscript.TestScript, _ bool, args []string) {
	h := hubOf(ts)
	pattern := regexp.MustCompile(args[0])
	asked := len(h.server.Requests())
	cmd, said := start(ts, args[1:])
	eventually(ts, "GitHub is asked "+args[0], func() bool {
		return slices.ContainsFunc(h.server.Requests()[asked:], func(r githubtest.Request) bool {
			return pattern.MatchString(r.Method + " " + r.Path)
		})
	})
	signalled(ts, cmd, said, syscall.SIGINT)
}

// within: within DURATION step STATUS INPUT... bounds how long a step may take.
func within(ts *testscript.TestScript, _ bool, args []string) {
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	began := time.Now()
	step(ts, false, args[2:])
	took := time.Since(began)
	ts.Logf("took %s", took.Round(time.Millisecond))
	if took > limit {
		ts.Fatalf("took %s, allowed are %s", took, limit)
	}
}

// budget: budget REST wants the last step to have made at most so many requests
// to GitHub's REST API, of which a repository has a thousand an hour.
func budget(ts *testscript.TestScript, _ bool, args []string) {
	h := hubOf(ts)
	counts, rest := map[string]int{}, 0
	for _, r := range h.server.Requests()[h.asked:] {
		kind := r.Method + " " + regexp.MustCompile(`\d{3,}|[0-9a-f]{12,}|[0-9a-f-]{36}`).ReplaceAllString(r.Path, "N")
		counts[kind]++
		if strings.HasPrefix(r.Path, "/api/v3/") {
			rest++
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		ts.Logf("%3d %s", counts[kind], kind)
	}
	if most, err := strconv.Atoi(args[0]); err != nil || rest > most {
		ts.Fatalf("%d requests to the REST API, allowed are %s (%v)", rest, args[0], fmt.Sprint(err))
	}
}
