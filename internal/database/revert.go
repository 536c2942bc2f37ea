package database

import (
	"context"
	"errors"

	"github.com/gapless-deploy/gapless/internal/change"
)

// revert carries out one step of the way back of expand.
func (w work) revert(context.Context) (change.Evidence, error) {
	return change.Evidence{}, errors.ErrUnsupported
}
