package report

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// text is a line of plain text, in parts that are set apart by style.
type text []span

type span struct {
	words string
	style style
	to    string // of a link
}

type style int

const (
	plain style = iota
	code        // commands and digests, to be copied
	link        // to an address of this package's checking
)

func say(format string, args ...any) text { return text(nil).and(format, args...) }

func (t text) and(format string, args ...any) text {
	words := format
	if len(args) > 0 {
		words = fmt.Sprintf(format, args...)
	}
	if words == "" {
		return t
	}
	return append(slices.Clip(t), span{words: words})
}

func (t text) code(words string) text {
	return append(slices.Clip(t), span{words: words, style: code})
}

func (t text) link(words, to string) text {
	return append(slices.Clip(t), span{words: words, style: link, to: to})
}

// cells makes a row of plain cells. They are not formats.
func cells(words ...string) []text {
	row := make([]text, len(words))
	for i, w := range words {
		row[i] = text(nil).and("%s", w)
	}
	return row
}

// join puts the parts that say anything behind each other.
func join(between string, parts ...text) text {
	var all text
	for _, p := range parts {
		if len(p) == 0 {
			continue
		}
		if len(all) > 0 {
			all = all.and("%s", between)
		}
		all = append(all, p...)
	}
	return all
}

// clean makes one line of what may be anything: no line breaks, no control or
// direction characters (a terminal would obey them, an eye be deceived), no
// bytes that are not UTF-8.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r) && r != '\u200D':
			return unicode.ReplacementChar
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// clip shortens s to at most n runes, the last of them an ellipsis.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)
	return string(runes[:max(n-1, 0)]) + "…"
}

// clip shortens t to about n runes over all its parts.
func (t text) clip(n int) text {
	var all text
	for _, s := range t {
		if n <= 0 {
			return all
		}
		s.words = clip(s.words, n)
		n -= utf8.RuneCountInString(s.words)
		all = append(all, s)
	}
	return all
}
