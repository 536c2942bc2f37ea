package report

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// columns is how many columns of a terminal s takes: letters of East Asian
// scripts and pictures take two, marks that combine with a letter none.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += column(r)
	}
	return n
}

func column(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r < 0x1100:
		return 1
	}
	if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
		return 2
	}
	return 1
}

// pad fills s to n columns, from the left for numbers.
func pad(s string, n int, right bool) string {
	space := strings.Repeat(" ", max(n-columns(s), 0))
	if right {
		return space + s
	}
	return s + space
}

// cut gives as much of s as takes at most n columns, and the rest.
func cut(s string, n int) (head, rest string) {
	used := 0
	for i, r := range s {
		if used += column(r); used > n {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// wrap breaks s at spaces into lines of at most n columns; a word that is
// longer is broken anywhere. There is always one line.
func wrap(s string, n int) []string {
	n = max(n, 1)
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		if line != "" && columns(line)+1+columns(word) <= n {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for columns(word) > n {
			head, rest := cut(word, n)
			if head == "" { // too narrow for a single letter
				break
			}
			lines, word = append(lines, head), rest
		}
		line = word
	}
	return append(lines, line)
}
