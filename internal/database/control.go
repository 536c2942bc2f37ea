package database

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// EveryChange stands for all changes, where one is named to be paused.
const EveryChange = "*"

// control is what people ask of the backfills at work: the rows of
// gapless.control that are about one of them.
type control struct {
	paused  bool
	maxRate float64 // rows a second; 0 leaves it as the runner has it
	of      string  // the change, or EveryChange
	by, why string
	at      time.Time
}

func (c control) String() string {
	text := fmt.Sprintf("paused by %s since %s", c.by, c.at.UTC().Format("2006-01-02 15:04 UTC"))
	if c.why != "" {
		text += fmt.Sprintf(" (%s)", c.why)
	}
	of := c.of
	if of == EveryChange {
		of = "--all"
	}
	return text + ": resume with gapless resume " + of
}

// control reads what is asked of a change. Either row pauses it; the rate is
// that of the change's own row, and else that for every change.
func (s *session) control(ctx context.Context, id string) (control, error) {
	var c control
	rows, err := s.Query(ctx, `
		select change, paused, coalesce(max_rate, 0)::float8, by, coalesce(why, ''), at from gapless.control
		where change in ($1, $2) order by change = $1`, id, EveryChange)
	if err == nil {
		var r control
		_, err = pgx.ForEachRow(rows, []any{&r.of, &r.paused, &r.maxRate, &r.by, &r.why, &r.at}, func() error {
			rate := c.maxRate
			if r.maxRate > 0 {
				rate = r.maxRate
			}
			if r.paused || !c.paused {
				c = r
			}
			c.maxRate = rate
			return nil
		})
	}
	if sqlState(err) == undefinedTable { // begun by an older gapless
		return control{}, nil
	}
	if err != nil {
		return c, fmt.Errorf("read whether change %s is paused: %w", id, err)
	}
	return c, nil
}

// NotBegunError is a change that is to be paused and was never begun here.
type NotBegunError struct{ Change string }

func (e *NotBegunError) Error() string {
	if e.Change == EveryChange {
		return "no change was ever begun in this database"
	}
	return fmt.Sprintf("change %q was never begun in this database", e.Change)
}

// Unwrap makes it bad input: nothing was done.
func (e *NotBegunError) Unwrap() error { return rollout.ErrInput }

// Hint says what a person can do.
func (e *NotBegunError) Hint() string {
	return "name a change as gapless plan shows it: its file's name without the ending"
}

// Pause stops the backfill of a change, or of EveryChange, whoever runs it and
// until it is resumed; a running one stops within a second, after its batch. by
// and why are shown to who watches it. The error is a *NotBegunError where there
// is nothing to pause.
func (db *DB) Pause(ctx context.Context, id, by, why string) error {
	return db.order(ctx, id, `
		insert into gapless.control (change, paused, by, why) values ($1, true, $2, $3)
		on conflict (change) do update set paused = true, by = excluded.by, why = excluded.why, role = session_user, at = clock_timestamp()`,
		by, why)
}

// Resume ends a pause. maxRate bounds the rows a second that the backfill
// writes from then on, over what its runner was told; nil leaves that as it is,
// 0 takes it back. Of a running backfill it is in force within a second.
func (db *DB) Resume(ctx context.Context, id, by string, maxRate *int64) error {
	return db.order(ctx, id, `
		insert into gapless.control (change, paused, by, max_rate) values ($1, false, $2, nullif($3::bigint, 0))
		on conflict (change) do update set paused = false, by = excluded.by, why = null, role = session_user, at = clock_timestamp(),
		  max_rate = case when $3::bigint is null then control.max_rate else excluded.max_rate end`,
		by, maxRate)
}

func (db *DB) order(ctx context.Context, id, statement string, by string, what any) error {
	return db.with(ctx, "control", func(s *session) error {
		if id != EveryChange {
			st, err := standingOf(ctx, s, id)
			if err != nil {
				return err
			}
			if st.state == rollout.Absent {
				return &NotBegunError{id}
			}
		}
		var there bool
		if err := s.QueryRow(ctx, `select to_regclass('gapless.change') is not null`).Scan(&there); err != nil {
			return fmt.Errorf("look for the schema gapless: %w", err)
		}
		if !there {
			return &NotBegunError{id}
		}
		_, err := s.Exec(ctx, statement, id, by, what)
		if sqlState(err) == undefinedTable { // begun by an older gapless
			if _, made := s.Exec(ctx, ownSchema); made != nil {
				return errors.Join(err, made)
			}
			_, err = s.Exec(ctx, statement, id, by, what)
		}
		if err != nil {
			return fmt.Errorf("write gapless.control: %w", err)
		}
		return nil
	})
}
