package change_test

import (
	"os"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/change"
)

// What the guide shows as a change file is one.
func TestParseReadsTheChangesOfTheGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guides/schema-change.md")
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, rest := range strings.Split(string(guide), "```yaml\n")[1:] {
		block, _, _ := strings.Cut(rest, "```")
		if !strings.HasPrefix(block, "name: ") {
			continue // a part of gapless.yaml
		}
		if _, err := change.Parse("0001-guide.yaml", []byte(block)); err != nil {
			t.Errorf("%v in\n%s", err, block)
		}
		read++
	}
	if read < 2 {
		t.Errorf("the guide shows %d change files, want 2 or more", read)
	}
}
