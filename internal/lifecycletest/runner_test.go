package lifecycletest

import (
	"bufio"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// Two runners on one database at once: one works, the other is told who. When
// the one is killed, the other takes over and ends the work.
func TestTwoRunners(t *testing.T) {
	c := newGround(t, database.Options{}).cell(t, syncOperations()[0], kinds()[0], base)
	cmd := c.begin(t, order{Part: change.PartExpand, Block: 2})
	for lines := bufio.NewScanner(cmd.out); lines.Scan() && lines.Text() != "blocked"; {
		if strings.HasPrefix(lines.Text(), "failed") {
			t.Fatal(lines.Text())
		}
	}
	var busy *database.BusyError
	if _, err := c.db.Lock(t.Context(), "the second runner"); !errors.As(err, &busy) || busy.Holder != child || busy.PID == 0 {
		t.Fatalf("the second runner was told %v", err)
	}
	if !strings.Contains(busy.Error(), child) || busy.Hint() == "" {
		t.Errorf("%v: %s", busy, busy.Hint())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Errorf("killed, it ended with %v", err)
	}
	c.run(t, change.ExpandSteps(c.c))
	c.expanded(t, "taken over", c.client(t, c.o.old), c.client(t, c.o.new))
}
