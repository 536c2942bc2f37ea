package document

import (
	"strings"
	"unicode/utf8"
)

// Within gives the line and the column in the file of a place in the text at
// path, whose own lines and columns count from 1: SQL in a block scalar, say. It
// is the place of the whole text where that is not written line by line, such as
// a folded one or one with escapes.
func (d *Document) Within(path, text string, line, column int) (fileLine, fileColumn int) {
	at := d.at(d.find(path), path, "", "")
	lines := strings.Split(text, "\n")
	if line < 1 || line > len(lines) {
		return at.Line, at.Column
	}
	sought, on := strings.TrimSuffix(lines[line-1], "\r"), at.Line+line-1
	start := byteOf(d.text[at.Line-1], at.Column-1)
	block := strings.HasPrefix(d.text[at.Line-1][start:], "|")
	from := 0
	switch {
	case block:
		on++
	case line == 1:
		from = start
	}
	if on > len(d.text) {
		return at.Line, at.Column
	}
	found := strings.Index(d.text[on-1][min(from, len(d.text[on-1])):], sought)
	if found < 0 {
		return at.Line, at.Column
	}
	return on, utf8.RuneCountInString(d.text[on-1][:from+found]) + column
}

// byteOf is where the character of this number, from 0, begins.
func byteOf(text string, character int) int {
	for at := range text {
		if character <= 0 {
			return at
		}
		character--
	}
	return len(text)
}
