package database_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// writer is one revision's client: it owns some rows, writes one form of them
// and knows what it wrote last.
type writer struct {
	conn  *pgx.Conn
	old   bool
	first int64
	wrote map[int64][2]string // name and number
	n     int
}

const rowsPerWriter = 50

func (w *writer) write(ctx context.Context) error {
	id := w.first + rand.Int64N(rowsPerWriter)
	w.n++
	name, number := fmt.Sprintf("Road %c", 'a'+rune(w.n%26)), fmt.Sprint(w.n)
	var err error
	switch _, there := w.wrote[id]; {
	case w.old && there:
		_, err = w.conn.Exec(ctx, `update address set street = $2, phone = 'w' where id = $1`, id, name+" "+number)
	case w.old:
		_, err = w.conn.Exec(ctx, `insert into address (id, street) values ($1, $2) on conflict (id) do update set street = excluded.street`, id, name+" "+number)
	case there:
		_, err = w.conn.Exec(ctx, `update address set street_name = $2, house_number = $3 where id = $1`, id, name, number)
	default:
		_, err = w.conn.Exec(ctx, `insert into address (id, street_name, house_number) values ($1, $2, $3)
			on conflict (id) do update set street_name = excluded.street_name, house_number = excluded.house_number`, id, name, number)
	}
	if err == nil {
		w.wrote[id] = [2]string{name, number}
	}
	return err
}

// crew is writers of both revisions at work.
type crew struct {
	writers []*writer
	stop    context.CancelFunc
	done    sync.WaitGroup
	mu      sync.Mutex
	errs    []error
}

// work starts writers that go on until halt. Their rows are in the table before
// they begin, so that the backfill meets them; skip are other crews' writers.
func (s *stage) work(t testing.TB, olds, news, skip int) *crew {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &crew{stop: cancel}
	for i := range olds + news {
		w := &writer{conn: s.connect(t), old: i < olds, first: 1_000_000 + int64((skip+i)*rowsPerWriter), wrote: map[int64][2]string{}}
		c.writers = append(c.writers, w)
		c.done.Go(func() {
			for ctx.Err() == nil {
				// The write is never cut off: it is known whether it happened.
				if err := w.write(context.WithoutCancel(ctx)); err != nil {
					c.mu.Lock()
					c.errs = append(c.errs, err)
					c.mu.Unlock()
					return
				}
			}
		})
	}
	t.Cleanup(c.halt)
	return c
}

func (c *crew) halt() { c.stop(); c.done.Wait() }

// check looks at both forms of every row written.
func (c *crew) check(t *testing.T, s *stage, table string) {
	t.Helper()
	for _, err := range c.errs {
		t.Errorf("a writer failed: %v", err)
	}
	n := 0
	for _, w := range c.writers {
		for id, wrote := range w.wrote {
			n++
			got := one[string](t, s, `select format('%s|%s|%s', street, street_name, house_number) from `+table+` where id = $1`, id)
			if want := wrote[0] + " " + wrote[1] + "|" + wrote[0] + "|" + wrote[1]; got != want {
				t.Errorf("row %d (old writer: %v) holds %q, wanted %q", id, w.old, got, want)
			}
		}
	}
	if n == 0 {
		t.Error("nobody wrote")
	}
}

// Old and new writers write throughout the backfill: what each wrote last is
// there in both forms.
func TestNothingIsLostWhileBothRevisionsWrite(t *testing.T) {
	s := newStage(t, database.Options{BatchTarget: 5 * time.Millisecond, Workers: 2})
	s.addresses(t, thinned(20_000, 3_000))
	s.exec(t, `insert into address (id, street) select i, 'Before ' || i from generate_series(1000000, 1000000 + $1 - 1) i`, 8*rowsPerWriter)
	c := parse(t, exampleID, example)
	steps := change.ExpandSteps(c)
	s.run(t, c, steps[:2]) // the new writers need their columns
	olds := s.work(t, 2, 0, 0)
	s.run(t, c, steps[2:3])
	both := s.work(t, 2, 2, 2)
	s.run(t, c, steps[3:])
	olds.halt()
	both.halt()
	olds.check(t, s, "address")
	both.check(t, s, "address")
	e, err := s.db.Verify(t.Context(), c, change.ScopeRelease)
	if err != nil || !e.Passed() {
		t.Errorf("%v %+v", err, e)
	}
}

// New writers write throughout contract: none fails, and the archive is what the
// table held when the columns went.
func TestContractUnderWrites(t *testing.T) {
	s := newStage(t, database.Options{BatchTarget: 5 * time.Millisecond})
	s.addresses(t, 20_000)
	c := parse(t, exampleID, example)
	s.expand(t, c)
	through := s.work(t, 0, 2, 0)
	before := s.work(t, 1, 2, 2)
	steps := change.ContractSteps(c)
	s.run(t, c, steps[:3])
	s.exec(t, `delete from address where id between 100 and 200`)
	s.exec(t, `update address set id = -id where id between 300 and 310`)
	before.halt()
	e := s.run(t, c, steps[3:])
	through.halt()
	for _, err := range through.errs {
		t.Errorf("a writer failed: %v", err)
	}
	before.check(t, s, e.ArchiveTable)
	if n := one[int](t, s, `select count(*) from `+e.ArchiveTable+` where street is distinct from
		case when street_name is null and house_number is null then null else concat_ws(' ', street_name, house_number) end`); n != 0 {
		t.Errorf("%d archived rows are torn", n)
	}
	differing := one[int](t, s, `select count(*) from address t full join `+e.ArchiveTable+` a using (id)
		where coalesce(t.id, a.id) not between 1000000 and 1000000 + $1 - 1
		  and (t.street_name, t.house_number) is distinct from (a.street_name, a.house_number)`, 2*rowsPerWriter)
	if differing != 0 {
		t.Errorf("%d rows differ from the archive", differing)
	}
}
