package report_test

import (
	"html"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/report"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// wildView puts a text from outside wherever one can stand.
func wildView(t testing.TB, wild string) report.View {
	s := &story{t: t, record: rollout.NewRecord("book"+wild, "r"+wild), now: time.Date(2026, 3, 1, 2, 40, 0, 0, time.UTC)}
	s.run(rollout.Expand, "7"+wild, wild)
	cand, stable := rollout.Revision{ID: "b" + wild, Spec: wild}, rollout.Revision{ID: "a" + wild, Spec: "x"}
	s.add(rollout.Opened{
		Candidate: cand, Stable: stable, Side: rollout.Green,
		Changes: []rollout.File{{Name: "db/" + wild + ".yaml"}},
	})
	s.add(rollout.Began{Approval: wild, Accepted: wild})
	s.migrated("backfill", rollout.Expanding, time.Second, change.Evidence{Rows: 3, Kept: 1, Unmapped: 2})
	s.migrated("verify", rollout.Expanded, time.Second, change.Evidence{
		Keys: []string{wild}, ArchiveTable: wild, ArchiveSum: wild, Dropped: []string{wild},
		Checks: []change.CheckResult{{Name: wild, Allowed: wild}, {Name: wild, Problem: wild}},
	})
	s.run(rollout.Deploy, "8", wild).add(rollout.Launched{Side: rollout.Green, Revision: cand, Instances: 1})
	s.run(rollout.Promote, "9", wild).shift(0, 10).after(time.Minute)
	j := failing()
	j.Reason, j.Findings[0].Detail = wild, wild
	s.judged(10, j)
	s.add(rollout.Ended{Outcome: rollout.NeedsPerson, Reason: wild, Hint: wild})
	v := s.view()
	v.Seen = s.seen(rollout.SplitTo(rollout.Green, 10))
	v.Seen.Sides[rollout.Green] = rollout.SideState{
		Revision: cand, Desired: 1, Instances: []rollout.Instance{{Name: wild, Problem: wild}},
	}
	v.Seen.Mark.Lease = &rollout.Lease{Holder: wild, Phase: rollout.Phase(wild), Until: s.now.Add(time.Minute)}
	v.Seen.Managers = []string{wild}
	v.Progress = &change.Progress{Step: wild, Done: 1, Total: 2, Note: wild}
	v.Next = &report.Next{
		Phase: rollout.Phase(wild), Command: "x" + wild, Asked: wild, GateDigest: wild, Gate: &rollout.Gate{Environment: "e" + wild},
	}
	v.RunURL = wild
	return v
}

func wildPages(t testing.TB, wild string) []report.Page {
	p := freshPlan()
	p.Service, p.Strategy, p.Target, p.Lints, p.Intent = wild, rollout.Strategy(wild), wild, []string{wild}, wild
	p.Candidate.ID, p.Stable.ID = wild, wild
	p.Changes[0] = report.PlanChange{
		ID: wild, Name: wild, Table: wild, Drops: []string{wild}, Blocks: []string{wild},
		Steps: []report.PlanLock{{Step: wild, Lock: wild}}, Warnings: []string{wild}, Refusals: []string{wild},
		Rehearsal: &report.PlanRehearsal{Statements: []report.PlanStatement{{Part: wild, Step: wild, Statement: wild, Locks: []string{wild}, Rewrites: []string{wild}}}},
	}
	v, commented := wildView(t, wild), wildView(t, wild)
	commented.Next.Gate, commented.Next.GateDigest = &rollout.Gate{Comment: "w" + wild, SecondPerson: true}, digest
	pasted := wildView(t, wild)
	pasted.Next.Gate = &rollout.Gate{Comment: "write"}
	return []report.Page{
		report.Rollout(v), report.Rollout(commented), report.Rollout(pasted), report.Plan(p),
		report.Status(report.StatusView{View: v, Drift: wild, Lost: wild}),
		report.Can(wild, rollout.Phase(wild), []report.Precondition{{Text: wild, How: wild}}, ""),
	}
}

// nasty are pieces that Markdown, HTML, GitHub or a terminal act on.
var nasty = []string{
	"|", "\\|", "\\", "\n", "\r\n", "\n\n# h", "\n> [!NOTE]", "\n---\n", "\n| - | - |\n", "`", "``", "```", "\n```\n", "~~~",
	"<", "-->", "<!--", "<script>alert(1)</script>", "<img src=x onerror=y>", "</table>", "<br>", "&lt;", "&#64;",
	"@ana", "@org/team", "#12", "GH-12", "org/repo#1", "https://evil.example", "www.evil.example", "[a](http://b)", "![i](x)",
	"*b*", "_i_", "~~s~~", "$x$", "$$", "\x1b[31m", "\x1b]0;title\x07", "\x00", "\x7f", "\u009b31m", "\u202e", "\u2066", "\u2028",
	"\xff", "\xc3", "ä", "界", "👩‍💻", "e\u0301", " ", "", "%", "%s", "%!d", "'", `"`, "a", "9",
}

func wildText() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(nasty), rapid.String()), 0, 8).Draw(t, "parts")
		return strings.Join(parts, "")
	})
}

func TestMarkdownHoldsWhateverStandsInIt(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		wild := wildText().Draw(rt, "wild")
		for _, p := range wildPages(t, wild) {
			holds(rt, p.Markdown())
			if len(p.Summary()) > report.MaxSummary || strings.HasPrefix(p.Summary(), "<!--") {
				rt.Fatalf("a summary of %d bytes, or with a marker:\n%s", len(p.Summary()), p.Summary())
			}
		}
	})
}

func FuzzMarkdown(f *testing.F) {
	for _, s := range nasty {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, wild string) {
		p := report.Can("book"+wild, rollout.Retire, []report.Precondition{{Text: wild, How: "x" + wild}}, "")
		holds(t, p.Markdown())
		obeys(t, p.Terminal(80, false), 80)
	})
}

type failer interface {
	Fatalf(format string, args ...any)
}

var (
	marker = regexp.MustCompile(`^<!-- gapless:[A-Za-z0-9._@+%-]*:[A-Za-z0-9._@+%-]* -->$`)
	// kinds are the lines that a page consists of.
	kinds = regexp.MustCompile(`^(|#{3,4} .*|> \[!(CAUTION|WARNING)\]|(> )?- .*|\| .* \||[0-9,]+ (earlier row|more row|section|line)s? .*)$`)
	// folds are all the HTML that is a block, besides the marker.
	folds = regexp.MustCompile(`^(<details( open)?><summary>[A-Za-z,: ]+</summary>|</details>)$`)
	// fenced are the lines that may stand in a fence, by its kind: numbers and
	// words of the package's own.
	fenced = map[string]*regexp.Regexp{
		"text": regexp.MustCompile(`^/gapless (promote|contract) [0-9a-f]{64}$`),
		"mermaid": regexp.MustCompile(`^(%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#[0-9a-f]{6}(, #[0-9a-f]{6})?"}}}}%%|xychart-beta` +
			`|  x-axis "[a-z]+ since [0-9: -]+ UTC" 0 --> [0-9.]+|  x-axis "[a-z ]+" \["[0-9.]+%"(, "[0-9.]+%")*\]` +
			`|  y-axis "[a-z, ]+" 0 --> [0-9.]+|  (line|bar) \[[0-9.]+(, [0-9.]+)*\])$`),
	}
	// tags are all the HTML that a page may hold outside its marker.
	tags  = regexp.MustCompile(`</?code>`)
	spans = regexp.MustCompile("`[^`]*`|<code>.*?</code>")
	// calls are what GitHub takes for a person, an issue, an address.
	calls = regexp.MustCompile(`(?i)@[a-z0-9]|#[0-9]|\bGH-[0-9]|://|\bwww\.`)
)

// holds checks that nothing in a page is acted on but what the page means.
func holds(t failer, md string) {
	if len(md) >= report.MaxComment || !utf8.ValidString(md) {
		t.Fatalf("a comment of %d bytes, valid UTF-8: %v", len(md), utf8.ValidString(md))
	}
	lines := strings.Split(strings.TrimSuffix(md, "\n"), "\n")
	if !marker.MatchString(lines[0]) || strings.Contains(lines[0][4:len(lines[0])-3], "--") {
		t.Fatalf("the first line is no hidden marker: %q", lines[0])
	}
	columns, inside, open := 0, "", 0
	for i, line := range lines[1:] {
		if kind, fence := strings.CutPrefix(line, "```"); fence {
			if (kind == "") != (inside != "") || kind != "" && fenced[kind] == nil {
				t.Fatalf("line %d: %q within %q", i+2, line, inside)
			}
			inside = kind
			continue
		}
		if inside != "" {
			if !fenced[inside].MatchString(line) {
				t.Fatalf("line %d does not belong into a fence of kind %s: %q", i+2, inside, line)
			}
			continue
		}
		if folds.MatchString(line) {
			if open += 1 - 2*strings.Count(line, "</details>"); open != 0 && open != 1 || lines[i] != "" {
				t.Fatalf("line %d: a fold within a fold, or no blank line before it: %q", i+2, line)
			}
			continue
		}
		if !kinds.MatchString(line) {
			t.Fatalf("line %d is of no kind that a page has: %q", i+2, line)
		}
		plain := spans.ReplaceAllString(unescaped(line), "")
		if bare := tags.ReplaceAllString(plain, ""); strings.ContainsAny(strings.TrimPrefix(bare, "> "), "<>`") {
			t.Fatalf("line %d holds an open tag or code: %q", i+2, line)
		}
		if call := calls.FindString(html.UnescapeString(plain)); call != "" {
			t.Fatalf("line %d calls %q: %q", i+2, call, line)
		}
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		if n := strings.Count(line, "|"); columns != 0 && n != columns {
			t.Fatalf("line %d has %d bars, its table %d: %q", i+2, n, columns, line)
		} else {
			columns = n
		}
	}
	if inside != "" || open != 0 {
		t.Fatalf("left open: fence %q, %d folds", inside, open)
	}
	parse(t, md)
	for _, r := range md {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			t.Fatalf("control or direction character %U in %q", r, md)
		}
	}
}

var backslash = regexp.MustCompile("\\\\[!-/:-@[-`{-~]")

// unescaped takes out what a backslash makes plain; "\#" is still read as "#".
func unescaped(s string) string {
	return backslash.ReplaceAllStringFunc(s, func(pair string) string {
		if pair == `\#` {
			return "#"
		}
		return "~"
	})
}

func TestTerminalObeysNoText(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		wild, width := wildText().Draw(rt, "wild"), rapid.IntRange(-5, 300).Draw(rt, "width")
		for _, p := range wildPages(t, wild) {
			obeys(rt, p.Terminal(width, false), max(width, 40))
			plain := regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(p.Terminal(width, true), "")
			if plain != p.Terminal(width, false) {
				rt.Fatalf("colour changes more than colour:\n%q", plain)
			}
		}
		for _, f := range []report.FaultView{{Phase: rollout.Expand, Object: wild, What: wild, Serving: wild, Schema: wild, Hint: wild}} {
			obeys(rt, report.Fault(f), 1<<20)
		}
	})
}

// obeys checks that a terminal is told to do nothing but to go to the next
// line, and to do so in time.
func obeys(t failer, out string, width int) {
	for i, line := range strings.Split(out, "\n") {
		if strings.ContainsFunc(line, func(r rune) bool {
			return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028'
		}) {
			t.Fatalf("line %d has control characters: %q", i+1, line)
		}
		// Counted apart from the package, and low: each sign takes a column at least.
		if n := letters(line); n > width {
			t.Fatalf("line %d has %d characters on %d columns: %q", i+1, n, width, line)
		}
	}
}

func letters(s string) int {
	n := 0
	for _, r := range s {
		if !unicode.In(r, unicode.M, unicode.Cf) {
			n++
		}
	}
	return n
}

func TestOrdinaryTextReadsAsItIs(t *testing.T) {
	for _, text := range []string{"column address.street", "9 of 184 (4.89%)", "high-water mark: 2/3", `table "address"`, "ana.b-c"} {
		p := report.Can("book", rollout.Retire, []report.Precondition{{Text: text}}, "")
		if md := p.Markdown(); !strings.Contains(md, "| "+text+" |") {
			t.Errorf("%q is not in the page as it is:\n%s", text, md)
		}
	}
}

func TestMarkersAreTold(t *testing.T) {
	names := []string{"a", "b", "a:b", "a%3Ab", "a-", "a--b", "a-%2D", "-->", "--", "", "%", "ä", "a b"}
	seen := map[string][2]string{}
	for _, service := range names {
		for _, id := range names {
			m := report.Marker(service, id)
			if before, twice := seen[m]; twice {
				t.Errorf("%q and %q share the marker %q", before, []string{service, id}, m)
			}
			seen[m] = [2]string{service, id}
			if !marker.MatchString(m) {
				t.Errorf("marker %q", m)
			}
		}
	}
}

func TestLongRecordIsShortened(t *testing.T) {
	s := release(t).standing()
	long := strings.Repeat("|<@ana `#1\\ ", 300)
	for i := range 150 {
		s.run(rollout.Promote, string(rune('a'+i%26)), long).add(rollout.Began{Approval: long})
		s.add(rollout.Ended{Outcome: rollout.Waiting, Reason: long, Hint: long})
	}
	v := s.view()
	holds(t, report.Comment(v))
	if !strings.Contains(report.Comment(v), "earlier rows left out here") {
		t.Error("rows are left out and the page does not say so")
	}
	many := freshPlan()
	many.Changes = slices.Repeat(many.Changes, 100)
	for i := range many.Changes {
		many.Changes[i].Name, many.Changes[i].Refusals = long, []string{long}
		many.Changes[i].Warnings = slices.Repeat([]string{long}, 8)
	}
	many.Lints = slices.Repeat([]string{long}, 100)
	holds(t, report.Plan(many).Markdown())
}

func TestSameInputSamePage(t *testing.T) {
	first := pages(t)
	for range 2 {
		for name, p := range pages(t) {
			if p.Markdown() != first[name].Markdown() || p.Terminal(90, true) != first[name].Terminal(90, true) {
				t.Fatalf("%s is another page each time", name)
			}
		}
	}
}
