package database

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

//go:embed schema.sql
var ownSchema string

// querier is a session or a transaction on it.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// standing is what gapless's own schema holds of a change.
type standing struct {
	state   rollout.ChangeState
	digest  string
	mapping mapping
	// relation is the table's OID as it was registered; 0 for a change without
	// a table, or before there is one.
	relation uint32
	// hiddenAt is when contract hid the old columns; nil if they are not.
	hiddenAt *time.Time
}

// standingOf reads how far a change has come; absent if it was never begun.
func standingOf(ctx context.Context, q querier, id string) (standing, error) {
	st := standing{state: rollout.Absent}
	var there bool
	if err := q.QueryRow(ctx, `select to_regclass('gapless.change') is not null`).Scan(&there); err != nil {
		return st, fmt.Errorf("look for the schema gapless: %w", err)
	}
	if !there {
		return st, nil
	}
	var encoded []byte
	err := q.QueryRow(ctx, `select state, digest, mapping, coalesce(relation::oid, 0), hidden_at from gapless.change where id = $1`, id).
		Scan(&st.state, &st.digest, &encoded, &st.relation, &st.hiddenAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return st, nil
	}
	if err == nil && encoded != nil {
		err = json.Unmarshal(encoded, &st.mapping)
	}
	if err != nil {
		return st, fmt.Errorf("read the state of change %s: %w", id, err)
	}
	return st, nil
}

// admit reads the standing of a change and refuses an edited one, and one that
// is in no state in which the work asked for makes sense.
func admit(ctx context.Context, q querier, c change.Change, work string, states ...rollout.ChangeState) (standing, error) {
	st, err := standingOf(ctx, q, c.ID)
	if err != nil {
		return st, err
	}
	if st.state != rollout.Absent && st.digest != c.Digest {
		return st, &EditedError{Change: c.ID, Was: st.digest, Is: c.Digest, State: st.state}
	}
	if !slices.Contains(states, st.state) {
		return st, &RefusedError{Change: c.ID, Reasons: []string{fmt.Sprintf("%s does not follow on %s", work, st.state)}}
	}
	return st, nil
}

// State tells how far the change of this name has come in this database, and
// the digest it was begun with.
func (db *DB) State(ctx context.Context, id string) (state rollout.ChangeState, digest string, err error) {
	err = db.with(ctx, id, func(s *session) error {
		st, err := standingOf(ctx, s, id)
		state, digest = st.state, st.digest
		return err
	})
	return state, digest, err
}

// move takes a change from one state to the next.
func move(ctx context.Context, tx pgx.Tx, id string, to rollout.ChangeState, from ...rollout.ChangeState) error {
	stamp := map[rollout.ChangeState]string{
		rollout.Expanded:    ", expanded_at = clock_timestamp(), hidden_at = null",
		rollout.Hidden:      ", hidden_at = clock_timestamp()",
		rollout.Contracting: ", contracting_at = clock_timestamp()",
		rollout.Contracted:  ", contracted_at = clock_timestamp()",
	}[to]
	tag, err := tx.Exec(ctx, fmt.Sprintf(`update gapless.change set state = $2%s where id = $1 and state = any($3)`, stamp),
		id, string(to), from)
	if err != nil {
		return fmt.Errorf("mark change %s %s: %w", id, to, err)
	}
	if tag.RowsAffected() != 1 {
		return fmt.Errorf("mark change %s %s: it is not %v any more", id, to, from)
	}
	return nil
}

// finish notes in tx that a step is done and what it observed.
func finish(ctx context.Context, tx pgx.Tx, id string, e change.Evidence) error {
	encoded, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode the evidence of %s: %w", e.Step, err)
	}
	_, err = tx.Exec(ctx, `
		insert into gapless.step (change, step, done_at, evidence) values ($1, $2, clock_timestamp(), $3)
		on conflict (change, step) do update set done_at = excluded.done_at, evidence = excluded.evidence`,
		id, e.Step, string(encoded))
	if err != nil {
		return fmt.Errorf("note that %s is done: %w", e.Step, err)
	}
	return nil
}

// finished gives what a step observed when it was done, if it is.
func finished(ctx context.Context, q querier, id, step string) (e change.Evidence, done bool, err error) {
	var encoded []byte
	err = q.QueryRow(ctx, `select evidence from gapless.step where change = $1 and step = $2 and done_at is not null`, id, step).
		Scan(&encoded)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, false, nil
	}
	if err == nil {
		err = json.Unmarshal(encoded, &e)
	}
	if err != nil {
		return e, false, fmt.Errorf("read what %s observed: %w", step, err)
	}
	return e, true, nil
}

// prepare makes gapless's own schema and registers the change.
func (db *DB) prepare(ctx context.Context, s *session, c change.Change) (change.Evidence, error) {
	e := change.Evidence{Step: string(change.Prepare)}
	if err := db.prune(ctx, s); err != nil {
		return e, err
	}
	facts, err := db.inspect(ctx, s, c)
	if err != nil {
		return e, err
	}
	if len(facts.Refusals) > 0 {
		return e, &RefusedError{Change: c.ID, Reasons: facts.Refusals}
	}
	if err := heldByOthers(c, db.options.Service, facts.Others); err != nil {
		return e, err
	}
	t, _, err := tableOf(ctx, s, c)
	if err != nil {
		return e, err
	}
	return e, db.inTransaction(ctx, s, "the schema gapless", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, ownSchema); err != nil {
			return fmt.Errorf("make the schema gapless: %w", err)
		}
		_, err := tx.Exec(ctx, `
			insert into gapless.change (id, digest, name, relation, state, columns, ends, file, source)
			values ($1, $2, $3, nullif($4::oid, 0::oid), 'expanding', $5, $6, $7, $8) on conflict (id) do nothing`,
			c.ID, c.Digest, c.Name, t.oid, append([]string{}, c.Columns()...), c.Ends(), c.Source.Name, string(c.Source.Data))
		if err != nil {
			return fmt.Errorf("register change %s: %w", c.ID, err)
		}
		if _, err := admit(ctx, tx, c, "expand", rollout.Expanding, rollout.Expanded); err != nil {
			return err
		}
		return finish(ctx, tx, c.ID, e)
	})
}
