package pgtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	debian := map[string]string{ // bin directory: what its postgres says
		"/usr/lib/postgresql/9/bin":  "postgres (PostgreSQL) 9.6.24",
		"/usr/lib/postgresql/15/bin": "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
		"/usr/lib/postgresql/17/bin": "postgres (PostgreSQL) 17.4",
	}
	inPath := map[string]string{"/opt/pg/bin": "postgres (PostgreSQL) 18beta1"}
	absent := errors.New("is not there")
	tests := map[string]struct {
		url         string
		debian      map[string]string
		path        map[string]string
		noInitdb    string // bin directory without initdb
		noNPM       bool
		noAPT       bool
		major       int
		want        string
		wantInError []string
	}{
		"a server that is named comes first": {url: "postgres://x/y", debian: debian, path: inPath, want: "postgres://x/y"},
		"newest of Debian's before PATH":     {debian: debian, path: inPath, want: "/usr/lib/postgresql/17/bin 17"},
		"without initdb it is no server": {
			debian: debian, noInitdb: "/usr/lib/postgresql/17/bin", want: "/usr/lib/postgresql/15/bin 15",
		},
		"PATH before npm":                {path: inPath, want: "/opt/pg/bin 18"},
		"npm before apt":                 {want: "npm 0"},
		"apt last":                       {noNPM: true, want: "apt 0"},
		"an older major":                 {debian: debian, path: inPath, major: 15, want: "/usr/lib/postgresql/15/bin 15"},
		"a major of PATH":                {debian: debian, path: inPath, major: 18, want: "/opt/pg/bin 18"},
		"a major that only npm has":      {debian: debian, path: inPath, major: 16, want: "npm 16"},
		"too old to be used":             {debian: map[string]string{"/usr/lib/postgresql/9/bin": debian["/usr/lib/postgresql/9/bin"]}, want: "npm 0"},
		"too old even when asked for it": {debian: debian, major: 9, noNPM: true, want: "apt 9"},
		"an error names every source": {
			debian: debian, major: 16, noNPM: true, noAPT: true, wantInError: []string{
				"/usr/lib/postgresql/17/bin has version 17, wanted is 16", "npm: is not there", "apt: is not there",
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := made(test.debian, test.path, test.noInitdb)
			e.getenv = func(name string) string { return map[string]string{EnvURL: test.url}[name] }
			e.npm, e.apt = download("npm", test.noNPM, absent), download("apt", test.noAPT, absent)

			var log strings.Builder
			found, err := choose(t.Context(), e, test.major, &log)
			if len(test.wantInError) > 0 {
				for _, part := range test.wantInError {
					if err == nil || !strings.Contains(err.Error(), part) {
						t.Errorf("error %v, want %q in it", err, part)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := found.url
			if got == "" {
				got = fmt.Sprintf("%s %d", found.bin, found.major)
			}
			if got != test.want {
				t.Errorf("chosen %s, want %s", got, test.want)
			}
			if strings.Count(log.String(), "\n") != 1 {
				t.Errorf("choice told as %q, want one line", log.String())
			}
		})
	}
}

// made returns an environment with these bin directories.
func made(debian, path map[string]string, noInitdb string) environment {
	told := map[string]string{}
	for _, dirs := range []map[string]string{debian, path} {
		for dir, version := range dirs {
			told[dir+"/postgres"] = version
			if dir != noInitdb {
				told[dir+"/initdb"] = version
			}
		}
	}
	return environment{
		glob: func(string) ([]string, error) {
			var dirs []string
			for dir := range debian {
				dirs = append(dirs, dir)
			}
			return dirs, nil
		},
		lookPath: func(file string) (string, error) {
			for dir := range path {
				if file == "postgres" {
					return dir + "/postgres", nil
				}
			}
			if _, ok := told[file]; !ok {
				return "", fmt.Errorf("no %s", file)
			}
			return file, nil
		},
		version: func(_ context.Context, postgres string) (string, error) { return told[postgres], nil },
	}
}

func download(name string, fails bool, failure error) func(context.Context, int) (binaries, error) {
	return func(_ context.Context, major int) (binaries, error) {
		if fails {
			return binaries{}, failure
		}
		return binaries{bin: name, major: major}, nil
	}
}

func TestParseMajorRefusesOtherPrograms(t *testing.T) {
	for _, told := range []string{"", "postgres 17", "psql (PostgreSQL) beta"} {
		if major, err := parseMajor(told); err == nil {
			t.Errorf("%q is taken for version %d", told, major)
		}
	}
}

func TestWantedMajor(t *testing.T) {
	for value, want := range map[string]int{"": 0, "17": 17} {
		t.Setenv(EnvMajor, value)
		if got, err := wantedMajor(); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", value, got, err, want)
		}
	}
	for _, value := range []string{"17.4", "-1", "new"} {
		t.Setenv(EnvMajor, value)
		if _, err := wantedMajor(); err == nil {
			t.Errorf("%q is accepted", value)
		}
	}
}
