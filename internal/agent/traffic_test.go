package agent_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// load asks the public address from several clients until stop is called,
// which tells how many answers each version gave, and what went wrong.
func (h *host) load(clients int) (stop func() (answers map[string]int, faults []string)) {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	answers, faults := map[string]int{}, []string(nil)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				status, body, err := fetch(context.Background(), h.public, "/who")
				version, _, _ := strings.Cut(body, " ")
				mu.Lock()
				answers[version]++
				if err != nil || status != http.StatusOK {
					faults = append(faults, fmt.Sprint(status, " ", body, " ", err))
				}
				mu.Unlock()
			}
		})
	}
	return func() (map[string]int, []string) {
		cancel()
		all.Wait()
		return answers, faults
	}
}

func TestSwitchingUnderLoadDropsNothing(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	h.launch(api.Blue, "v1", spec("v1", 2))
	h.shift(1000, 0)
	stop := h.load(8)
	for range 3 {
		h.launch(api.Green, "v2", spec("v2", 2))
		for _, green := range []int{10, 500, 1000, 0, 1000} {
			h.shift(1000-green, green)
		}
		h.retire(api.Blue, 5*time.Second)
		h.launch(api.Blue, "v1", spec("v1", 2))
		h.shift(1000, 0)
		h.retire(api.Green, 5*time.Second)
	}
	answers, faults := stop()
	if len(faults) > 0 {
		t.Errorf("%d of %v requests failed, first: %s", len(faults), answers, faults[0])
	}
	if answers["v1"] == 0 || answers["v2"] == 0 {
		t.Errorf("answers by version %v: both must have served", answers)
	}
}

func TestNoRequestIsRoutedByTheFormerSplitOnceAShiftReturned(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	h.launch(api.Blue, "v1", spec("v1", 1))
	h.launch(api.Green, "v2", spec("v2", 1))
	h.shift(1000, 0)
	for i := range 40 {
		want, green := "v1", 0
		if i%2 == 0 {
			want, green = "v2", 1000
		}
		h.shift(1000-green, green)
		if _, body := get(t, h.public, "/who"); !strings.HasPrefix(body, want) {
			t.Fatalf("switch %d: answered by %q, want %s", i, body, want)
		}
	}
}

func TestDrainWaitsForRequestsInFlight(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	state := h.launch(api.Blue, "v1", spec("v1", 1))
	h.launch(api.Green, "v2", spec("v2", 1))
	h.shift(1000, 0)
	held := hold(t, h.public)
	h.shift(0, 1000)
	retired := make(chan api.Done, 1)
	go func() { retired <- h.retire(api.Blue, time.Minute) }()
	h.await("draining", func(s api.State) bool { return len(s.Draining) == 1 && s.Draining[0].InFlight == 1 })
	get(t, state.Sides[api.Blue].Instances[0].Address, "/release")
	if line := held(); line != "released" {
		t.Errorf("request in flight ended with %q, want its whole answer", line)
	}
	if done := <-retired; done.Cut != 0 {
		t.Errorf("cut %d requests, want 0", done.Cut)
	}
	if now := h.now(); len(now.Sides[api.Blue].Instances) != 0 || now.Sides[api.Blue].Revision.ID != "v1" {
		t.Errorf("retired side is %+v: no instances must be left, the definition must be kept", now.Sides[api.Blue])
	}
}

func TestDrainCutsAtItsDeadline(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	h.launch(api.Blue, "v1", spec("v1", 1))
	h.launch(api.Green, "v2", spec("v2", 1))
	h.shift(1000, 0)
	held := hold(t, h.public)
	h.shift(0, 1000)
	begin := time.Now()
	done := h.retire(api.Blue, 150*time.Millisecond)
	if took := time.Since(begin); done.Cut != 1 || took < 150*time.Millisecond || took > 5*time.Second {
		t.Errorf("cut %d requests after %s, want 1 soon after 150ms", done.Cut, took)
	}
	if line := held(); line != "" {
		t.Errorf("request that was cut ended with %q", line)
	}
	for _, sample := range h.counted(t, 1) {
		if sample.Revision.ID == "v1" && sample.Errors != 0 {
			t.Errorf("what the drain cut was counted as an error of v1: %+v", sample)
		}
	}
}

// hold begins a request that stays in flight; the function returns its second
// line, empty when the answer broke off.
func hold(t *testing.T, public string) (rest func() string) {
	t.Helper()
	response, err := http.Get("http://" + public + "/hold")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(response.Body)
	if !lines.Scan() {
		t.Fatal(lines.Err())
	}
	t.Cleanup(func() { response.Body.Close() }) //nolint:errcheck // everything was read
	return func() string {
		lines.Scan()
		return lines.Text()
	}
}

func TestWebSocketPassesAndIsDrained(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	h.launch(api.Blue, "v1", spec("v1", 1))
	h.launch(api.Green, "v2", spec("v2", 1))
	h.shift(1000, 0)
	conn, _, err := websocket.Dial(t.Context(), "ws://"+h.public+"/socket", nil) //nolint:bodyclose // the connection owns it
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow() //nolint:errcheck // it is cut before
	say := func(word string) error {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(word)); err != nil {
			return err
		}
		_, heard, err := conn.Read(t.Context())
		if err == nil && string(heard) != word {
			t.Errorf("said %q, heard %q", word, heard)
		}
		return err
	}
	if err := say("before"); err != nil {
		t.Fatal(err)
	}
	h.shift(0, 1000)
	if err := say("after the switch"); err != nil {
		t.Errorf("an open connection must survive the switch: %v", err)
	}
	if done := h.retire(api.Blue, 50*time.Millisecond); done.Cut != 1 {
		t.Errorf("cut %d, want the open connection to be counted", done.Cut)
	}
	if err := say("after the drain"); err == nil {
		t.Error("the connection still works after its instance was retired")
	}
}

func TestEventsArriveWhenTheyAreSent(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	state := h.launch(api.Blue, "v1", spec("v1", 1))
	h.shift(1000, 0)
	response, err := http.Get("http://" + h.public + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // everything was read
	lines := bufio.NewScanner(response.Body)
	read := func() string { lines.Scan(); text := lines.Text(); lines.Scan(); return text }
	if got := read(); got != "data: one" { // the instance is still in the middle of its answer
		t.Errorf("first event %q", got)
	}
	get(t, state.Sides[api.Blue].Instances[0].Address, "/release")
	if got := read(); got != "data: two" {
		t.Errorf("second event %q", got)
	}
}

func TestCrashDropsNothingButWhatItHadInFlight(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	state := h.launch(api.Blue, "v1", spec("v1", 2))
	h.shift(1000, 0)
	stop := h.load(4)
	victim := state.Sides[api.Blue].Instances[0]
	if _, _, err := fetch(t.Context(), victim.Address, "/crash"); err == nil {
		t.Error("a crashing instance answered")
	}
	after := h.await("started again", func(s api.State) bool {
		in := s.Sides[api.Blue].Instances[0]
		return in.Restarts == 1 && in.Phase == api.Ready
	}).Sides[api.Blue].Instances[0]
	answers, faults := stop()
	if len(faults) > 4 { // at most one for each client was in flight
		t.Errorf("%d of %v requests failed: %v", len(faults), answers, faults)
	}
	if after.PID == victim.PID || after.Address == victim.Address {
		t.Errorf("started again as %+v, was %+v: must be another process on another port", after, victim)
	}
	if !strings.Contains(after.LastError, "exit status 3") {
		t.Errorf("last error %q does not tell how it ended", after.LastError)
	}
}

func TestAnInstanceThatFailsItsHealthIsPassedOver(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	state := h.launch(api.Blue, "v1", spec("v1", 2))
	h.shift(1000, 0)
	sick, well := state.Sides[api.Blue].Instances[0], state.Sides[api.Blue].Instances[1]
	get(t, sick.Address, "/sick")
	token := h.now().Token
	seen := h.await("failing", func(s api.State) bool { return s.Sides[api.Blue].Instances[0].Phase == api.Failing })
	if in := seen.Sides[api.Blue].Instances[0]; !strings.Contains(in.LastHealth, `503: "no database"`) {
		t.Errorf("last health answer is told as %q", in.LastHealth)
	}
	for range 20 {
		if _, body := get(t, h.public, "/who"); body != fmt.Sprint("v1 ", well.PID) {
			t.Fatalf("answered by %q, want the healthy pid %d", body, well.PID)
		}
	}
	get(t, well.Address, "/sick")
	h.await("all failing", func(s api.State) bool { return s.Sides[api.Blue].Ready == 0 })
	if status, _ := get(t, h.public, "/who"); status != http.StatusOK {
		t.Errorf("status %d: instances that still answer must be asked when there are none better", status)
	}
	get(t, sick.Address, "/well")
	h.await("ready again", func(s api.State) bool { return s.Sides[api.Blue].Ready == 1 })
	if now := h.now().Token; now != token {
		t.Errorf("token went from %s to %s by what instances did by themselves", token, now)
	}
}
