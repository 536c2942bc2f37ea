package report_test

import (
	"html"
	"strings"
	"testing"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	gfm "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/report"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// parse reads a page as a renderer of GitHub's Markdown would, and checks that
// it finds there only what a page is made of.
func parse(t failer, md string) (cells []string) {
	source := []byte(md)
	doc := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	markers := 0
	err := ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.HTMLBlock:
			block := strings.TrimSpace(string(n.Lines().Value(source)))
			if folds.MatchString(block) {
				return ast.WalkContinue, nil
			}
			if markers++; markers > 1 {
				t.Fatalf("a second block of HTML: %q", block)
			}
		case *ast.FencedCodeBlock:
			if fenced[string(n.Language(source))] == nil {
				t.Fatalf("a fence of kind %q", n.Language(source))
			}
		case *ast.RawHTML:
			if tag := string(n.Segments.Value(source)); tag != "<code>" && tag != "</code>" {
				t.Fatalf("a tag %q", tag)
			}
		case *ast.Link, *ast.AutoLink, *ast.Image, *gfm.Strikethrough, *gfm.TaskCheckBox,
			*ast.CodeBlock, *ast.ThematicBreak:
			t.Fatalf("a %s in %q", n.Kind(), md)
		case *ast.Emphasis:
			if _, labels := n.Parent().Parent().(*ast.ListItem); n.Level != 2 || n.PreviousSibling() != nil || !labels {
				t.Fatalf("an emphasis in %q", md)
			}
		case *gfm.TableCell:
			cells = append(cells, words(n, source))
			return ast.WalkSkipChildren, nil
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatalf("walk: %v", err)
	}
	return cells
}

// words gives a node's text as it is read.
func words(n ast.Node, source []byte) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.Text:
			b.WriteString(html.UnescapeString(unslashed(string(c.Value(source)))))
		case *ast.String:
			b.WriteString(html.UnescapeString(string(c.Value)))
		default:
			b.WriteString(words(c, source))
		}
	}
	return b.String()
}

func unslashed(s string) string {
	return backslash.ReplaceAllStringFunc(s, func(pair string) string { return pair[1:] })
}

// ink is what a reader sees of a text: letters, digits and signs.
func ink(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
}

func TestEveryTextIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		wild := wildText().Draw(rt, "wild")
		p := report.Can("book", rollout.Retire, []report.Precondition{{Text: wild, How: "do " + wild}}, "")
		cells := parse(rt, p.Markdown())
		if len(cells) != 6 {
			rt.Fatalf("%d cells, want 6: %q", len(cells), p.Markdown())
		}
		for i, want := range map[int]string{4: wild, 5: "do " + wild} {
			if got := ink(cells[i]); got != ink(want) && len(want) < 400 {
				rt.Fatalf("cell reads %q, written was %q", got, ink(want))
			}
		}
	})
}
