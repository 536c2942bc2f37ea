package config

import (
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/document"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// checker finds what each value alone does not show: ranges and contradictions.
// It looks only at what the file gives, so that one mistake is one fault.
type checker struct {
	doc    *document.Document
	faults document.Faults
}

func (k *checker) refuse(at, message, suggestion string) {
	if at != "" {
		message = at + ": " + message
	}
	k.faults = append(k.faults, k.doc.Fault(at, message, suggestion))
}

// faulty reports whether something at this path, or below it, is already told.
func (k *checker) faulty(at string) bool {
	return slices.ContainsFunc(k.faults, func(f document.Fault) bool {
		rest, below := strings.CutPrefix(f.Path, at)
		return below && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// told reports whether this very path is already told.
func (k *checker) told(at string) bool {
	return slices.ContainsFunc(k.faults, func(f document.Fault) bool { return f.Path == at })
}

// within refuses a duration outside a range.
func (k *checker) within(at string, d, least, most time.Duration) {
	if k.faulty(at) || (d >= least && d <= most) {
		return
	}
	k.refuse(at, fmt.Sprintf("expected %s to %s, observed %s",
		document.FormatDuration(least), document.FormatDuration(most), document.FormatDuration(d)), "")
}

var (
	serviceName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
	variable    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

const day = 24 * time.Hour

func (k *checker) config(c *Config) {
	if k.doc.Has("service") && !k.faulty("service") && !serviceName.MatchString(c.Service) {
		k.refuse("service", fmt.Sprintf("expected lower-case letters, digits and hyphens, at most 63, observed %q", c.Service), "")
	}
	k.target(c.Target)
	k.strategy(c)
	k.within("ready_within", c.ReadyWithin, time.Second, time.Hour)
	k.within("drain", c.Drain, 0, time.Hour)
	k.within("rollback_window", c.RollbackWindow, 0, 90*day)
	k.within("abandon_after", c.AbandonAfter, time.Second, 90*day)
	k.sessions(c.Sessions)
	for i, s := range c.Smoke {
		if at := fmt.Sprintf("smoke[%d].status", i); (s.Status < 100 || s.Status > 599) && !k.faulty(at) {
			k.refuse(at, fmt.Sprintf("expected an HTTP status from 100 to 599, observed %d", s.Status), "")
		}
	}
	if c.Probe != nil {
		k.probe(c.Probe)
	}
	k.judge(c.Judge)
	k.meter(c)
	if c.Schema != nil {
		k.schema(c.Schema)
	}
	k.gate("gates.promote", c.Gates.Promote)
	k.gate("gates.contract", c.Gates.Contract)
	if c.Gates.Contract != nil && c.Schema == nil && !k.doc.Has("schema") {
		k.refuse("gates.contract", "there is no schema for it", "add schema or delete the gate")
	}
}

// exactlyOne refuses none and several of the keys that a mapping chooses from.
func (k *checker) exactlyOne(at string, given []string, allowed string) {
	switch {
	case !k.doc.Has(at) || (len(given) == 0 && k.faulty(at)):
	case len(given) == 0:
		k.refuse(at, "expected one of "+allowed+", observed none", "")
	case len(given) > 1:
		k.refuse(at+"."+given[1], fmt.Sprintf("expected one %s, observed %s", at, strings.Join(given, ", ")), "keep one of them")
	}
}

func (k *checker) strategy(c *Config) {
	s := &c.Strategy
	k.exactlyOne("strategy", s.kinds(), "canary, blue_green, rolling")
	if s.Canary != nil {
		k.steps(s.Canary)
		k.watch("strategy.canary", &s.Canary.Watch)
	}
	if s.BlueGreen != nil {
		k.watch("strategy.blue_green", &s.BlueGreen.Watch)
	}
	if s.Rolling != nil {
		k.watch("strategy.rolling", &s.Rolling.Watch)
	}
	if t := c.Target.Kubernetes; t != nil && t.Service == "" && c.Traffic != TrafficNone {
		k.refuse("target.kubernetes.service", "traffic http comes by a Service", "name it, or set traffic to none")
	}
	if c.Traffic != TrafficNone {
		return
	}
	if s.Canary != nil || s.BlueGreen != nil {
		k.refuse("traffic", fmt.Sprintf("none cannot be divided by strategy %s", strings.Join(s.kinds(), ", ")), "use strategy rolling")
	}
	for _, needs := range []string{"probe", "warmup", "sessions", "meter"} {
		if k.doc.Has(needs) {
			k.refuse(needs, "contradicts traffic none", "delete it, or set traffic to http")
		}
	}
}

func (k *checker) steps(c *Canary) {
	const at, most = "strategy.canary.steps", 50
	switch {
	case k.told(at):
		return
	case len(c.Steps) == 0:
		k.refuse(at, "expected at least one step, observed none", "write [100]")
		return
	case len(c.Steps) > most:
		k.refuse(at, fmt.Sprintf("expected at most %d steps, observed %d", most, len(c.Steps)), "")
	}
	var before rollout.Weight
	for i, step := range c.Steps {
		item := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case k.told(item):
			continue
		case step == 0:
			k.refuse(item, "a step of 0 sends no traffic to the candidate", "deploy starts it at 0 by itself: delete the step")
		case step <= before:
			k.refuse(item, fmt.Sprintf("expected more than %s, the step before, observed %s", before, step), "")
		case i == len(c.Steps)-1 && step != rollout.Full:
			k.refuse(item, fmt.Sprintf("expected the last step to be %s, observed %s", rollout.Full, step), "add 100")
		}
		before = step
	}
}

// watch resolves the limit that a file leaves out and refuses a watch that
// could not come to an end.
func (k *checker) watch(at string, w *Watch) {
	given := k.doc.Has(at + ".bake_limit")
	if !given {
		w.BakeLimit = max(defaultBakeLimit, w.Bake)
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{".bake", w.Bake}, {".bake_limit", w.BakeLimit}} {
		if d.value > longestBake && k.doc.Has(at+d.key) {
			k.refuse(at+d.key, fmt.Sprintf("a job may run for 6h, so at most %s, observed %s",
				document.FormatDuration(longestBake), document.FormatDuration(d.value)),
				"use more steps; tick, on a schedule, watches between them")
		}
	}
	if k.faulty(at + ".bake") {
		return
	}
	if given && !k.faulty(at+".bake_limit") && w.BakeLimit < w.Bake {
		k.refuse(at+".bake_limit", fmt.Sprintf("expected at least bake, %s, observed %s",
			document.FormatDuration(w.Bake), document.FormatDuration(w.BakeLimit)), "")
	}
	if !k.faulty(at+".settle") && w.Settle >= w.Bake {
		blame, advice := at+".settle", ""
		if !k.doc.Has(blame) {
			blame, advice = at+".bake", "settle is 30s unless given: give a shorter one too"
		}
		k.refuse(blame, fmt.Sprintf("settle, %s, leaves nothing of bake, %s, to judge",
			document.FormatDuration(w.Settle), document.FormatDuration(w.Bake)), advice)
	}
}

func (k *checker) gate(at string, g *Gate) {
	if g == nil || k.faulty(at) {
		return
	}
	switch {
	case g.Environment != "" && g.Comment != "":
		k.refuse(at+".comment", "expected environment or comment, observed both", "keep one of them")
	case g.Environment == "" && g.Comment == "":
		k.refuse(at, "expected environment or comment, observed neither", "write {environment: production}")
	case at != "gates.promote" && strings.Contains(g.Environment, rollout.WeightInName):
		k.refuse(at+".environment", fmt.Sprintf("%s stands for a weight, and this phase goes to none", rollout.WeightInName), "name the environment")
	}
}

// uses refuses a table or a column that is given twice, or without a name.
func (k *checker) uses(uses []Use) {
	tables := map[string]int{}
	for i, use := range uses {
		at := fmt.Sprintf("schema.uses[%d]", i)
		if first, twice := tables[use.Table]; twice && !k.faulty(at) {
			k.refuse(at+".table", fmt.Sprintf("%s is given twice, first as schema.uses[%d]", use.Table, first), "put the columns together")
		}
		tables[use.Table] = i
		if k.doc.Has(at+".table") && use.Table == "" && !k.faulty(at+".table") {
			k.refuse(at+".table", "expected a name, observed nothing", "")
		}
		if k.doc.Has(at+".columns") && len(use.Columns) == 0 && !k.faulty(at+".columns") {
			k.refuse(at+".columns", "expected names, observed none", "leave columns out where the whole table is used")
		}
		for j, column := range use.Columns {
			if at := fmt.Sprintf("%s.columns[%d]", at, j); (column == "" || slices.Contains(use.Columns[:j], column)) && !k.faulty(at) {
				k.refuse(at, fmt.Sprintf("expected another name, observed %q", column), "")
			}
		}
	}
}

func (k *checker) schema(s *Schema) {
	k.envName("schema.url_env", s.URLEnv)
	k.backfill("schema.backfill.", s.Backfill)
	k.uses(s.Uses)
	seen := map[string]int{}
	for i, name := range s.Changes {
		at := fmt.Sprintf("schema.changes[%d]", i)
		clean := path.Clean(name)
		first, twice := seen[clean]
		switch {
		case k.faulty(at):
		case name == "":
			k.refuse(at, "expected a path, observed nothing", "")
		case strings.Contains(name, "\\"):
			k.refuse(at, fmt.Sprintf("expected a path with /, observed %q", name), "")
		case path.IsAbs(name) || clean == ".." || strings.HasPrefix(clean, "../"):
			k.refuse(at, fmt.Sprintf("%s is outside this file's directory", name), "keep changes beside or below this file")
		case twice:
			k.refuse(at, fmt.Sprintf("%s is given twice, first as schema.changes[%d]", name, first), "delete one of them")
		default:
			seen[clean] = i
		}
	}
}

func (k *checker) backfill(at string, b Backfill) {
	for _, n := range []struct {
		key                   string
		observed, least, most int
	}{
		{"workers", b.Workers, 1, 32},
		{"max_rate", b.MaxRate, 0, math.MaxInt},
		{"max_wal_mib", b.MaxWAL, 0, 1 << 30},
		{"max_lock_waiters", b.MaxLockWaiters, 0, math.MaxInt},
		{"max_connections_percent", b.MaxConnections, 0, 100},
	} {
		if k.faulty(at+n.key) || (n.observed >= n.least && n.observed <= n.most) {
			continue
		}
		expected := fmt.Sprintf("%d to %d", n.least, n.most)
		if n.most == math.MaxInt {
			expected = fmt.Sprintf("%d or more", n.least)
		}
		k.refuse(at+n.key, fmt.Sprintf("expected %s, observed %d", expected, n.observed), "")
	}
	k.within(at+"batch_target", b.BatchTarget, 10*time.Millisecond, 5*time.Second)
	k.within(at+"max_lag", b.MaxLag, 0, day)
	k.within(at+"max_probe", b.MaxProbe, 0, time.Minute)
}
