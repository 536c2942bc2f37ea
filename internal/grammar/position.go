package grammar

import (
	"strings"
	"unicode/utf8"
)

// Position gives the line and the column, both from 1, of an offset in bytes;
// columns count characters. An offset outside of the text is taken to its ends.
func Position(text string, offset int) (line, column int) {
	before := text[:min(max(offset, 0), len(text))]
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
}
