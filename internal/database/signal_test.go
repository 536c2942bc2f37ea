package database_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/pgtest"
)

// journey is a backfill under way, slow enough to be looked at.
type journey struct {
	s    *stage
	c    change.Change
	done chan error

	mu       sync.Mutex
	notes    []string
	warnings []string
	evidence change.Evidence
}

const (
	journeyRows = 6_000
	journeyRate = 600
)

// depart begins a backfill of the example at journeyRate.
func depart(t *testing.T, s *stage, options database.Options) *journey {
	t.Helper()
	s.addresses(t, journeyRows)
	return departOn(t, s, options)
}

func departOn(t *testing.T, s *stage, options database.Options) *journey {
	t.Helper()
	options.MaxRate = journeyRate
	var err error
	if s.db, err = database.Open(t.Context(), s.url, options); err != nil {
		t.Fatal(err)
	}
	j := &journey{s: s, c: parse(t, exampleID, example), done: make(chan error, 1)}
	steps := change.ExpandSteps(j.c)
	s.run(t, j.c, steps[:3])
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e, err := s.db.Apply(ctx, j.c, steps[3], func(p change.Progress) {
			j.mu.Lock()
			defer j.mu.Unlock()
			if p.Warning != "" {
				j.warnings = append(j.warnings, p.Warning)
				return
			}
			j.notes = append(j.notes, p.Note)
		})
		j.mu.Lock()
		j.evidence = e
		j.mu.Unlock()
		j.done <- err
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return j
}

// until waits for the condition.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	const patience, every = 60 * time.Second, 10 * time.Millisecond
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %s", what, patience)
		case <-tick.C:
		}
	}
}

// says waits until the newest progress has this text, and gives how many there
// were.
func (j *journey) says(t *testing.T, want string) int {
	t.Helper()
	var n int
	var last string
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the progress said last: %q", last)
		}
	})
	until(t, fmt.Sprintf("the progress says %q", want), func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		if n = len(j.notes); n == 0 {
			return false
		}
		last = j.notes[n-1]
		return strings.Contains(last, want)
	})
	return n
}

func (j *journey) filled(t *testing.T) int {
	t.Helper()
	return one[int](t, j.s, `select count(*) from address where street_name is not null`)
}

// stands checks that nothing is filled, and no transaction is open, while the
// progress goes on to say so.
func (j *journey) stands(t *testing.T, want string) {
	t.Helper()
	j.says(t, want)
	until(t, "the last batch ends", func() bool {
		return one[int](t, j.s, `select count(*) from pg_stat_activity where application_name = 'gapless/0007-split-street' and xact_start is not null`) == 0
	})
	before := j.filled(t)
	seen := j.says(t, want)
	until(t, "more progress is told", func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return len(j.notes) >= seen+3
	})
	j.says(t, want)
	if now := j.filled(t); now != before {
		t.Errorf("%d rows were filled while %q", now-before, want)
	}
	if before == journeyRows+len(oddStreets) {
		t.Error("it was over before it was held")
	}
}

// arrives lets the rest go fast and waits for the end.
func (j *journey) arrives(t *testing.T) {
	t.Helper()
	fast := int64(10_000_000)
	if err := j.s.db.Resume(t.Context(), exampleID, "test", &fast); err != nil {
		t.Fatal(err)
	}
	if err := <-j.done; err != nil {
		t.Fatal(err)
	}
	j.s.run(t, j.c, change.ExpandSteps(j.c)[4:])
}

// only watches one signal, so that no other holds the backfill of a busy
// machine.
func only(h database.Health) database.Options {
	all := database.Unwatched()
	if h.MaxLag != 0 {
		all.MaxLag = h.MaxLag
	}
	if h.MaxWAL != 0 {
		all.MaxWAL = h.MaxWAL
	}
	if h.MaxLockWaiters != 0 {
		all.MaxLockWaiters = h.MaxLockWaiters
	}
	if h.MaxProbe != 0 {
		all.MaxProbe = h.MaxProbe
	}
	if h.MaxConnections != 0 {
		all.MaxConnections = h.MaxConnections
	}
	return database.Options{Health: all}
}

// standby is one as its primary sees it: it speaks the protocol, takes all WAL,
// and says that it has replayed as much as it is told to say.
type standby struct {
	conn *pgconn.PgConn
	mu   sync.Mutex
	from uint64
	last uint64
	sunk bool // replays nothing
	done chan struct{}
}

func (s *stage) standby(t *testing.T, name string) *standby {
	t.Helper()
	config, err := pgconn.ParseConfig(s.url)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["replication"] = "true"
	config.RuntimeParams["application_name"] = name
	b := &standby{done: make(chan struct{})}
	if b.conn, err = pgconn.ConnectConfig(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	at := one[string](t, s, `select pg_current_wal_lsn()::text`)
	var high, low uint64
	if _, err := fmt.Sscanf(at, "%X/%X", &high, &low); err != nil {
		t.Fatal(err)
	}
	b.from, b.sunk = high<<32|low, true
	b.last = b.from
	b.conn.Frontend().SendQuery(&pgproto3.Query{String: "START_REPLICATION PHYSICAL " + at})
	if err := b.conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	go b.receive()
	t.Cleanup(func() {
		// The connection is the receiver's until that has ended.
		if err := b.conn.Conn().Close(); err != nil {
			t.Error(err)
		}
		<-b.done
	})
	return b
}

// receive answers each piece of WAL until the connection ends.
func (b *standby) receive() {
	defer close(b.done)
	for {
		message, err := b.conn.Frontend().Receive()
		if err != nil {
			return
		}
		data, ok := message.(*pgproto3.CopyData)
		if !ok {
			continue
		}
		b.mu.Lock()
		const header = 25
		if data.Data[0] == 'w' && len(data.Data) > header {
			b.last = binary.BigEndian.Uint64(data.Data[1:]) + uint64(len(data.Data)-header)
		}
		err = b.answer()
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// answer tells how far it is; b.mu is held.
func (b *standby) answer() error {
	replayed := b.last
	if b.sunk {
		replayed = b.from
	}
	status := []byte{'r'}
	for _, n := range []uint64{b.last, b.last, replayed, 0} {
		status = binary.BigEndian.AppendUint64(status, n)
	}
	b.conn.Frontend().Send(&pgproto3.CopyData{Data: append(status, 0)})
	return b.conn.Frontend().Flush()
}

// replay lets it replay what comes, or not.
func (b *standby) replay(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sunk = false
	if err := b.answer(); err != nil {
		t.Fatal(err)
	}
}

func TestALaggingStandbyHoldsTheBackfillBack(t *testing.T) {
	s := newStage(t, database.Options{})
	b := s.standby(t, "db2")
	j := depart(t, s, only(database.Health{MaxLag: time.Second}))
	j.stands(t, "held back: standby db2 is ")
	b.replay(t)
	j.arrives(t)
}

// It slows down long before it stops, and says so.
func TestALaggingStandbySlowsTheBackfillDown(t *testing.T) {
	s := newStage(t, database.Options{})
	b := s.standby(t, "db2")
	j := depart(t, s, only(database.Health{MaxLag: 3 * time.Second}))
	j.says(t, "slowed down: standby db2 is ")
	b.replay(t)
	j.arrives(t)
}

func TestAStandbyOrASlotThatKeepsMuchWALHoldsTheBackfillBack(t *testing.T) {
	s := newStage(t, database.Options{})
	s.exec(t, `select pg_create_physical_replication_slot('forgotten', true)`)
	t.Cleanup(func() {
		if _, err := s.app.Exec(context.Background(), `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = 'forgotten'`); err != nil {
			t.Error(err)
		}
	})
	b := s.standby(t, "db3")
	j := depart(t, s, only(database.Health{MaxWAL: 256 << 10}))
	j.stands(t, "held back: ")
	s.exec(t, `select pg_drop_replication_slot('forgotten')`)
	j.stands(t, "held back: standby db3 is ")
	b.replay(t)
	j.arrives(t)
}

func TestSessionsThatWaitForLocksHoldTheBackfillBack(t *testing.T) {
	s := newStage(t, database.Options{})
	s.exec(t, `create table stock (id int primary key, n int); insert into stock values (1, 1)`)
	j := depart(t, s, only(database.Health{MaxLockWaiters: 3}))
	holder := s.connect(t)
	if _, err := holder.Exec(t.Context(), `begin; update stock set n = 2`); err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	for range 3 {
		conn := s.connect(t)
		waiting.Go(func() {
			if _, err := conn.Exec(context.Background(), `update stock set n = n + 1`); err != nil {
				t.Error(err)
			}
		})
	}
	j.stands(t, "held back: 3 sessions wait for locks (most 3)")
	if _, err := holder.Exec(t.Context(), `commit`); err != nil {
		t.Fatal(err)
	}
	waiting.Wait()
	j.arrives(t)
}

// Somebody locks the table itself: a lookup is stuck, and nobody waits behind a
// batch of ours.
func TestASlowLookupHoldsTheBackfillBack(t *testing.T) {
	s := newStage(t, database.Options{})
	j := depart(t, s, only(database.Health{MaxProbe: 50 * time.Millisecond}))
	until(t, "rows are filled", func() bool { return j.filled(t) > 0 })
	holder := s.connect(t)
	if _, err := holder.Exec(t.Context(), `begin; lock table address in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	j.says(t, "held back: a lookup by key takes ")
	if _, err := holder.Exec(t.Context(), `rollback`); err != nil {
		t.Fatal(err)
	}
	j.arrives(t)
}

func TestConnectionsInUseHoldTheBackfillBack(t *testing.T) {
	s := newStage(t, database.Options{})
	usable := one[float64](t, s, `select current_setting('max_connections')::float8 - current_setting('superuser_reserved_connections')::float8 - coalesce(current_setting('reserved_connections', true)::float8, 0)`)
	used := one[float64](t, s, `select count(*)::float8 from pg_stat_activity where datid is not null`)
	j := depart(t, s, only(database.Health{MaxConnections: (used + 20) / usable}))
	until(t, "rows are filled", func() bool { return j.filled(t) > 0 })
	var crowd []*pgx.Conn
	for range 20 {
		conn, err := pgx.Connect(t.Context(), s.url)
		if err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, conn)
	}
	j.stands(t, "connections are in use (most ")
	for _, conn := range crowd {
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	j.arrives(t)
}

// A role that may see nothing of others is told what it does not see, once, and
// the backfill goes on.
func TestWhatTheRoleMayNotSeeIsTold(t *testing.T) {
	s := newStage(t, database.Options{})
	role := "r" + one[string](t, s, `select substr(md5(random()::text), 1, 12)`)
	s.exec(t, fmt.Sprintf(`create role %s login; grant all on schema public to %[1]s`, role))
	s.exec(t, fmt.Sprintf(`do $$ begin execute format('grant create on database %%I to %s', current_database()); end $$`, role))
	t.Cleanup(func() {
		if _, err := s.app.Exec(context.Background(), fmt.Sprintf(`drop owned by %s; drop role %[1]s`, role)); err != nil {
			t.Error(err)
		}
	})
	s.standby(t, "db2")
	s.addresses(t, journeyRows)
	s.exec(t, `alter table address owner to `+role)
	s.url = strings.Replace(s.url, "postgres@", role+"@", 1)
	j := departOn(t, s, database.Options{Health: database.Health{MaxLag: time.Second}})
	j.arrives(t)
	j.mu.Lock()
	defer j.mu.Unlock()
	const want = "the backfill is not held back by the lag of standbys: the role may not see that; grant it pg_monitor"
	if len(j.warnings) != 1 || j.warnings[0] != want {
		t.Errorf("%q", j.warnings)
	}
	if j.evidence.Detail != want {
		t.Errorf("the evidence says %q", j.evidence.Detail)
	}
}

// A server of its own: archiving fails, vacuum is slow.
func TestArchiveAndVacuumHoldTheBackfillBack(t *testing.T) {
	server, err := pgtest.Start(t.Context(), pgtest.Options{Settings: map[string]string{
		"archive_mode": "on", "archive_command": "false", "min_wal_size": "32MB",
		"autovacuum_naptime": "1s",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	fresh := func(t *testing.T, name string) *stage {
		t.Helper()
		if err := server.CreateDatabase(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		s := &stage{url: server.URL(name)}
		s.app = s.connect(t)
		return s
	}
	t.Run("archive", func(t *testing.T) {
		s := fresh(t, "archive")
		s.exec(t, `select pg_switch_wal() from (select pg_logical_emit_message(false, 'x', 'y')) m`)
		j := depart(t, s, only(database.Health{MaxWAL: 16 << 20}))
		j.stands(t, "of WAL are not archived yet (most 16 MiB)")
		s.exec(t, `alter system set archive_command = 'true'`)
		s.exec(t, `select pg_reload_conf()`)
		j.arrives(t)
	})
	vacuumed := database.Unwatched()
	vacuumed.IgnoreVacuum = false
	t.Run("vacuum", func(t *testing.T) {
		s := fresh(t, "vacuum")
		j := depart(t, s, database.Options{Health: vacuumed})
		until(t, "rows are filled", func() bool { return j.filled(t) > 0 })
		other := s.connect(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if _, err := other.Exec(ctx, `set vacuum_cost_delay = 100; set vacuum_cost_limit = 1; set vacuum_cost_page_hit = 10`); err != nil {
			t.Fatal(err)
		}
		over := make(chan struct{})
		go func() { defer close(over); _, _ = other.Exec(ctx, `vacuum address`) }() //nolint:errcheck // it is cut short
		j.says(t, "slowed down: vacuum is at work on the table")
		cancel()
		<-over
		j.arrives(t)
	})
	t.Run("wraparound", func(t *testing.T) {
		if testing.Short() {
			t.Skip("spends 110,000 transactions")
		}
		s := fresh(t, "wraparound")
		s.addresses(t, journeyRows)
		s.exec(t, `create table spent (i int)`)
		s.exec(t, `alter table address set (autovacuum_enabled = off, autovacuum_freeze_max_age = 100000, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)`)
		s.exec(t, `do $$ begin for i in 1..110000 loop begin insert into spent values (i); exception when division_by_zero then null; end; end loop; end $$`)
		until(t, "autovacuum begins", func() bool {
			return one[int](t, s, `select count(*) from pg_stat_progress_vacuum where relid = 'address'::regclass`) > 0
		})
		j := departOn(t, s, database.Options{Health: vacuumed})
		j.stands(t, "held back: autovacuum is at work on the table against wraparound")
		s.exec(t, `alter system set autovacuum = off`)
		s.exec(t, `select pg_reload_conf()`)
		s.exec(t, `select pg_terminate_backend(pid) from pg_stat_progress_vacuum`)
		j.arrives(t)
	})
}
