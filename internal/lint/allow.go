package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gapless-deploy/gapless/internal/grammar"
)

// waiver is a comment that allows what a rule finds in one statement:
//
//	-- gapless:allow rule: reason
//
// It stands before the statement or on one of its lines.
type waiver struct {
	rule, reason string
	offset       int
	from, to     int // the statement that it is about
	used         bool
}

const allowWord = "gapless:allow"

// allow takes the findings that comments of the text allow down to Allowed, and
// tells of comments that allow nothing.
func allow(text grammar.Text, findings []Finding) []Finding {
	waivers, odd := waiversOf(text)
	for i := range findings {
		f := &findings[i]
		for j := range waivers {
			w := &waivers[j]
			if w.rule != f.Rule || f.Offset < w.from || f.Offset > w.to {
				continue
			}
			w.used = true
			if rule, _ := ruleOf(w.rule); !rule.Allowable {
				f.Suggestion = strings.TrimPrefix(f.Suggestion+"; gapless:allow cannot allow it", "; ")
				continue
			}
			f.Level, f.Reason = Allowed, w.reason
		}
	}
	for _, w := range waivers {
		if !w.used {
			odd = append(odd, Finding{
				Offset: w.offset, Rule: unusedAllow, Level: Warning,
				Message: fmt.Sprintf("nothing here is found by rule %s", w.rule), Suggestion: "delete the comment",
			})
		}
	}
	return append(findings, odd...)
}

// waiversOf reads the comments of a text.
func waiversOf(text grammar.Text) (waivers []waiver, odd []Finding) {
	form := regexp.MustCompile(`^--\s*` + allowWord + `\s+([a-z-]+)\s*:\s*(\S.*?)\s*$`)
	for _, c := range text.Comments {
		comment := text.SQL[c.Start:c.End]
		if !strings.Contains(comment, allowWord) {
			continue
		}
		words := form.FindStringSubmatch(comment)
		problem := ""
		switch {
		case words == nil:
			problem = "a comment with " + allowWord + " that is not understood"
		default:
			if _, known := ruleOf(words[1]); !known {
				problem = fmt.Sprintf("there is no rule %q", words[1])
			}
		}
		if problem != "" {
			odd = append(odd, Finding{
				Offset: c.Start, Rule: badAllow, Level: NeedsReview, Message: problem,
				Suggestion: "write -- " + allowWord + " RULE: REASON, with a rule of docs/guides/lint.md",
			})
			continue
		}
		w := waiver{rule: words[1], reason: words[2], offset: c.Start}
		w.from, w.to = about(text, c)
		waivers = append(waivers, w)
	}
	return waivers, odd
}

// about is the statement that a comment is about: the one on whose lines it
// stands, or else the next one.
func about(text grammar.Text, c grammar.Token) (from, to int) {
	i := slices.IndexFunc(text.Statements, func(s grammar.Statement) bool {
		end := s.End
		if line := strings.IndexByte(text.SQL[s.End:], '\n'); line >= 0 {
			end += line
		} else {
			end = len(text.SQL)
		}
		return c.Start < end
	})
	if i < 0 {
		return 0, 0
	}
	s := text.Statements[i]
	return s.Start, s.End
}
