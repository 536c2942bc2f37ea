package cli

import (
	"strings"
	"testing"
)

// TestInitAsks answers on what would be a terminal: with the preset, with what
// may not be given, and not at all.
func TestInitAsks(t *testing.T) {
	var asked strings.Builder
	c := initCmd{Service: "shop"}
	answers := "./{revision}/shop\nslow\nrolling\n\nnone\n\n"
	if err := c.ask(newQuestions(strings.NewReader(answers), &asked)); err != nil {
		t.Fatal(err)
	}
	if c.Service != "shop" || c.Command != "./{revision}/shop" || c.Strategy != "rolling" || c.Gate != "none" || c.Health != "/healthz" || c.Schema == nil || *c.Schema {
		t.Errorf("%+v", c)
	}
	if got := strings.Count(asked.String(), "How a new version takes over (canary, blue-green, rolling) [canary]: "); got != 2 {
		t.Errorf("asked %d times:\n%s", got, asked.String())
	}
	if strings.Contains(asked.String(), "Name of the service") {
		t.Errorf("asked for what was given:\n%s", asked.String())
	}
	if len(c.missing()) > 0 {
		t.Errorf("still missing: %v", c.missing())
	}

	c = initCmd{}
	if err := c.ask(newQuestions(strings.NewReader("shop\n"), &asked)); err == nil || !strings.Contains(err.Error(), "the answers ended before the questions") {
		t.Errorf("got %v", err)
	}
}
