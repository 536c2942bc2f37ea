package database

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// The archive is a copy of the key and of both forms of every row, made while
// the application works. A trigger captures the keys of rows that change
// meanwhile; they are copied again, the last few under the lock of the
// transaction that drops the columns.

// archiver archives one change's old form.
type archiver struct {
	db *DB
	s  *session
	r  relation
}

func (a *archiver) table() string   { return own("archive_" + a.r.base()) }
func (a *archiver) capture() string { return own("capture_" + a.r.base()) }

func captureTriggers(change string) []string {
	return []string{triggerName(change, "cap"), triggerName(change, "cap_upd"), triggerName(change, "cap_all")}
}

func (a *archiver) columns() []column {
	return append(append(append([]column{}, a.r.table.key...), a.r.old...), a.r.new...)
}

func (db *DB) archive(ctx context.Context, s *session, r relation, progress func(change.Progress)) (change.Evidence, error) {
	e := change.Evidence{Step: string(change.ArchiveRows)}
	a := archiver{db: db, s: s, r: r}
	begun := db.options.Now()
	if err := a.prepare(ctx); err != nil {
		return e, err
	}
	if err := a.copy(ctx, progress); err != nil {
		return e, err
	}
	if err := a.drain(ctx, fewKeys); err != nil {
		return e, err
	}
	e.ArchiveTable, e.Seconds = a.table(), db.options.Now().Sub(begun).Seconds()
	t, err := s.archived(ctx, r.change.ID)
	if err != nil {
		return e, err
	}
	if e.ArchiveRows, err = s.countRows(ctx, t); err != nil {
		return e, err
	}
	return e, pgx.BeginFunc(ctx, s.Conn, func(tx pgx.Tx) error { return finish(ctx, tx, r.change.ID, e) })
}

// prepare makes the archive and begins to capture, once. Making a trigger waits
// for those who are writing, so that no change escapes between.
func (a *archiver) prepare(ctx context.Context) error {
	r, t := a.r, a.r.table.ident()
	return a.db.inTransaction(ctx, a.s, "table "+t, func(tx pgx.Tx) error {
		var there bool
		err := tx.QueryRow(ctx, `select exists (select from gapless.archive where change = $1)`, r.change.ID).Scan(&there)
		if err != nil || there {
			return err
		}
		statements := a.statements()
		for _, statement := range statements {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return fmt.Errorf("begin the archive: %w", err)
			}
		}
		if err := a.ownerOnly(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `insert into gapless.archive (change, archive_table) values ($1, $2)`, r.change.ID, a.table()); err != nil {
			return fmt.Errorf("begin the archive: %w", err)
		}
		_, err = tx.Exec(ctx, `insert into gapless.checkpoint (change, step, part) values ($1, $2, 0)`, r.change.ID, string(change.ArchiveRows))
		if err != nil {
			return fmt.Errorf("begin the archive: %w", err)
		}
		return nil
	})
}

func (a *archiver) statements() []string {
	r, t, k := a.r, a.r.table.ident(), a.r.table.key
	var defs, keys []string
	for i, c := range a.columns() {
		def := c.ident() + " " + c.declared()
		defs = append(defs, def)
		if i < len(k) {
			keys = append(keys, def)
		}
	}
	names := captureTriggers(r.change.ID)
	both := append(append([]column{}, r.old...), r.new...)
	capture := own("capture_" + r.base())
	emptied := own("emptied_" + r.base())
	return []string{
		fmt.Sprintf("create table %s (%s, primary key (%s))", a.table(), comma(defs), comma(idents(k, ""))),
		fmt.Sprintf("comment on table %s is %s", a.table(), literal("What contract of change "+r.change.ID+" dropped: the key, the old form and the new form of each row at that moment. What sync set aside is in gapless.kept.")),
		fmt.Sprintf("create table %s (n bigint generated always as identity primary key, %s)", a.capture(), comma(keys)),
		fmt.Sprintf("comment on table %s is 'Keys of rows that changed since they were archived; they are archived again.'", a.capture()),
		function(capture, "", "trigger", fmt.Sprintf(`
begin
  if tg_op <> 'INSERT' then
    insert into %[1]s (%[2]s) values (%[3]s);
  end if;
  if tg_op = 'INSERT' or tg_op = 'UPDATE' and %[5]s then
    insert into %[1]s (%[2]s) values (%[4]s);
  end if;
  return null;
end
`, a.capture(), comma(idents(k, "")), comma(idents(k, "OLD.")), comma(idents(k, "NEW.")), differ(k, under("OLD."), under("NEW.")))),
		function(emptied, "", "trigger", fmt.Sprintf("\nbegin\n  truncate %s, %s;\n  return null;\nend\n", a.table(), a.capture())),
		fmt.Sprintf("create trigger %s after insert or delete on %s for each row execute function %s()", ident(names[0]), t, capture),
		fmt.Sprintf("create trigger %s after update on %s for each row when (%s or %s) execute function %s()", ident(names[1]), t,
			differ(k, under("OLD."), under("NEW.")), differ(both, under("OLD."), under("NEW.")), capture),
		fmt.Sprintf("create trigger %s after truncate on %s for each statement execute function %s()", ident(names[2]), t, emptied),
		fmt.Sprintf("alter table %s enable always trigger %s", t, ident(names[0])),
		fmt.Sprintf("alter table %s enable always trigger %s", t, ident(names[1])),
		fmt.Sprintf("alter table %s enable always trigger %s", t, ident(names[2])),
	}
}

// ownerOnly takes away what default privileges may have given to others.
func (a *archiver) ownerOnly(ctx context.Context, tx pgx.Tx) error {
	for _, name := range []string{a.table(), a.capture()} {
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
			if _, err := tx.Exec(ctx, fmt.Sprintf("revoke all on table %s from %s", name, other)); err != nil {
				return fmt.Errorf("keep %s to its owner: %w", name, err)
			}
		}
	}
	return nil
}

// copy archives the table along its key, the checkpoint moving with each chunk.
func (a *archiver) copy(ctx context.Context, progress func(change.Progress)) error {
	r, pace := a.r, newPace(a.db.options.BatchTarget)
	total, err := a.s.countRows(ctx, r.table)
	if err != nil {
		return err
	}
	begun := a.db.options.Now()
	for done := false; !done; {
		var n int64
		err := a.db.retry(ctx, a.s, "table "+r.table.ident(), a.s.options.LockTimeout, func() error {
			start := time.Now()
			err := pgx.BeginFunc(ctx, a.s.Conn, func(tx pgx.Tx) (err error) {
				n, done, err = a.chunk(ctx, tx, pace.size())
				return err
			})
			if err == nil {
				pace.took(pace.size(), time.Since(start))
			} else {
				pace.failed()
			}
			return err
		})
		if err != nil {
			return err
		}
		p := change.Progress{Step: string(change.ArchiveRows), Done: min(n, total), Total: total}
		if seconds := a.db.options.Now().Sub(begun).Seconds(); seconds > 0 {
			p.Rate = float64(n) / seconds
		}
		progress(p)
	}
	return nil
}

// chunk archives the next n rows; rows is how many are archived so far.
func (a *archiver) chunk(ctx context.Context, tx pgx.Tx, n int) (rows int64, done bool, err error) {
	r := a.r
	// The table first, as whoever truncates it locks them.
	if _, err := tx.Exec(ctx, fmt.Sprintf(`lock table %s in access share mode`, r.table.ident())); err != nil {
		return 0, false, fmt.Errorf("lock %s: %w", r.table.ident(), err)
	}
	var reached []string
	err = tx.QueryRow(ctx, `select reached, done, rows from gapless.checkpoint where change = $1 and step = $2 and part = 0 for update`,
		r.change.ID, string(change.ArchiveRows)).Scan(&reached, &done, &rows)
	if err != nil {
		return 0, false, fmt.Errorf("read how far the archive is: %w", err)
	}
	if done {
		return rows, true, nil
	}
	if _, err := tx.Exec(ctx, `select set_config('enable_seqscan', 'off', true), set_config('synchronous_commit', 'off', true)`); err != nil {
		return 0, false, fmt.Errorf("begin a chunk: %w", err)
	}
	next, last, err := a.s.step(ctx, tx, r.table, span{lower: reached}, n)
	if err != nil {
		return 0, false, err
	}
	condition, args := next.condition(r.table.key)
	copied, err := a.put(ctx, tx, r.table.ident()+" where "+condition, args)
	if err != nil {
		return 0, false, err
	}
	_, err = tx.Exec(ctx, `update gapless.checkpoint set reached = coalesce($3, reached), rows = rows + $4, done = $5, at = clock_timestamp()
		where change = $1 and step = $2 and part = 0`, r.change.ID, string(change.ArchiveRows), next.upper, copied, last)
	if err != nil {
		return 0, false, fmt.Errorf("move the checkpoint: %w", err)
	}
	return rows + copied, last, nil
}

// put copies rows into the archive, over those that are there.
func (a *archiver) put(ctx context.Context, tx pgx.Tx, from string, args []any) (int64, error) {
	columns := a.columns()
	var sets []string
	for _, c := range columns[len(a.r.table.key):] {
		sets = append(sets, fmt.Sprintf("%[1]s = excluded.%[1]s", c.ident()))
	}
	list := comma(idents(columns, ""))
	tag, err := tx.Exec(ctx, fmt.Sprintf(`insert into %s (%s) select %s from %s on conflict (%s) do update set %s`,
		a.table(), list, list, from, comma(idents(a.r.table.key, "")), comma(sets)), args...)
	if err != nil {
		return 0, fmt.Errorf("archive rows of %s: %w", a.r.table.ident(), err)
	}
	return tag.RowsAffected(), nil
}

// drain archives captured rows again until fewer than few are left.
func (a *archiver) drain(ctx context.Context, few int64) error {
	const chunk = 10_000
	for {
		var n int64
		err := a.db.retry(ctx, a.s, "table "+a.r.table.ident(), a.s.options.LockTimeout, func() error {
			return pgx.BeginFunc(ctx, a.s.Conn, func(tx pgx.Tx) (err error) {
				if _, err := tx.Exec(ctx, fmt.Sprintf(`lock table %s in access share mode`, a.r.table.ident())); err != nil {
					return err
				}
				n, err = a.refresh(ctx, tx, chunk)
				return err
			})
		})
		if err != nil || n < few {
			return err
		}
	}
}

// refresh brings the archive up to date for at most n captured rows. They are
// taken out of the capture, and read again from the table, in one statement and
// so at one moment: whoever captured a key later is seen later.
func (a *archiver) refresh(ctx context.Context, tx pgx.Tx, n int) (captured int64, err error) {
	r, k := a.r, a.r.table.key
	columns := a.columns()
	list, keys := comma(idents(columns, "")), comma(idents(k, ""))
	var sets, same []string
	for _, c := range columns[len(k):] {
		sets = append(sets, fmt.Sprintf("%[1]s = excluded.%[1]s", c.ident()))
	}
	for _, c := range k {
		same = append(same, fmt.Sprintf("t.%[1]s = g.%[1]s", c.ident()))
	}
	err = tx.QueryRow(ctx, fmt.Sprintf(`
		with taken as (delete from %[1]s where n in (select n from %[1]s order by n limit $1) returning %[2]s),
		changed as (select distinct %[2]s from taken),
		present as materialized (select %[3]s from changed g join %[4]s t on %[5]s),
		put as (insert into %[6]s (%[7]s) select %[7]s from present on conflict (%[2]s) do update set %[8]s returning 1),
		gone as (delete from %[6]s t using changed g where %[5]s and not exists (select from present p where %[9]s) returning 1)
		select (select count(*) from taken), (select count(*) from put) + (select count(*) from gone)`,
		a.capture(), keys, comma(idents(columns, "t.")), r.table.ident(), strings.Join(same, " and "), a.table(), list, comma(sets),
		strings.ReplaceAll(strings.Join(same, " and "), "t.", "p.")), n).Scan(&captured, new(int64))
	if err != nil {
		return 0, fmt.Errorf("archive changed rows of %s: %w", r.table.ident(), err)
	}
	return captured, nil
}
