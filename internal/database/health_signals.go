package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// signal is one thing that a backfill's health is told by.
type signal struct {
	name string // what is not known where it may not be read
	look func(ctx context.Context) ([]reading, error)
}

// errHidden is what a signal gives where the role may not see it.
var errHidden = errors.New("the role may not read it")

// watched are the signals that the options ask for.
func (m *monitor) watched() []signal {
	h := m.health
	var list []signal
	add := func(on bool, name string, look func(context.Context) ([]reading, error)) {
		if on {
			list = append(list, signal{name, look})
		}
	}
	add(h.MaxLag > 0 || h.MaxWAL > 0, "the lag of standbys", m.standbys)
	add(h.MaxWAL > 0, "the WAL that replication slots keep", m.slots)
	add(h.MaxWAL > 0, "the WAL that is not archived", m.archive)
	add(h.MaxLockWaiters > 0, "who waits for locks", m.waiters)
	add(h.MaxConnections > 0, "the connections in use", m.connections)
	add(!h.IgnoreVacuum, "vacuum at work on the table", m.vacuum)
	add(h.MaxProbe > 0, "how long a lookup takes", m.probe)
	return list
}

func (m *monitor) standbys(ctx context.Context) ([]reading, error) {
	rows, err := m.s.Query(ctx, `
		select coalesce(nullif(application_name, ''), 'pid ' || pid), state is null, coalesce(extract(epoch from replay_lag), 0)::float8,
		  coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(replay_lsn, flush_lsn, sent_lsn)), 0)::float8
		from pg_stat_replication where state is distinct from 'backup'`)
	if err != nil {
		return nil, err
	}
	var readings []reading
	var name string
	var hidden, anyHidden bool
	var lag, behind float64
	_, err = pgx.ForEachRow(rows, []any{&name, &hidden, &lag, &behind}, func() error {
		anyHidden = anyHidden || hidden
		if most := m.health.MaxLag; most > 0 {
			readings = append(readings, reading{"lag of " + name,
				fmt.Sprintf("standby %s is %s s behind (most %s s)", name, figure(lag), figure(most.Seconds())), lag / most.Seconds(), fromHalf})
		}
		if most := m.health.MaxWAL; most > 0 {
			readings = append(readings, reading{"WAL for " + name,
				fmt.Sprintf("standby %s is %s of WAL behind (most %s)", name, volume(behind), volume(float64(most))), behind / float64(most), fromHalf})
		}
		return nil
	})
	if err == nil && anyHidden {
		return nil, errHidden
	}
	return readings, err
}

func (m *monitor) slots(ctx context.Context) ([]reading, error) {
	rows, err := m.s.Query(ctx, `
		select slot_name::text, coalesce(wal_status = 'unreserved', false), pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::float8
		from pg_replication_slots where restart_lsn is not null and wal_status is distinct from 'lost'`)
	if err != nil {
		return nil, err
	}
	var readings []reading
	var name string
	var losing bool
	var kept float64
	most := float64(m.health.MaxWAL)
	_, err = pgx.ForEachRow(rows, []any{&name, &losing, &kept}, func() error {
		r := reading{"slot " + name, fmt.Sprintf("replication slot %s keeps %s of WAL (most %s)", name, volume(kept), volume(most)), kept / most, fromHalf}
		if losing {
			r.text, r.load = fmt.Sprintf("replication slot %s is about to lose WAL that it needs", name), max(r.load, 1)
		}
		readings = append(readings, r)
		return nil
	})
	return readings, err
}

// archive asks the server for the files that wait, where the role may; else it
// takes the distance from the last one that was archived.
func (m *monitor) archive(ctx context.Context) ([]reading, error) {
	var on bool
	var files *float64
	var segment float64
	err := m.s.QueryRow(ctx, `
		with known as (select setting::float8 as segment from pg_settings where name = 'wal_segment_size')
		select current_setting('archive_mode') <> 'off', segment,
		  case when has_function_privilege('pg_ls_archive_statusdir()', 'execute') then null
		    when last_archived_wal ~ '^[0-9A-F]{24}$' then (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8 / segment - 1
		      - (('x' || substr(last_archived_wal, 9, 8))::bit(32)::bigint * trunc(4294967296 / segment)
		         + ('x' || substr(last_archived_wal, 17, 8))::bit(32)::bigint)
		    else -1 end
		from known, pg_stat_archiver`).Scan(&on, &segment, &files)
	if err != nil || !on {
		return nil, err
	}
	if files == nil {
		files = new(float64)
		err := m.s.QueryRow(ctx, `select count(*)::float8 from pg_ls_archive_statusdir() where name like '%.ready'`).Scan(files)
		if err != nil {
			return nil, err
		}
	}
	if *files < 0 { // none was archived ever
		return nil, errHidden
	}
	waits, most := *files*segment, float64(m.health.MaxWAL)
	return []reading{{"archive", fmt.Sprintf("%s of WAL are not archived yet (most %s)", volume(waits), volume(most)), waits / most, fromHalf}}, nil
}

// waiters reads pg_locks, which everybody may.
func (m *monitor) waiters(ctx context.Context) ([]reading, error) {
	var n int
	err := m.s.QueryRow(ctx, `
		select count(distinct l.pid) from pg_locks l join pg_stat_activity a on a.pid = l.pid
		where not l.granted and l.waitstart < clock_timestamp() - interval '100 milliseconds'
		  and a.datname = current_database() and a.application_name not like 'gapless/%'`).Scan(&n)
	if err != nil {
		return nil, err
	}
	most := m.health.MaxLockWaiters
	text := fmt.Sprintf("%d sessions wait for locks (most %d)", n, most)
	if n == 1 {
		text = fmt.Sprintf("1 session waits for a lock (most %d)", most)
	}
	return []reading{{"locks", text, float64(n) / float64(most), fromHalf}}, nil
}

func (m *monitor) connections(ctx context.Context) ([]reading, error) {
	var n, all float64
	err := m.s.QueryRow(ctx, `
		select count(*) filter (where datid is not null and coalesce(backend_type, 'client backend') = 'client backend')::float8,
		  (current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
		   - coalesce(current_setting('reserved_connections', true)::int, 0))::float8
		from pg_stat_activity`).Scan(&n, &all)
	if err != nil {
		return nil, err
	}
	most := m.health.MaxConnections * all
	return []reading{{"connections", fmt.Sprintf("%.0f of %.0f connections are in use (most %.0f)", n, all, most), n / max(most, 1), stopOnly}}, nil
}

// Loads of a vacuum: it slows the backfill down to about a third.
const vacuumLoad = 0.625

func (m *monitor) vacuum(ctx context.Context) ([]reading, error) {
	rows, err := m.s.Query(ctx, `
		select p.relid is null, coalesce(a.query like '%(to prevent wraparound)', false), coalesce(a.backend_type = 'autovacuum worker', false)
		from pg_stat_progress_vacuum p left join pg_stat_activity a on a.pid = p.pid
		where p.datname = current_database() and (p.relid is null or p.relid = any($1))`, m.storage)
	if err != nil {
		return nil, err
	}
	var readings []reading
	var hidden, anyHidden, wraparound, automatic bool
	_, err = pgx.ForEachRow(rows, []any{&hidden, &wraparound, &automatic}, func() error {
		anyHidden = anyHidden || hidden
		r := reading{"vacuum", "vacuum is at work on the table", vacuumLoad, fromHalf}
		if automatic {
			r.text = "autovacuum is at work on the table"
		}
		if wraparound {
			r = reading{"wraparound", "autovacuum is at work on the table against wraparound", 1, fromHalf}
		}
		readings = append(readings, r)
		return nil
	})
	if err == nil && anyHidden {
		return nil, errHidden
	}
	return readings, err
}

const (
	probeKeys  = 32 // rows that are looked up in turn
	probeFirst = 9  // lookups that tell how long one takes before anything is done
	probeLast  = 3  // of so many the middle one counts
)

// probe looks a row up by its key, as the application does.
func (m *monitor) probe(ctx context.Context) ([]reading, error) {
	if len(m.keys) == 0 {
		return nil, nil
	}
	for m.usual == 0 {
		took, err := m.lookup(ctx)
		if err != nil {
			return nil, err
		}
		if took >= lockWithin { // it does not tell what is usual
			return []reading{{"probe", fmt.Sprintf("a lookup by key takes %s ms or more", figure(took.Seconds()*1000)), 1, fromHalf}}, nil
		}
		if m.lookups = append(m.lookups, took); len(m.lookups) == probeFirst {
			m.usual, m.lookups = middle(m.lookups), nil
		}
	}
	took, err := m.lookup(ctx)
	if err != nil {
		return nil, err
	}
	if m.lookups = append(m.lookups, took); len(m.lookups) > probeLast {
		m.lookups = m.lookups[1:]
	}
	if took < lockWithin { // one that is stuck needs no second
		took = middle(m.lookups)
	}
	text := fmt.Sprintf("a lookup by key takes %s ms, %s ms at the start (most %s ms more)",
		figure(took.Seconds()*1000), figure(m.usual.Seconds()*1000), figure(m.health.MaxProbe.Seconds()*1000))
	return []reading{{"probe", text, (took - m.usual).Seconds() / m.health.MaxProbe.Seconds(), fromHalf}}, nil
}

// lookup tells how long one lookup takes. One that meets a lock or the end of
// its time took as long as it did.
func (m *monitor) lookup(ctx context.Context) (time.Duration, error) {
	key := m.keys[m.next%len(m.keys)]
	m.next++
	var terms []string
	var args []any
	for i, c := range m.table.key {
		args = append(args, key[i])
		terms = append(terms, fmt.Sprintf("%s = $%d::text::%s", c.ident(), len(args), c.sqlType))
	}
	begun := m.db.options.Now()
	_, err := m.s.Exec(ctx, fmt.Sprintf(mark+`select 1 from %s where %s`, m.table.ident(), strings.Join(terms, " and ")), args...)
	if err != nil && !metLock(err) && (sqlState(err) != queryCanceled || ctx.Err() != nil) {
		return 0, fmt.Errorf("look a row of %s up: %w", m.table.ident(), err)
	}
	return max(m.db.options.Now().Sub(begun), time.Nanosecond), nil
}

func middle(d []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2]
}

// figure is a number as people read it: whole from 10 on.
func figure(x float64) string {
	if x >= 10 || x == float64(int64(x)) {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.1f", x)
}

// volume is a size as people read it.
func volume(n float64) string {
	const step = 1024
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for n >= step && i < len(units)-1 {
		n /= step
		i++
	}
	return figure(n) + " " + units[i]
}
