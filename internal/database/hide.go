package database

import (
	"context"
	"errors"

	"github.com/gapless-deploy/gapless/internal/change"
)

// hide renames the old columns for as long as hide_for.
func (w work) hide(context.Context) (change.Evidence, error) {
	return change.Evidence{}, errors.ErrUnsupported
}
