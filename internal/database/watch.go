package database

import (
	"context"
	"errors"

	"github.com/gapless-deploy/gapless/internal/change"
)

// dropColumn is looked at here; all columns are dropped in one step.
type dropColumn struct{ unbuilt }

func (dropColumn) look(_ context.Context, i *inspector, o change.Operation) error {
	for _, name := range i.c.Abandoned() {
		if name == o.DropColumn {
			i.refuse("column %q has no new form to go to; dropping it is not supported yet", name)
		}
	}
	return nil
}

// watch makes the triggers that note who writes what contract drops.
func (w work) watch(context.Context) (change.Evidence, error) {
	return change.Evidence{}, errors.ErrUnsupported
}
