package document_test

import (
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/document"
)

// Places inside of a text are told where they stand in the file, whatever way
// the text is written; where that cannot be told, it is the text's own place.
func TestWithin(t *testing.T) {
	const file = `é: {plain: select x, quoted: "select x", single: 'é x'}
block: |
  first

    é x
list:
  - run: |-
      x
    folded: >
      a
      x
escaped: "a\tx"
`
	tests := []struct {
		path, text   string
		line, column int
		want         string // what stands there
	}{
		{path: "[\"é\"].plain", text: "select x", line: 1, column: 8, want: "x, quoted"},
		{path: "[\"é\"].quoted", text: "select x", line: 1, column: 8, want: `x", single`},
		{path: "[\"é\"].single", text: "é x", line: 1, column: 3, want: "x'}"},
		{path: "block", text: "first\n\n  é x\n", line: 1, column: 2, want: "irst"},
		{path: "block", text: "first\n\n  é x\n", line: 3, column: 5, want: "x"},
		{path: "block", text: "first\n\n  é x\n", line: 9, column: 1, want: "|"},
		{path: "list[0].run", text: "x", line: 1, column: 1, want: "x"},
		{path: "list[0].folded", text: "a x\n", line: 1, column: 3, want: ">"},
		{path: "escaped", text: "a\tx", line: 1, column: 3, want: `"a\tx"`},
	}
	doc, err := document.Parse("f.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		line, column := doc.Within(test.path, test.text, test.line, test.column)
		there := string([]rune(strings.Split(file, "\n")[line-1])[column-1:])
		if !strings.HasPrefix(there, test.want) {
			t.Errorf("%s %d:%d is at %d:%d, before %q, want %q", test.path, test.line, test.column, line, column, there, test.want)
		}
	}
}
