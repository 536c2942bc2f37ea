package lifecycletest

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// catalogSQL tells everything that is defined outside of gapless's own schema,
// line by line, as PostgreSQL itself writes it.
const catalogSQL = `
with spaces as (select oid, nspname from pg_namespace where nspname !~ '^pg_' and nspname not in ('information_schema', 'gapless')),
relations as (select c.*, s.nspname from pg_class c join spaces s on s.oid = c.relnamespace)
select concat_ws(' ', 'schema', nspname) from spaces
union all select concat_ws(' ', 'relation', oid::regclass, relkind, relpersistence, relowner::regrole, relacl, reloptions, relrowsecurity, relforcerowsecurity,
  relreplident, relispartition, pg_get_expr(relpartbound, oid), case when relkind in ('v', 'm') then pg_get_viewdef(oid) end) from relations
union all select concat_ws(' ', 'column', r.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
  pg_get_expr(d.adbin, d.adrelid), a.attcollation, a.attacl, a.attoptions, a.attislocal)
  from relations r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped left join pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
union all select concat_ws(' ', 'constraint', conrelid::regclass, conname, contype, convalidated, pg_get_constraintdef(c.oid)) from pg_constraint c join spaces s on s.oid = c.connamespace
union all select concat_ws(' ', 'index', pg_get_indexdef(indexrelid), indisvalid, indisready) from pg_index i join relations r on r.oid = i.indrelid
union all select concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), tgenabled) from pg_trigger t join relations r on r.oid = t.tgrelid where not tgisinternal
union all select concat_ws(' ', 'rule', pg_get_ruledef(w.oid)) from pg_rewrite w join relations r on r.oid = w.ev_class
union all select concat_ws(' ', 'policy', p.polrelid::regclass, polname, polcmd, polroles::regrole[], pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) from pg_policy p join relations r on r.oid = p.polrelid
union all select concat_ws(' ', 'function', p.oid::regprocedure, md5(pg_get_functiondef(p.oid)), proacl) from pg_proc p join spaces s on s.oid = p.pronamespace where prokind in ('f', 'p')
union all select concat_ws(' ', 'type', t.oid::regtype, typtype, array(select enumlabel from pg_enum e where e.enumtypid = t.oid order by enumsortorder)) from pg_type t join spaces s on s.oid = t.typnamespace
union all select concat_ws(' ', 'published', p.pubname, r.prrelid::regclass) from pg_publication p join pg_publication_rel r on r.prpubid = p.oid
union all select concat_ws(' ', 'statistics', pg_get_statisticsobjdef(x.oid)) from pg_statistic_ext x join spaces s on s.oid = x.stxnamespace
union all select concat_ws(' ', 'comment', d.classoid::regclass, d.objsubid, description) from pg_description d where objoid in (select oid from relations)`

// catalog is what is defined outside of gapless's own schema.
func (c *cell) catalog(t testing.TB) []string {
	t.Helper()
	rows, err := c.admin.Query(t.Context(), catalogSQL)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

// unchanged holds the catalog against how it was. What stays by the operation's
// nature is left out.
func (c *cell) unchanged(t testing.TB, when string, before []string) {
	t.Helper()
	lines := map[string]int{}
	for _, line := range c.catalog(t) {
		lines[line]++
	}
	for _, line := range before {
		lines[line]--
	}
	for _, line := range slices.Sorted(maps.Keys(lines)) {
		if n := lines[line]; n != 0 && (c.o.lasting == "" || !strings.HasPrefix(line, c.o.lasting)) {
			t.Errorf("%s: %+d %s", when, n, line)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// free holds that nothing of gapless's is left where it is not at home.
func (c *cell) free(t testing.TB, when string) {
	t.Helper()
	for _, line := range c.catalog(t) {
		if strings.Contains(line, "gapless") {
			t.Errorf("%s there is still: %s", when, line)
		}
	}
}
