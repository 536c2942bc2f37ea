package agent_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

func (h *host) scale(side api.Side, instances, serving int, drain time.Duration) api.Done {
	h.t.Helper()
	done, err := h.tryScale(side, instances, serving, drain)
	if err != nil {
		h.t.Fatal(err)
	}
	return done
}

func (h *host) tryScale(side api.Side, instances, serving int, drain time.Duration) (api.Done, error) {
	h.t.Helper()
	return h.client.Scale(h.t.Context(), side, api.Scale{
		IfToken: h.now().Token, Instances: instances, Serving: serving, Drain: api.Duration(drain),
	})
}

// first launches some instances of a definition and gives them all traffic.
func (h *host) first(instances int, s *api.Spec) {
	h.t.Helper()
	launch := api.Launch{IfToken: h.now().Token, Revision: api.Revision{ID: "v1"}, Spec: s, Instances: instances}
	if _, err := h.client.Launch(h.t.Context(), api.Blue, launch); err != nil {
		h.t.Fatal(err)
	}
	h.awaitReady(instances)
	h.shift(1000, 0)
}

func (h *host) awaitReady(n int) []api.Instance {
	h.t.Helper()
	return h.await(fmt.Sprint(n, " ready"), func(s api.State) bool { return s.Sides[api.Blue].Ready == n }).Sides[api.Blue].Instances
}

// answering tells which of a side's instances answer public requests.
func (h *host) answering() []string {
	h.t.Helper()
	names := map[string]string{}
	for _, in := range h.now().Sides[api.Blue].Instances {
		names[fmt.Sprint("v1 ", in.PID)] = in.Name
	}
	var found []string
	for range 40 {
		_, body := get(h.t, h.public, "/who")
		if !slices.Contains(found, names[body]) {
			found = append(found, names[body])
		}
	}
	slices.Sort(found)
	return found
}

func namesOf(instances []api.Instance) []string {
	var names []string
	for _, in := range instances {
		names = append(names, in.Name)
	}
	return names
}

func TestHeldInstancesAreReadyAndGetNoRequestUntilTheyServe(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	h.first(1, spec("v1", 3))
	if side := h.now().Sides[api.Blue]; side.Desired != 1 || side.Serving != 1 || side.Spec.Instances != 3 {
		t.Errorf("launched with one of three: %+v", side)
	}
	h.scale(api.Blue, 3, 1, 0)
	all := h.awaitReady(3)
	if side := h.now().Sides[api.Blue]; side.Desired != 3 || side.Serving != 1 || all[0].Held || !all[1].Held || !all[2].Held {
		t.Errorf("two are to be held: %+v", side)
	}
	for _, serving := range []int{1, 3, 2, 1} {
		h.scale(api.Blue, 3, serving, 0)
		if got, want := h.answering(), namesOf(all)[:serving]; !slices.Equal(got, want) {
			t.Errorf("%d serve: answered by %v, want %v", serving, got, want)
		}
	}
	// A held one that fails and recovers stays held.
	get(t, all[2].Address, "/sick")
	h.awaitReady(2)
	get(t, all[2].Address, "/well")
	h.awaitReady(3)
	if got := h.answering(); !slices.Equal(got, namesOf(all)[:1]) {
		t.Errorf("answered by %v, want the first alone", got)
	}
}

func TestScalingDownDrainsTheLastOnesAndTellsWhatWasCut(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	h.first(3, spec("v1", 3))
	all := h.now().Sides[api.Blue].Instances
	var lines []func() string
	for range 3 { // the fewest in flight is taken, so each instance has one
		lines = append(lines, hold(t, h.public))
	}
	if done := h.scale(api.Blue, 2, 2, 50*time.Millisecond); done.Cut != 1 {
		t.Errorf("%d requests were cut, want the one of the last instance", done.Cut)
	}
	if alive(all[2].PID) || !alive(all[0].PID) || !alive(all[1].PID) {
		t.Error("the last instance, and it alone, is to be ended")
	}
	get(t, all[1].Address, "/release")
	if done := h.scale(api.Blue, 1, 1, patient); done.Cut != 0 {
		t.Errorf("%d requests were cut, the last had time to end", done.Cut)
	}
	get(t, all[0].Address, "/release")
	var said []string
	for _, line := range lines {
		said = append(said, line())
	}
	if slices.Sort(said); !slices.Equal(said[1:], []string{"released", "released"}) {
		t.Errorf("the requests in flight got %q, want two of them released", said)
	}
	if side := h.now().Sides[api.Blue]; side.Desired != 1 || len(side.Instances) != 1 || side.Instances[0].PID != all[0].PID {
		t.Errorf("left is %+v, want the first", side)
	}
}

func TestInstancesAreStartedWhileOthersStillDrain(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	h.first(2, spec("v1", 2))
	all := h.now().Sides[api.Blue].Instances
	lines := []func() string{hold(t, h.public), hold(t, h.public)}
	ended := make(chan api.Done, 1)
	go func() {
		done, err := h.client.Scale(t.Context(), api.Blue, api.Scale{IfToken: h.now().Token, Instances: 1, Serving: 1, Drain: api.Duration(patient)})
		if err != nil {
			t.Error(err)
		}
		ended <- done
	}()
	h.await("draining", func(s api.State) bool { return len(s.Draining) == 1 })
	h.scale(api.Blue, 2, 2, patient)
	both := h.awaitReady(2)
	if slices.Contains(namesOf(both), all[1].Name) {
		t.Errorf("%v share a name with %s, which drains", namesOf(both), all[1].Name)
	}
	if draining := h.now().Draining; len(draining) != 1 || draining[0].Name != all[1].Name {
		t.Errorf("draining is %v, want %s", namesOf(draining), all[1].Name)
	}
	if status := metricsStatus(t, h); status != http.StatusOK {
		t.Errorf("metrics: status %d", status)
	}
	get(t, all[0].Address, "/release")
	get(t, all[1].Address, "/release")
	if done := <-ended; done.Cut != 0 || lines[0]() != "released" || lines[1]() != "released" {
		t.Errorf("%d requests were cut", done.Cut)
	}
	// Repeated, it changes nothing, and waits for nothing.
	before := h.now()
	if done := h.scale(api.Blue, 2, 2, patient); done.Token != before.Token {
		t.Error("the same numbers again changed the token")
	}
}

func metricsStatus(t *testing.T, h *host) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

func TestScalingRefusesWhatWouldLeaveTrafficWithoutAnInstance(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	h.first(2, spec("v1", 3))
	stale := h.now().Token
	h.scale(api.Blue, 3, 3, 0)
	if _, err := h.client.Scale(t.Context(), api.Blue, api.Scale{IfToken: stale, Instances: 1, Serving: 1}); !errors.Is(err, api.ErrConflict) {
		t.Errorf("on a stale token: %v", err)
	}
	all := h.awaitReady(3)
	get(t, all[0].Address, "/sick")
	h.awaitReady(2)
	before := h.now()
	for name, c := range map[string]struct {
		side               api.Side
		instances, serving int
		want               error
		says               string
	}{
		"nothing runs there": {api.Green, 1, 1, api.ErrNotReady, "nothing runs there"},
		"no such side":       {"red", 1, 1, api.ErrInvalid, "red"},
		"none":               {api.Blue, 0, 0, api.ErrInvalid, "0 is not within 1 to 3"},
		"more than all":      {api.Blue, 4, 4, api.ErrInvalid, "4 is not within 1 to 3"},
		"more than run":      {api.Blue, 2, 3, api.ErrInvalid, "3 is not within 0 to 2"},
		"none serving":       {api.Blue, 3, 0, api.ErrServing, "100 %"},
		"the sick one alone": {api.Blue, 1, 1, api.ErrNotReady, "no database"},
		"it alone serving":   {api.Blue, 3, 1, api.ErrNotReady, "no database"},
	} {
		if _, err := h.tryScale(c.side, c.instances, c.serving, 0); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v and %q", name, err, c.want, c.says)
		}
	}
	launch := api.Launch{IfToken: h.now().Token, Revision: api.Revision{ID: "v2"}, Spec: spec("v2", 1), Instances: 2}
	if _, err := h.client.Launch(t.Context(), api.Green, launch); !errors.Is(err, api.ErrInvalid) || !strings.Contains(err.Error(), "2 is not within 1 to 1") {
		t.Errorf("launch of more than all: %v", err)
	}
	if after := h.now(); after.Token != before.Token || after.Sides[api.Blue].Desired != 3 || after.Sides[api.Blue].Serving != 3 {
		t.Errorf("what was refused left %+v", after)
	}
	h.shift(1000, 0)
	h.launch(api.Green, "v2", spec("v2", 1))
	h.scale(api.Green, 1, 0, 0)
	_, err := h.client.Shift(t.Context(), api.Shift{IfToken: h.now().Token, Weights: api.Weights{api.Green: 1000}})
	if !errors.Is(err, api.ErrNotReady) || !strings.Contains(err.Error(), "held") {
		t.Errorf("shift to a side that is held whole: %v", err)
	}
}

func TestRestartedAgentKeepsNumbersAndWhatIsHeld(t *testing.T) {
	t.Parallel()
	opts := fixed(t)
	h, cmd := separate(t, opts)
	h.first(2, spec("v1", 4))
	h.scale(api.Blue, 3, 2, 0)
	h.awaitReady(3)
	h.scale(api.Blue, 2, 2, time.Second)
	h.scale(api.Blue, 3, 2, 0) // its last place is another than before
	h.awaitReady(3)
	before := h.await("written down", func(api.State) bool { return written(t, opts.State) == 3 }).Sides[api.Blue]
	if want := []string{"blue-1.1", "blue-1.2", "blue-1.4"}; !slices.Equal(namesOf(before.Instances), want) {
		t.Errorf("instances are %v, want %v", namesOf(before.Instances), want)
	}
	kill(t, cmd)
	// One that serves dies with it: the held one must not take its place.
	if err := syscall.Kill(before.Instances[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	h, _ = separate(t, opts)
	after := h.await("ready", func(s api.State) bool { return s.Sides[api.Blue].Ready == 3 }).Sides[api.Blue]
	if after.Desired != 3 || after.Serving != 2 || after.Spec.Instances != 4 || !slices.Equal(namesOf(after.Instances), namesOf(before.Instances)) {
		t.Errorf("after the restart: %+v", after)
	}
	for i, in := range after.Instances {
		if in.Held != (i == 2) || (in.PID == before.Instances[i].PID) != (i > 0) {
			t.Errorf("after the restart %s is %+v, was %+v", in.Name, in, before.Instances[i])
		}
	}
	if got, want := h.answering(), namesOf(after.Instances)[:2]; !slices.Equal(got, want) {
		t.Errorf("answered by %v, want %v", got, want)
	}
	h.scale(api.Blue, 3, 3, 0)
	if got, want := h.answering(), namesOf(after.Instances); !slices.Equal(got, want) {
		t.Errorf("answered by %v, want %v", got, want)
	}
}

func TestAnInstanceThatDrainsDoesNotOutliveItsAgent(t *testing.T) {
	t.Parallel()
	opts := fixed(t)
	h, cmd := separate(t, opts)
	h.first(2, spec("v1", 2))
	all := h.now().Sides[api.Blue].Instances
	hold(t, h.public)
	hold(t, h.public)
	told := h.now().Token
	go h.client.Scale(t.Context(), api.Blue, api.Scale{IfToken: told, Instances: 1, Serving: 1, Drain: api.Duration(patient)}) //nolint:errcheck // its agent is killed
	h.await("draining", func(s api.State) bool { return len(s.Draining) == 1 })
	kill(t, cmd)
	h, _ = separate(t, opts)
	h.awaitReady(1)
	if alive(all[1].PID) || !alive(all[0].PID) {
		t.Error("what was being ended is to be ended by the next agent, and nothing else")
	}
}

func TestLaunchedAgainASideIsWhole(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	h.first(1, spec("v1", 3))
	h.scale(api.Blue, 2, 1, 0)
	one := h.awaitReady(2)[0]
	again := func() {
		t.Helper()
		launch := api.Launch{IfToken: h.now().Token, Revision: api.Revision{ID: "v1"}}
		if _, err := h.client.Launch(t.Context(), api.Blue, launch); err != nil {
			t.Fatal(err)
		}
		all := h.awaitReady(3)
		if side := h.now().Sides[api.Blue]; side.Desired != 3 || side.Serving != 3 {
			t.Errorf("launched again: %+v", side)
		}
		if got := h.answering(); !slices.Equal(got, namesOf(all)) {
			t.Errorf("answered by %v, want %v", got, namesOf(all))
		}
	}
	again()
	if in := h.now().Sides[api.Blue].Instances[0]; in.PID != one.PID {
		t.Errorf("%+v was replaced by %+v", one, in)
	}
	h.launch(api.Green, "v2", spec("v2", 1))
	h.shift(0, 1000)
	h.retire(api.Blue, time.Second)
	if side := h.now().Sides[api.Blue]; side.Desired != 0 || side.Serving != 0 {
		t.Errorf("retired: %+v", side)
	}
	launch := api.Launch{IfToken: h.now().Token, Revision: api.Revision{ID: "v1"}, Instances: 2}
	if _, err := h.client.Launch(t.Context(), api.Blue, launch); err != nil {
		t.Fatal(err)
	}
	h.awaitReady(2)
	h.shift(1000, 0)
	again()
}

func TestAWorkerIsReadyAndNeverOffered(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	worker := spec("v1", 2)
	worker.NoTraffic = true
	h.first(2, worker)
	if weights := h.now().Split.Weights; weights[api.Blue] != 1000 {
		t.Errorf("weights are %v, want the share to be kept", weights)
	}
	if status, _ := get(t, h.public, "/who"); status != http.StatusServiceUnavailable {
		t.Errorf("a public request is answered with status %d, want 503", status)
	}
	h.scale(api.Blue, 2, 1, 0)
	h.scale(api.Blue, 2, 2, 0)
	if status, _ := get(t, h.public, "/who"); status != http.StatusServiceUnavailable {
		t.Errorf("a worker that serves answered with status %d", status)
	}
	if n := h.now().Sides[api.Blue].Ready; n != 2 {
		t.Errorf("%d are ready, want 2", n)
	}
}
