package lifecycletest

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// pair is an old and a new column with a mapping each way. In SQL the other
// column stands as %s.
type pair struct {
	name             string
	oldType, newType string
	f, g             string
	forward          func(string) (string, bool) // of what is not NULL; false raises
	backward         func(string) (string, bool)
	olds, news       []string
}

func asIs(v string) (string, bool) { return v, true }

func pairs() []pair {
	return []pair{
		{name: "as it is", oldType: "text", newType: "text", f: "%s", g: "%s", forward: asIs, backward: asIs,
			olds: []string{"a", "", "ä", "a'b\\c"}, news: []string{"b", "", " "}},
		{name: "upper case, which loses the lower", oldType: "text", newType: "text", f: "upper(%s)", g: "%s",
			forward: func(v string) (string, bool) { return strings.ToUpper(v), true }, backward: asIs,
			olds: []string{"a", "A", "", "main 1"}, news: []string{"A", "b", ""}},
		{name: "a number that was text, which raises", oldType: "text", newType: "integer", f: "%s::integer", g: "%s::text",
			forward: func(v string) (string, bool) {
				n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 32)
				return strconv.FormatInt(n, 10), err == nil
			}, backward: asIs,
			olds: []string{"1", "007", "x", "", " 3", "99999999999"}, news: []string{"1", "7", "-5"}},
		{name: "a number that gets more room, which raises on the way back", oldType: "integer", newType: "bigint", f: "%s::bigint", g: "%s::integer", forward: asIs,
			backward: func(v string) (string, bool) {
				_, err := strconv.ParseInt(v, 10, 32)
				return v, err == nil
			},
			olds: []string{"1", "-1", "2147483647"}, news: []string{"1", "2", "2147483648"}},
		{name: "a number that is rounded", oldType: "numeric", newType: "numeric(12,1)", f: "round(%s, 1)", g: "%s", backward: asIs,
			forward: func(v string) (string, bool) {
				r, ok := new(big.Rat).SetString(v)
				if !ok {
					return "", false
				}
				return r.FloatString(1), true
			},
			olds: []string{"1", "1.0", "1.00", "2.25", "-0.5"}, news: []string{"1.0", "3.5"}},
		{name: "a truth that was a word", oldType: "varchar(5)", newType: "boolean", f: "%s = 'yes'", g: "case %s when true then 'yes' when false then 'no' end",
			forward:  func(v string) (string, bool) { return strconv.FormatBool(v == "yes"), true },
			backward: func(v string) (string, bool) { return map[string]string{"true": "yes", "false": "no"}[v], true },
			olds:     []string{"yes", "no", "", "maybe"}, news: []string{"true", "false"}},
	}
}

// through maps the columns that are there, and leaves NULL as it is.
func through(chosen []pair, from, to string, one func(pair) func(string) (string, bool)) func(row) (row, bool) {
	return func(r row) (row, bool) {
		mapped := row{}
		for i, p := range chosen {
			value, there := r[fmt.Sprint(from, i)]
			if !there {
				continue
			}
			v, ok := one(p)(value)
			if !ok {
				return nil, false
			}
			mapped[fmt.Sprint(to, i)] = v
		}
		return mapped, true
	}
}

// drawn is an operation on columns of chance: types, mappings, defaults, columns
// that take no NULL.
func drawOperation(t *rapid.T) operation {
	all := pairs()
	var chosen []pair
	o := operation{before: row{}}
	var setup, added, forward, backward []string
	m := &mapping{}
	for i := range rapid.IntRange(1, 3).Draw(t, "pairs") {
		p := all[rapid.IntRange(0, len(all)-1).Draw(t, "pair")]
		chosen = append(chosen, p)
		was, is := fmt.Sprint("old", i), fmt.Sprint("new", i)
		m.old, m.new = append(m.old, was), append(m.new, is)
		column := column{name: was, values: oneOf(append(slices.Clone(p.olds), null)...)}
		definition := fmt.Sprintf(`alter table {{table}} add column {{c %q}} %s`, was, p.oldType)
		if rapid.Bool().Draw(t, "default") {
			o.before[was] = p.olds[0]
			definition += " default " + literal(p.olds[0])
		}
		if rapid.IntRange(0, 3).Draw(t, "takes no NULL") == 0 {
			definition += " not null"
			o.required = append(o.required, was)
			column.values = oneOf(p.olds...)
			_, column.always = o.before[was]
			column.always = !column.always
		}
		setup = append(setup, definition)
		added = append(added, fmt.Sprintf(`{add_column: {name: {{y %q}}, type: %q}}`, is, p.newType))
		forward = append(forward, fmt.Sprintf("    {{y %q}}: |-\n      "+p.f, is, fmt.Sprintf("{{c %q}}", was)))
		backward = append(backward, fmt.Sprintf("    {{y %q}}: |-\n      "+p.g, was, fmt.Sprintf("{{c %q}}", is)))
		o.old.columns = append(o.old.columns, column)
		o.new.columns = append(o.new.columns, named(is, columnOf(p.news)))
	}
	m.f = through(chosen, "old", "new", func(p pair) func(string) (string, bool) { return p.forward })
	m.g = through(chosen, "new", "old", func(p pair) func(string) (string, bool) { return p.backward })
	o.sync, o.between = m, maps.Clone(o.before)
	o.setup = strings.Join(setup, ";\n")
	o.change = "expand: [" + strings.Join(rapid.Permutation(added).Draw(t, "order"), ", ") + "]\nsync:\n  forward:\n" + strings.Join(forward, "\n") + "\n  backward:\n" + strings.Join(backward, "\n") + "\nverify: {lossy_max: 1000000}"
	return o
}

func columnOf(values []string) column {
	return column{values: oneOf(append(slices.Clone(values), null)...)}
}

// Writes of chance in the old and the new form to tables of chance: at every
// quiet point both forms agree, and are what the rules make of the writes.
func TestBothFormsAgree(t *testing.T) {
	g := newGround(t, database.Options{})
	var possible []kind
	for _, k := range kinds() {
		g.reset(t)
		if c := g.cell(t, syncOperations()[0], k, 10); len(c.refusals(t)) == 0 {
			possible = append(possible, k)
		}
	}
	if len(possible) < 3 {
		t.Fatalf("%d kinds of table are supported", len(possible))
	}
	rapid.Check(t, func(rt *rapid.T) {
		g.reset(t)
		k := possible[rapid.IntRange(0, len(possible)-1).Draw(rt, "kind")]
		c := g.cell(t, drawOperation(rt), k, apart*few)
		olds, news := c.client(t, c.o.old), c.client(t, c.o.new)
		for _, client := range []*client{olds, news} {
			defer client.leave(t)
			client.numbers = few
			client.pick = func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "pick") }
		}
		for _, step := range change.ExpandSteps(c.c) {
			var unverified *change.UnverifiedError
			if _, err := c.db.Apply(t.Context(), c.c, step, nil); err != nil && !(errors.As(err, &unverified) && unverified.Evidence.Violations == 0) {
				rt.Fatalf("%v\n%s", err, c.file)
			}
		}
		c.world.unmapped(c.o.sync)
		c.expanded(t, "expanded", olds, news)
		for range rapid.IntRange(1, 6).Draw(rt, "quiet points") {
			for range rapid.IntRange(1, 8).Draw(rt, "writes") {
				client := []*client{olds, news}[rapid.IntRange(0, 1).Draw(rt, "revision")]
				if err := client.act(t.Context()); err != nil {
					rt.Fatalf("%v\n%s", err, c.file)
				}
			}
			c.compare(rt, "at a quiet point", olds, news)
			c.compareKept(rt, "at a quiet point")
			e, err := c.db.Verify(t.Context(), c.c, change.ScopeRelease)
			if err != nil || e.Violations > 0 {
				rt.Fatalf("%v %+v\n%s", err, e, c.file)
			}
		}
	})
}

// few is how many rows are written.
const few = 4
