package change

// Lock says what a step locks, and for how long, as a plan tells people.
func (k StepKind) Lock() string {
	switch k {
	case Prepare:
		return "nothing of yours"
	case AddColumns:
		return "access exclusive on the table, an instant"
	case Synchronise:
		return "share row exclusive on the table, an instant"
	case Backfill:
		return "rows of one batch at a time"
	case BuildIndex:
		return "share update exclusive: readers and writers go on"
	case Verifying, Begin:
		return "nothing: reads"
	case DropIndexes:
		return "share update exclusive: readers and writers go on"
	case Archive:
		return "share row exclusive on the table, an instant, then reads"
	case Drop:
		return "access exclusive on the table, an instant"
	}
	return "unknown"
}
