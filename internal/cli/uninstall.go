package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

type uninstallCmd struct {
	Service      string `placeholder:"NAME" help:"Only release what this service, which is no more, claims."`
	KeepArchives bool   `xor:"archives" help:"Keep what was archived, in the schema gapless_archive; so it is unless told otherwise."`
	DropArchives bool   `xor:"archives" help:"Drop what was archived, too."`
}

// Run takes gapless out of the database.
func (c *uninstallCmd) Run(ctx context.Context, env *environment) error {
	if c.Service != "" && (c.KeepArchives || c.DropArchives) {
		return &inputError{errors.New("uninstall --service touches no archive"), "leave one of the two out"}
	}
	r, err := env.compose()
	if err != nil {
		return err
	}
	removed, err := r.runner.Uninstall(ctx, r.work, phase.Uninstall{Service: c.Service, DropArchives: c.DropArchives})
	switch {
	case errors.As(err, new(*phase.BusyError)), errors.Is(err, rollout.ErrBusy):
		env.status = exitWaiting
	case errors.Is(err, rollout.ErrInput):
		env.status = exitRefused
	case err != nil:
		env.status = exitStopped
	}
	if err != nil {
		env.out.say(fmt.Sprintf("uninstall: %v\n", err))
		if hint := rollout.HintOf(err); hint != "" {
			env.out.say("hint: " + hint + "\n")
		}
		return nil
	}
	if env.commands.Format == "json" {
		return env.json(struct {
			Gone []string `json:"gone"`
			Kept string   `json:"kept,omitempty"`
		}{append([]string{}, removed.Gone...), removed.Kept})
	}
	var text strings.Builder
	for _, gone := range removed.Gone {
		fmt.Fprintf(&text, "removed: %s\n", gone)
	}
	switch {
	case len(removed.Gone) == 0:
		text.WriteString("nothing of it is there\n")
	case removed.Kept != "":
		fmt.Fprintf(&text, "kept: archives, log and history, in schema %s; it is yours to drop\n", removed.Kept)
	}
	return env.out.print(text.String())
}
