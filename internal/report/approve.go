package report

import (
	"regexp"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

var (
	// wholeDigest is one that can be pasted.
	wholeDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)
	// runPage is the page of a workflow's run, the one address that is linked.
	runPage = regexp.MustCompile(`^https?://[A-Za-z0-9.-]+(:[0-9]+)?/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+/actions/runs/[0-9]+(/attempts/[0-9]+)?$`)
)

// approval says what a person does who approves the next phase.
func (n Next) approval(p *Page, runURL string) {
	switch g := n.Gate; {
	case n.GateDigest == "":
	case g != nil && g.Comment != "" && wholeDigest.MatchString(n.GateDigest):
		who := say("By a person with at least %s permission on the repository", g.Comment)
		if g.SecondPerson {
			who = who.and(", other than the author of the pull request")
		}
		p.part(part{
			heading: "To approve, comment on the pull request", paste: "/gapless " + asWord(n.Phase) + " " + n.GateDigest,
			lines: []text{who.and(".")},
		})
	case g != nil && g.Environment != "":
		where := say("environment ").code(g.Environment).and(", where its job waits")
		if runPage.MatchString(runURL) {
			where = where.and(" in ").link("the workflow run", runURL)
		}
		p.fact("Approve", where.and("; it is for digest ").code(n.GateDigest))
	default:
		p.fact("Asked", say("the approvers of %s, for digest ", n.Phase).code(n.GateDigest))
	}
}

// asWord is how a comment names the gate before a phase: whatever first gives
// a candidate traffic stands behind that of promote.
func asWord(p rollout.Phase) string {
	if p == rollout.Contract || p == rollout.Adopt {
		return string(p)
	}
	return string(rollout.Promote)
}
