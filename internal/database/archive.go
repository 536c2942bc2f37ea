package database

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// An archive is a copy of the key and some columns of every row, made while the
// application works. Triggers capture the keys of rows that change meanwhile;
// they are copied again, the last few under the lock of the transaction that
// drops the columns.

// archiveKind says what an archive is of.
type archiveKind string

const (
	ofContract archiveKind = "contract" // what contract dropped, both forms
	ofRevert   archiveKind = "revert"   // what the way back of expand dropped
)

// archiver makes one archive.
type archiver struct {
	w    work
	kind archiveKind
	t    table
	// values are archived with the key.
	values []column
	// name is the archive's table; empty before it is begun.
	name string
}

// archiver finds the archive of a kind that a change has begun and not ended.
func (w work) archiver(ctx context.Context, kind archiveKind, t table, values []column) (*archiver, error) {
	a := &archiver{w: w, kind: kind, t: t, values: values}
	err := w.s.QueryRow(ctx, `select archive_table from gapless.archive where change = $1 and kind = $2 and done_at is null`,
		w.change.ID, string(kind)).Scan(&a.name)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("find the archive: %w", err)
	}
	return a, nil
}

// contractArchiver archives what contract drops, with the new form beside it.
func (w work) contractArchiver(ctx context.Context, r relation) (*archiver, error) {
	return w.archiver(ctx, ofContract, r.table, slices.Concat(r.dropped(), r.new))
}

func (a *archiver) capture() string    { return own("capture_" + base(a.w.change.ID)) }
func (a *archiver) captured() string   { return own("capture_"+base(a.w.change.ID)) + "()" }
func (a *archiver) emptied() string    { return own("emptied_"+base(a.w.change.ID)) + "()" }
func (a *archiver) checkpoint() string { return string(change.ArchiveRows) }
func (a *archiver) columns() []column  { return append(slices.Clone([]column(a.t.key)), a.values...) }
func captureTriggers(change string) []string {
	return []string{triggerName(change, "cap"), triggerName(change, "cap_upd"), triggerName(change, "cap_all")}
}

// archiveRows archives what contract drops.
func (w work) archiveRows(ctx context.Context, r relation) (change.Evidence, error) {
	a, err := w.contractArchiver(ctx, r)
	if err != nil {
		return change.Evidence{}, err
	}
	return a.archive(ctx)
}

func (a *archiver) archive(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: a.w.step.ID}
	begun := a.w.db.options.Now()
	if err := a.begin(ctx); err != nil {
		return e, err
	}
	if err := a.copy(ctx); err != nil {
		return e, err
	}
	if err := a.drain(ctx, fewKeys); err != nil {
		return e, err
	}
	e.ArchiveTable, e.Seconds = a.name, a.w.db.options.Now().Sub(begun).Seconds()
	t, err := a.w.s.archiveTable(ctx, a.name)
	if err != nil {
		return e, err
	}
	if e.ArchiveRows, err = a.w.s.countRows(ctx, t); err != nil {
		return e, err
	}
	return a.w.done(ctx, e)
}

// begin makes the archive and begins to capture, once. Making a trigger waits
// for those who are writing, so that no change escapes between.
func (a *archiver) begin(ctx context.Context) error {
	if a.name != "" {
		return nil
	}
	name := ""
	err := a.w.onTable(ctx, noWriters, []table{a.t}, func(tx pgx.Tx) error {
		var n int64
		err := tx.QueryRow(ctx, `insert into gapless.archive (change, kind, archive_table, partitions)
			values ($1, $2, '', array(select relid::oid from pg_partition_tree($3::oid::regclass) where isleaf)) returning n`,
			a.w.change.ID, string(a.kind), a.t.oid).Scan(&n)
		if err != nil {
			return fmt.Errorf("begin the archive: %w", err)
		}
		name = own(fmt.Sprintf("archive_%s_%d", base(a.w.change.ID), n))
		if _, err := tx.Exec(ctx, `update gapless.archive set archive_table = $2 where n = $1`, n, name); err != nil {
			return fmt.Errorf("begin the archive: %w", err)
		}
		functions, triggers := a.capturing(name)
		for _, statement := range a.tables(name) {
			if err := a.w.run(ctx, tx, statement); err != nil {
				return err
			}
		}
		if err := a.w.make(ctx, tx, a.t, functions, triggers); err != nil {
			return err
		}
		for _, table := range []string{name, a.capture()} {
			if err := a.w.ownerOnly(ctx, tx, table); err != nil {
				return err
			}
		}
		return a.w.beginWalk(ctx, tx, a.checkpoint())
	})
	if err == nil {
		a.name = name
	}
	return err
}

// tables are the statements that make the archive and the list of keys to copy
// again.
func (a *archiver) tables(name string) []string {
	var defs, keys []string
	for i, c := range a.columns() {
		def := c.label() + " " + c.declared()
		defs = append(defs, def)
		if i < len(a.t.key) {
			keys = append(keys, def)
		}
	}
	of := map[archiveKind]string{
		ofContract: "What contract of change %s dropped: the key, the old form and the new form of each row at that moment. What sync set aside is in gapless.kept.",
		ofRevert:   "What the way back of change %s dropped: the key and the new columns of each row at that moment. What sync set aside is in gapless.archived_kept.",
	}[a.kind]
	return []string{
		fmt.Sprintf("create table %s (%s, primary key (%s))", name, comma(defs), comma(labels(a.t.key, ""))),
		fmt.Sprintf("comment on table %s is %s", name, literal(fmt.Sprintf(of, a.w.change.ID))),
		fmt.Sprintf("create table %s (n bigint generated always as identity primary key, %s)", a.capture(), comma(keys)),
		fmt.Sprintf("comment on table %s is 'Keys of rows that changed since they were archived; they are archived again.'", a.capture()),
	}
}

// capturing are the functions and triggers that note which rows change. What is
// truncated as a whole is gone from the archive, too; a single partition that is
// truncated, detached or dropped leaves its rows there.
func (a *archiver) capturing(name string) (functions []string, triggers []trigger) {
	k, names := a.t.key, captureTriggers(a.w.change.ID)
	moved := differ(k, under("OLD."), under("NEW."))
	capture := fmt.Sprintf(`
begin
  if tg_op <> 'INSERT' then
    insert into %[1]s (%[2]s) values (%[3]s);
  end if;
  if tg_op = 'INSERT' or tg_op = 'UPDATE' and %[5]s then
    insert into %[1]s (%[2]s) values (%[4]s);
  end if;
  return null;
end
`, a.capture(), comma(labels(k, "")), comma(idents(k, "OLD.")), comma(idents(k, "NEW.")), moved)
	functions = []string{
		function(own("capture_"+base(a.w.change.ID)), "", "trigger", capture),
		function(own("emptied_"+base(a.w.change.ID)), "", "trigger",
			fmt.Sprintf("\nbegin\n  truncate %s, %s;\n  return null;\nend\n", name, a.capture())),
	}
	on := func(name, event, each, when, function string) trigger {
		return trigger{name, fmt.Sprintf("create trigger %s %s on %s for each %s %sexecute function %s", ident(name), event, a.t.ident(), each, when, function)}
	}
	return functions, []trigger{
		on(names[0], "after insert or delete", "row", "", a.captured()),
		on(names[1], "after update", "row", fmt.Sprintf("when (%s or %s) ", moved, differ(a.values, under("OLD."), under("NEW."))), a.captured()),
		on(names[2], "after truncate", "statement", "", a.emptied()),
	}
}

// ownerOnly takes away what default privileges may have given to others: an
// archive holds rows past the table's policies.
func (w work) ownerOnly(ctx context.Context, tx pgx.Tx, name string) error {
	rows, err := tx.Query(ctx, `select distinct case when x.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end
		from pg_class c cross join aclexplode(c.relacl) x where c.oid = $1::regclass and x.grantee <> c.relowner`, name)
	if err != nil {
		return fmt.Errorf("look who may read %s: %w", name, err)
	}
	others, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look who may read %s: %w", name, err)
	}
	for _, other := range others {
		if err := w.run(ctx, tx, fmt.Sprintf("revoke all on table %s from %s", name, other)); err != nil {
			return fmt.Errorf("keep %s to its owner: %w", name, err)
		}
	}
	return nil
}

// stopCapturing are the statements that end it.
func (a *archiver) stopCapturing() []string {
	var statements []string
	for _, name := range captureTriggers(a.w.change.ID) {
		statements = append(statements, fmt.Sprintf("drop trigger if exists %s on %s", ident(name), a.t.ident()))
	}
	return append(statements, "drop function if exists "+a.captured(), "drop function if exists "+a.emptied(), "drop table if exists "+a.capture())
}

// copy archives the rows that are there.
func (a *archiver) copy(ctx context.Context) error {
	return a.w.walk(ctx, a.t, a.checkpoint(), func(ctx context.Context, tx pgx.Tx, within span) (int64, error) {
		if _, err := tx.Exec(ctx, `set local synchronous_commit = off`); err != nil {
			return 0, fmt.Errorf("begin a chunk: %w", err)
		}
		condition, args := within.condition(a.t.key)
		return a.put(ctx, tx, a.t.ident()+" where "+condition, args)
	})
}
