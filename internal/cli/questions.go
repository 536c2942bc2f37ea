package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// questions are asked on a terminal, one a line.
type questions struct {
	in  *bufio.Scanner
	out io.Writer
}

func newQuestions(in io.Reader, out io.Writer) *questions {
	return &questions{in: bufio.NewScanner(in), out: out}
}

// ask completes the flags that were not given.
func (c *initCmd) ask(q *questions) error {
	here := ""
	if dir, err := os.Getwd(); err == nil {
		here = filepath.Base(dir)
	}
	schema := ""
	if c.Schema != nil {
		schema = "given"
	}
	for _, question := range []struct {
		value  *string
		text   string
		preset string
		among  []string
	}{
		{&c.Service, "Name of the service", here, nil},
		{&c.Command, "What starts one instance; {revision} stands for the commit", "./releases/{revision}/" + here, nil},
		{&c.Strategy, "How a new version takes over", "canary", []string{"canary", "blue-green", "rolling"}},
		{&schema, "Do releases change a database's schema", "no", []string{"yes", "no"}},
		{&c.Gate, "What lets a new version take traffic", "environment", []string{"environment", "comment", "none"}},
		{&c.Health, "Path that answers once an instance is ready", "/healthz", nil},
	} {
		if *question.value != "" {
			continue
		}
		answer, err := q.ask(question.text, question.preset, question.among)
		if err != nil {
			return err
		}
		*question.value = answer
	}
	if c.Schema == nil {
		yes := schema == "yes"
		c.Schema = &yes
	}
	return nil
}

// ask asks until the answer is one of those that may be given; among is nil
// where every one may. An empty answer is the preset.
func (q *questions) ask(text, preset string, among []string) (string, error) {
	if among != nil {
		text += " (" + strings.Join(among, ", ") + ")"
	}
	for {
		if _, err := fmt.Fprintf(q.out, "%s [%s]: ", text, preset); err != nil {
			return "", fmt.Errorf("ask: %w", err)
		}
		if !q.in.Scan() {
			return "", &inputError{errors.Join(errors.New("init: the answers ended before the questions"), q.in.Err()), "answer them, or give the flags"}
		}
		answer := strings.TrimSpace(q.in.Text())
		if answer == "" {
			answer = preset
		}
		if answer != "" && (among == nil || slices.Contains(among, answer)) {
			return answer, nil
		}
	}
}
