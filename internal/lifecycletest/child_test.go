package lifecycletest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// envChild makes the test's program a runner that carries out a part of a change,
// so that it can be killed as any process can.
const envChild = "GAPLESS_LIFECYCLE_RUNNER"

// child is what such a runner calls itself.
const child = "the child"

// order is what a runner is to do.
type order struct {
	URL, File string
	Part      change.Part
	// Block is the batch before which the backfill waits for ever; 0 for none.
	Block int
}

func TestMain(m *testing.M) {
	if os.Getenv(envChild) != "" {
		if err := runner(context.Background(), os.Getenv(envChild)); err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func steps(c change.Change, part change.Part) []change.Step {
	switch part {
	case change.PartContract:
		return change.ContractSteps(c)
	case change.PartRevert:
		return change.RevertSteps(c)
	default:
		return change.ExpandSteps(c)
	}
}

// runner carries out a part of a change and says how far it is: a line before
// each step and each batch.
func runner(ctx context.Context, text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	c, err := change.Accepted(changeID+".yaml", []byte(o.File))
	if err != nil {
		return err
	}
	batches := 0
	db, err := database.Open(ctx, o.URL, database.Options{BatchTarget: time.Millisecond, Hold: func(ctx context.Context) (string, error) {
		if batches++; batches == o.Block {
			fmt.Println("blocked")
			<-ctx.Done()
		}
		return "", ctx.Err()
	}})
	if err != nil {
		return err
	}
	unlock, err := lock(ctx, db, child)
	if err != nil {
		return err
	}
	for _, step := range steps(c, o.Part) {
		fmt.Println("step", step.ID)
		if _, err := db.Apply(ctx, c, step, nil); err != nil {
			return err
		}
	}
	fmt.Println("done")
	return unlock(ctx)
}

// process is a runner at work, with what it says.
type process struct {
	*exec.Cmd
	out io.Reader
}

// begin has another process begin a part of the change.
func (c *cell) begin(t testing.TB, o order) process {
	t.Helper()
	o.URL, o.File = c.url, c.file
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^$")
	cmd.Env = append(os.Environ(), envChild+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return process{cmd, out}
}

// killed has another process begin a part of the change and kills it: as soon
// as it says when, or where that is nothing, at a moment of chance within the
// step of that number.
func (c *cell) killed(t testing.TB, o order, when string, at int) {
	t.Helper()
	cmd := c.begin(t, o)
	killing := func() {
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
	}
	said := ""
	for lines, seen := bufio.NewScanner(cmd.out), 0; lines.Scan(); {
		said = lines.Text()
		switch {
		case strings.HasPrefix(said, "failed"):
			t.Errorf("the runner %s", said)
		case when != "" && said == when:
			killing()
		case when == "" && strings.HasPrefix(said, "step"):
			if seen++; seen == at {
				timer := time.AfterFunc(rand.N(15*time.Millisecond), killing)
				defer timer.Stop()
			}
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Error(err)
	}
	if when != "" && said != when && !t.Failed() {
		t.Errorf("the runner said %q last, never %q", said, when)
	}
}
