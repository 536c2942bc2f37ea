// Package lifecycletest drives every operation of a change file, on every kind of
// table, through everything that a release can do to it: expanded, taken back,
// killed, resumed, written by both revisions at once, contracted. After each
// step all rows are compared with a model of the rules. The table in
// docs/reference/operations.md says what is supported and is held to be true
// here; "go test ./internal/lifecycletest -run TestMatrix -update" writes it.
package lifecycletest

import (
	"maps"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// inShort are the cells for when there is little time: each operation on the
// plain table, and every third on one other kind.
func inShort(o, k int) bool { return k == 0 || o%3 == 0 && k == 1+o/3%(len(kinds())-1) }

// Each operation on each kind of table.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	for i, o := range operations() {
		for j, k := range kinds() {
			if testing.Short() && !inShort(i, j) {
				continue
			}
			t.Run(o.name+"/"+k.name, func(t *testing.T) {
				t.Parallel()
				c := newGround(t, database.Options{BatchTarget: 20 * time.Millisecond}).cell(t, o, k, base)
				facts, err := c.db.Inspect(t.Context(), c.c)
				if err != nil {
					t.Fatal(err)
				}
				if len(facts.Refusals) > 0 {
					t.Logf("refused at plan, as TestMatrix holds: %q", facts.Refusals)
					return
				}
				c.live(t)
			})
		}
	}
}

// live takes a cell through everything.
func (c *cell) live(t *testing.T) {
	olds, news := c.client(t, c.o.old), c.client(t, c.o.new)
	play(t, 40, olds)
	before := c.catalog(t)
	c.compare(t, "before", olds)

	c.expandWhole(t, olds, news)
	c.revert(t, "after expand", before, olds)

	// Killed within some step, and back from there.
	c.whileOldsWrite(t, olds, func() {
		c.killed(t, order{Part: change.PartExpand}, "", 1+len(change.ExpandSteps(c.c))/2)
	})
	c.revert(t, "from half-way", before, olds)

	// Killed within the backfill, where there is one, and on from there.
	c.whileOldsWrite(t, olds, func() {
		if c.o.sync != nil {
			c.killed(t, order{Part: change.PartExpand, Block: 2}, "blocked", 0)
		} else {
			c.killed(t, order{Part: change.PartExpand}, "", len(change.ExpandSteps(c.c))-1)
		}
	})
	c.whileOldsWrite(t, olds, func() { c.run(t, change.ExpandSteps(c.c)) })
	c.expanded(t, "resumed", olds, news)

	both := work(t, olds, c.client(t, c.o.old), news, c.client(t, c.o.new))
	c.aWhile(t)
	both.halt(t)
	c.compare(t, "written by both at once", olds, news)
	c.compareKept(t, "written by both at once")
	if e, err := c.db.Verify(t.Context(), c.c, change.ScopeRelease); err != nil || !e.Passed() && c.o.sync != nil {
		t.Errorf("verify: %v %+v", err, e)
	}
	c.contract(t, news)
	if len(change.ContractSteps(c.c)) > 0 && !c.o.final && !testing.Short() {
		c.restore(t, olds, news)
		c.contract(t, news)
	}
}

// aWhile lets clients work.
func (c *cell) aWhile(t *testing.T) {
	span := 300 * time.Millisecond
	if testing.Short() {
		span = 100 * time.Millisecond
	}
	select {
	case <-t.Context().Done():
	case <-time.After(span):
	}
}

// expandWhole expands undisturbed, and then lets each revision write.
func (c *cell) expandWhole(t *testing.T, olds, news *client) {
	c.run(t, change.ExpandSteps(c.c))
	c.expanded(t, "expanded", olds, news)
	play(t, 40, olds, news)
	c.compare(t, "written by both in turn", olds, news)
	c.compareKept(t, "written by both in turn")
}

// expanded has the model follow an expand that ended.
func (c *cell) expanded(t *testing.T, when string, olds, news *client) {
	c.follow()
	c.compare(t, when, olds, news)
	c.compareKept(t, when)
}

// follow gives each row of the model its new form.
func (c *cell) follow() {
	c.world.mapping, c.defaults = c.o.sync, c.o.between
	c.world.each(func(r row) row { return withDefaults(c.o.sync.expanded(r), c.o, c.o.between) })
}

// withDefaults gives columns that only the new revision knows their defaults.
func withDefaults(r row, o operation, defaults row) row {
	r = maps.Clone(r)
	known := map[string]bool{}
	for _, name := range o.old.names() {
		known[name] = true
	}
	for name, value := range defaults {
		if _, there := r[name]; !there && !known[name] {
			r[name] = value
		}
	}
	return r
}

// revert goes back to where nothing of the change is there.
func (c *cell) revert(t *testing.T, when string, before []string, olds *client) {
	if c.o.mend != "" {
		c.exec(t, c.k.render(t, c.role, c.o.mend))
		c.world.each(c.o.mended)
	}
	c.run(t, change.RevertSteps(c.c))
	c.unchanged(t, "reverted "+when, before)
	c.world.mapping, c.defaults, c.world.kept = nil, c.o.before, nil
	c.world.each(func(r row) row { return r.of(c.o.old.names()) })
	c.compare(t, "reverted "+when, olds)
	play(t, 20, olds)
	c.compare(t, "reverted "+when+" and written", olds)
}

// whileOldsWrite does something while the old revision is at work; what has
// become of the new form is not looked at.
func (c *cell) whileOldsWrite(t *testing.T, olds *client, do func()) {
	c.world.mapping, olds.whole = nil, true
	crew := work(t, olds)
	do()
	crew.halt(t)
	olds.whole = false
	c.compare(t, "written by the old revision meanwhile", olds)
}

// contract removes the old form while the new revision is at work, and is
// killed on the way.
func (c *cell) contract(t *testing.T, news *client) {
	steps := change.ContractSteps(c.c)
	if len(steps) > 0 {
		c.world.mapping, news.whole = nil, true
		crew := work(t, news)
		c.killed(t, order{Part: change.PartContract}, "", len(steps)/2)
		c.run(t, steps)
		crew.halt(t)
		news.whole = false
		c.defaults = c.o.after
		if c.o.settle != nil {
			c.world.each(c.o.settle)
		}
		c.free(t, "after contract")
	}
	c.compare(t, "contracted", news)
	play(t, 40, news)
	c.compare(t, "contracted and written", news)
}

// restore brings back what contract dropped, while the new revision is at work.
// A row that it did not write has the old form that it had; any other has one
// that goes with its new form.
func (c *cell) restore(t *testing.T, olds, news *client) {
	news.whole = true
	crew := work(t, news)
	c.run(t, change.RestoreSteps(c.c))
	crew.halt(t)
	news.whole = false
	c.defaults, c.world.mapping = c.o.between, c.o.sync
	seen, err := rowsOf(t.Context(), c.admin, c.k, olds.ident, olds.names(), "true")
	if err != nil {
		t.Fatal(err)
	}
	for n, e := range c.world.rows {
		if n%apart != 0 || e.row == nil {
			continue
		}
		e.row = e.row.with(olds.names(), seen[n])
		if m := c.o.sync; m != nil {
			o, nn := e.row.of(m.old), e.row.of(m.new)
			f, _ := m.f(o)
			g, _ := m.g(nn)
			if !maps.Equal(nn, f) && !maps.Equal(o, g) {
				t.Errorf("restored, the forms of row %d do not agree: %v", n, e.row)
			}
		}
	}
	c.compare(t, "restored", olds, news)
	play(t, 40, olds, news)
	c.compare(t, "restored and written by both", olds, news)
}
