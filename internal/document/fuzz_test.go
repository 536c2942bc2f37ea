package document_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gapless-deploy/gapless/internal/document"
)

// FuzzParse: whatever the bytes, reading ends without a panic and every fault
// lies inside the file.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "a", "---\na: 1\n---\nb: 2\n", "name: x\ncount: 010\n", "a: &x 1\nb: *x\n", "<<: {a: 1}\n",
		"a: !!str 5\n", "? [a]\n: 1\n", "%YAML 1.2\n---\na: 1\n", "a: |\n  text\n\tb: {", "name: \"é\u2028\xff\"",
		"a: [1, {b: 2}]\r\nb: 'x'\r\n", "step: {bake: 5m, bake: 6m}\nlist: [{bake: x}, 3]\n", "a:\n- b\n -c\n", "null: ~\n1: 2\n",
		"\ufeffname: a\n", strings.Repeat("[", 200), strings.Repeat("- ", 200), "a: >-\n  x\n\n  y\nb: \"x\n  y\"\nc: [\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := document.Parse("f.yaml", data)
		if err == nil {
			err = doc.Decode(&file{})
		}
		if err == nil {
			return
		}
		faults := document.FaultsOf(err)
		if len(faults) == 0 {
			t.Fatalf("an error that is not a fault: %v", err)
		}
		lines := bytes.Split(data, []byte("\n"))
		for _, fault := range faults {
			if fault.Line < 1 || fault.Line > len(lines) {
				t.Fatalf("line %d of a file of %d: %v", fault.Line, len(lines), fault)
			}
			if most := utf8.RuneCount(lines[fault.Line-1]) + 1; fault.Column < 1 || fault.Column > most {
				t.Fatalf("column %d of a line of %d: %v", fault.Column, most, fault)
			}
			if strings.Contains(fault.Error(), "\n") {
				t.Fatalf("a fault on two lines: %q", fault.Error())
			}
		}
	})
}
