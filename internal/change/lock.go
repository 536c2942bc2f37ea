package change

// What a step locks, as a plan tells people.
const (
	locksNothing   = "nothing of yours"
	locksReads     = "nothing: reads"
	locksRows      = "rows of one batch at a time"
	locksAll       = "access exclusive on the table, an instant"
	locksWriters   = "share row exclusive on the table, an instant"
	locksNobody    = "share update exclusive: readers and writers go on"
	locksReference = "share row exclusive on both tables, an instant; then a scan while readers and writers go on"
	locksScan      = "access exclusive on the table, an instant; then a scan while readers and writers go on"
)

// Lock says what a step locks, and for how long, as a plan tells people.
func (s Step) Lock() string {
	switch s.Kind {
	case Prepare, Finish, Turn, Reverted, Return:
		return locksNothing
	case AddColumns, Drop, Hide, Unhide, Undo, Readd:
		return locksAll
	case Synchronise, Watch:
		return locksWriters
	case Backfill, Fill, Refill:
		return locksRows
	case Verifying, Begin, Keep, Returned:
		return locksReads
	case DropIndexes:
		return locksNobody
	case ArchiveRows:
		return locksWriters + ", then reads"
	case Rebuild:
		return locksScan + "; indexes: " + locksNobody
	case Operate, TakeBack:
		return s.Operation.lock()
	}
	return "unknown"
}

func (o Operation) lock() string {
	switch o.Kind() {
	case OpCreateIndex, OpDropIndex:
		return locksNobody
	case OpAddUnique:
		return locksNobody + "; then access exclusive, an instant"
	case OpAddForeignKey:
		return locksReference
	case OpAddCheck, OpSetNotNull:
		return locksScan
	case OpCreateTable:
		if len(o.CreateTable.ForeignKeys) > 0 {
			return "share row exclusive on the tables it refers to, an instant"
		}
		return locksNothing
	case OpCreateView, OpAddEnumValue:
		return locksNothing
	case OpReplaceView, OpDropView:
		return "access exclusive on the view, an instant"
	case OpDropFunction:
		return "the function, an instant"
	case OpDropSequence:
		return "access exclusive on the sequence, an instant"
	case OpSQL:
		return "what the statements lock; plan --rehearse shows it"
	default:
		return locksAll
	}
}
