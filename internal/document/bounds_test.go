package document_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/document"
)

// TestBounds: what would exhaust the parser's stack or its time is refused, and
// what a person may write is not.
func TestBounds(t *testing.T) {
	fill := func(head, unit, tail string) string {
		return head + strings.Repeat(unit, (document.MaxSize-len(head)-len(tail))/len(unit)) + tail
	}
	var steps, keys strings.Builder
	for i := range 400 {
		fmt.Fprintf(&steps, "%sa:\n", strings.Repeat(" ", i))
	}
	for i := range 5000 {
		fmt.Fprintf(&keys, "k%d: 1\n", i)
	}
	deep, many := "nested deeper than 64 levels", "file has more than 5000 keys"
	for name, tc := range map[string]struct{ text, want string }{
		"lists in lists":         {fill("", "[", ""), deep},
		"mappings in mappings":   {fill("", "{a: ", ""), deep},
		"dashes on a line":       {fill("", "- ", ""), deep},
		"question marks":         {fill("", "? ", ""), deep},
		"keys on a line":         {fill("", "a: ", ""), deep},
		"keys in a list":         {fill("[", "a: ", "]"), deep},
		"anchors":                {fill("a: ", "&a ", "1"), deep},
		"tags":                   {fill("a: ", "!a ", "1"), deep},
		"indentation":            {steps.String(), deep},
		"keys":                   {fill("", "a: 1\n", ""), many},
		"keys below a key":       {fill("a:\n", " b:\n  c: 1\n", ""), many},
		"size":                   {fill("", "# comment\n", "") + strings.Repeat("#", 10), "at most 262144 are read"},
		"as many keys as may be": {keys.String(), `unknown key "k4999"`},
		"64 levels":              {"any: " + strings.Repeat("[", 64) + strings.Repeat("]", 64) + "\n", `missing key "name"`},
		"a long text":            {fill("name: \"", "x ", "\""), ""},
		"a long list":            {fill("name: x\nany: [", "1,\n", "1]"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode(t, tc.text)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("want %q, got %.300v", tc.want, err)
			}
		})
	}
}
