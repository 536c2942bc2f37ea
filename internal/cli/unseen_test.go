package cli

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// unseen: unseen TEXT wants some of the records, comments and outputs to hold a
// text, and none the secret that a service has said.
func unseen(ts *testscript.TestScript, _ bool, args []string) {
	h := hubOf(ts)
	var all []string
	for _, run := range h.runs {
		for _, a := range run.Artifacts() {
			all = append(all, unpacked(ts, a.Content()))
		}
	}
	for _, c := range h.repo.Comments(h.pull.Number) {
		all = append(all, c.Body())
	}
	for _, file := range []string{"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"} {
		data, err := os.ReadFile(ts.Getenv(file))
		ts.Check(err)
		all = append(all, string(data))
	}
	found := 0
	for _, text := range all {
		if strings.Contains(text, args[0]) {
			found++
		}
		if strings.Contains(text, "bytes") || strings.Contains(text, "more, at least") {
			ts.Fatalf("the secret is in %s", text)
		}
	}
	if found < 3 {
		ts.Fatalf("%q is in %d of %d texts", args[0], found, len(all))
	}
}

// unpacked is what the files of an archive hold.
func unpacked(ts *testscript.TestScript, packed []byte) string {
	archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	ts.Check(err)
	var text strings.Builder
	for _, f := range archive.File {
		r, err := f.Open()
		ts.Check(err)
		_, err = io.Copy(&text, r)
		ts.Check(err)
		ts.Check(r.Close())
	}
	return text.String()
}
