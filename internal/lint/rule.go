package lint

// Rule is one kind of finding.
type Rule struct {
	Name  string
	Level Level
	// Contract tells that it holds in contract as well, not in expand alone.
	Contract bool
	// Allowable tells that a comment in the text can allow it.
	Allowable bool
	// Summary says what it finds, and why that matters.
	Summary string
}

// The names of the rules. What breaks the running revision for certain cannot be
// allowed: it has its place in contract.
const (
	dropColumn   = "drop-column"
	dropTable    = "drop-table"
	dropView     = "drop-view"
	dropFunction = "drop-function"
	dropType     = "drop-type"
	dropSequence = "drop-sequence"
	dropSchema   = "drop-schema"
	dropObject   = "drop-object"
	renameColumn = "rename-column"
	renameTable  = "rename-table"
	renameObject = "rename-object"
	moveObject   = "move-object"
	changeType   = "change-type"
	detach       = "detach-partition"
	revoke       = "revoke"
	rowSecurity  = "row-security"

	setNotNull     = "set-not-null"
	newConstraint  = "new-constraint"
	dropDefault    = "drop-default"
	dropNotNull    = "drop-not-null"
	dropIndex      = "drop-index"
	dropConstraint = "drop-constraint"

	requiredColumn     = "add-required-column"
	cascade            = "cascade"
	truncate           = "truncate"
	disableTrigger     = "disable-trigger"
	gaplessSchema      = "gapless-schema"
	outsideTransaction = "outside-transaction"
	transactionControl = "transaction-control"
	useOperation       = "use-operation"

	notConcurrent   = "not-concurrent"
	rewriteTable    = "rewrite-table"
	volatileDefault = "volatile-default"
	generatedColumn = "generated-column"
	serialColumn    = "serial-column"
	addCheck        = "add-check"
	addForeignKey   = "add-foreign-key"
	addUnique       = "add-unique"
	notNullScan     = "not-null-scan"
	lockTable       = "lock-table"
	severalTables   = "several-tables"
	lockHeld        = "lock-held"
	massWrite       = "mass-write"
	serverSetting   = "server-setting"

	unparsed        = "unparsed"
	dynamicSQL      = "dynamic-sql"
	unknownEffect   = "unknown-effect"
	unknownDefault  = "unknown-default"
	widenType       = "widen-type"
	replaceFunction = "replace-function"
	replaceView     = "replace-view"
	createTrigger   = "create-trigger"
	sessionSetting  = "session-setting"
	changeOwner     = "change-owner"
	changeSequence  = "change-sequence"
	attachPartition = "attach-partition"
	badAllow        = "bad-allow"

	dataChange       = "data-change"
	setDefault       = "set-default"
	indexIfNotExists = "index-if-not-exists"
	partitionOf      = "partition-of"
	unbalanced       = "unbalanced-transaction"
	unusedAllow      = "unused-allow"
)

// Rules are all rules, those that break the running revision first.
func Rules() []Rule {
	return append(append(breaking(), dangerous()...), advisory()...)
}

func breaking() []Rule {
	return []Rule{
		{dropColumn, Refused, false, false, "the running revision reads or writes the column"},
		{dropTable, Refused, false, false, "the running revision uses the table"},
		{dropView, Refused, false, false, "the running revision reads the view"},
		{dropFunction, Refused, false, false, "the running revision may call the function or procedure"},
		{dropType, Refused, false, false, "the running revision may use the type or domain"},
		{dropSequence, Refused, false, false, "the running revision may draw numbers from the sequence"},
		{dropSchema, Refused, false, false, "the running revision may use what is in the schema"},
		{dropObject, Refused, false, false, "dropping a trigger, policy, rule, extension, role, publication or database changes what the running revision meets"},
		{renameColumn, Refused, false, false, "the running revision still uses the old name"},
		{renameTable, Refused, false, false, "the running revision still uses the old name"},
		{renameObject, Refused, false, false, "the running revision may use the old name of a view, function, type, enum value, schema, sequence or constraint"},
		{moveObject, Refused, false, false, "SET SCHEMA: the running revision looks for it where it was"},
		{changeType, Refused, false, false, "the running revision reads and writes the old type, and the table is rewritten under ACCESS EXCLUSIVE"},
		{detach, Refused, false, false, "the partition's rows vanish from the table that the running revision reads"},
		{revoke, Refused, false, false, "the running revision may need the right"},
		{rowSecurity, Refused, false, false, "with row-level security the running revision may see no rows"},
		{setNotNull, Refused, false, true, "the running revision may write NULL"},
		{newConstraint, Refused, false, true, "a new CHECK, FOREIGN KEY, UNIQUE or EXCLUDE, also one NOT VALID, refuses rows that the running revision may write"},
		{dropDefault, Refused, false, true, "the running revision may leave the column out"},
		{dropNotNull, Refused, false, true, "the running revision may not take NULL"},
		{dropIndex, Refused, false, true, "the running revision may need the index, and its ON CONFLICT a unique one"},
		{dropConstraint, Refused, false, true, "the running revision may rely on the constraint, and its ON CONFLICT on a unique one"},
	}
}

func dangerous() []Rule {
	return []Rule{
		{requiredColumn, Refused, true, false, "a NOT NULL column without default: refused by a table with rows, and by each INSERT that leaves it out"},
		{cascade, Refused, true, false, "CASCADE drops what nobody has named"},
		{truncate, Refused, true, false, "TRUNCATE empties the table, under ACCESS EXCLUSIVE"},
		{disableTrigger, Refused, true, false, "disabled triggers, rules or replication role: foreign keys and the sync of gapless no longer hold"},
		{gaplessSchema, Refused, true, false, "the schema gapless is gapless's own"},
		{outsideTransaction, Refused, true, false, "PostgreSQL does not run it inside of a transaction, a function or a DO block"},
		{transactionControl, Refused, true, false, "in a change file, transactions and settings are gapless's"},
		{useOperation, Refused, true, false, "in a change file, an operation does it with less risk"},
		{notConcurrent, Refused, true, true, "building, dropping or refreshing without CONCURRENTLY blocks writers, or readers too, all the while"},
		{rewriteTable, Refused, true, true, "the table is rewritten under ACCESS EXCLUSIVE"},
		{volatileDefault, Refused, true, true, "adding a column with a volatile default rewrites the table"},
		{generatedColumn, Refused, true, true, "adding a STORED generated column rewrites the table"},
		{serialColumn, Refused, true, true, "adding a serial or identity column rewrites the table"},
		{addCheck, Refused, true, true, "a CHECK without NOT VALID scans the table under ACCESS EXCLUSIVE"},
		{addForeignKey, Refused, true, true, "a FOREIGN KEY without NOT VALID scans the table while both are locked against writers"},
		{addUnique, Refused, true, true, "UNIQUE, PRIMARY KEY or EXCLUDE builds its index under ACCESS EXCLUSIVE"},
		{notNullScan, Refused, true, true, "SET NOT NULL scans the table under ACCESS EXCLUSIVE, unless a validated CHECK proves it"},
		{lockTable, Refused, true, true, "LOCK TABLE holds writers, or readers too, until the transaction ends"},
		{severalTables, Refused, true, true, "a lock is held while another is waited for: it is held longer, and two such can deadlock"},
		{lockHeld, Refused, true, true, "a lock is held while rows are read or written"},
		{massWrite, Refused, true, true, "UPDATE or DELETE of every row locks them all until it ends"},
		{serverSetting, Refused, true, true, "a setting of the server, a database or a role is the running revision's too"},
	}
}

func advisory() []Rule {
	return []Rule{
		{unparsed, NeedsReview, true, true, "the grammar (PostgreSQL 17) does not know it: psql's own commands, data of COPY, newer syntax, or a mistake"},
		{dynamicSQL, NeedsReview, true, true, "EXECUTE runs SQL that is made when it runs"},
		{unknownEffect, NeedsReview, true, true, "what it does cannot be told from the text"},
		{unknownDefault, NeedsReview, true, true, "adding a column rewrites the table if the function of its default is volatile"},
		{widenType, NeedsReview, true, true, "harmless where the column has a shorter type of the same kind, a rewrite or a narrowing where it has not"},
		{replaceFunction, NeedsReview, true, true, "the running revision calls the new body from that moment"},
		{replaceView, NeedsReview, true, true, "the running revision reads the new view from that moment"},
		{createTrigger, NeedsReview, true, true, "a trigger or rule changes what the running revision's writes do"},
		{sessionSetting, NeedsReview, true, true, "SET of the search path, the role and the like changes what the statements after it mean"},
		{changeOwner, NeedsReview, true, true, "another owner has other rights"},
		{changeSequence, NeedsReview, true, true, "the running revision draws numbers from it"},
		{attachPartition, NeedsReview, true, true, "the table is scanned under ACCESS EXCLUSIVE unless a validated CHECK proves its bounds, and so is a default partition"},
		{badAllow, NeedsReview, true, false, "a gapless:allow that cannot be understood"},
		{dataChange, Warning, true, true, "how many rows it changes is not known here; their locks are held until it ends"},
		{setDefault, Warning, false, true, "the running revision's rows get the new default too"},
		{indexIfNotExists, Warning, true, true, "IF NOT EXISTS takes an invalid index, left by a build that failed, for a good one"},
		{partitionOf, Warning, true, true, "PARTITION OF locks the parent under ACCESS EXCLUSIVE, and scans its default partition"},
		{unbalanced, Warning, true, true, "BEGIN and COMMIT do not pair"},
		{unusedAllow, Warning, true, false, "a gapless:allow that allows nothing"},
	}
}

func ruleOf(name string) (Rule, bool) {
	for _, r := range Rules() {
		if r.Name == name {
			return r, true
		}
	}
	return Rule{}, false
}
