package rollout

import "errors"

// HintOf is what an error advises; empty where it does not.
func HintOf(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}

// What adapters tell the phases; match with errors.Is.
var (
	// ErrBroken: a record does not decode, or its chain does not hold.
	ErrBroken = errors.New("record is broken")
	// ErrConflict: the platform has moved on since it was observed.
	ErrConflict = errors.New("the platform has changed since it was looked at")
	// ErrUnavailable: the platform does not answer now; it may do so again soon.
	ErrUnavailable = errors.New("the platform does not answer")
	// ErrNotFound: a store has no such record.
	ErrNotFound = errors.New("no record is stored")
	// ErrInput: the caller got something wrong; nothing was tried.
	ErrInput = errors.New("bad input")
	// ErrBusy: somebody else is at work.
	ErrBusy = errors.New("somebody else is at work")
	// ErrForked: two records claim the same place.
	ErrForked = errors.New("the record has two heads")
)
