// Package metadata writes what GitHub and people are told of the action,
// action.yml and the tables in the documentation, from the lists that the
// action reads by. Nothing that is shipped imports it.
package metadata

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/gapless-deploy/gapless/internal/forge/runner"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Files gives each file by its path from the repository's root, which is where
// the repository lies. Of documents only what is between the marks is
// written; one that has no marks is an error.
func Files(root string) (map[string][]byte, error) {
	action, err := actionFile()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"action.yml": action}
	for _, doc := range []struct {
		file  string
		parts map[string]string
	}{
		{"README.md", map[string]string{"inputs": briefly()}},
		{"docs/reference/action.md", map[string]string{"inputs": inputs(), "outputs": outputs()}},
	} {
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(doc.file)))
		if err != nil {
			return nil, err
		}
		for name, text := range doc.parts {
			if data, err = between(data, name, text); err != nil {
				return nil, fmt.Errorf("%s: %w", doc.file, err)
			}
		}
		files[doc.file] = data
	}
	return files, nil
}

// between puts a text between the marks of a name.
func between(data []byte, name, text string) ([]byte, error) {
	begin, end := "<!-- "+name+": written by make generate -->\n", "<!-- end of "+name+" -->\n"
	before, rest, ok := bytes.Cut(data, []byte(begin))
	_, after, ended := bytes.Cut(rest, []byte(end))
	if !ok || !ended {
		return nil, fmt.Errorf("the marks %q and %q are missing", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return bytes.Join([][]byte{before, []byte(begin), []byte("\n" + text + "\n"), []byte(end), after}, nil), nil
}

func actionFile() ([]byte, error) {
	given, told := yaml.MapSlice{}, yaml.MapSlice{}
	for _, in := range runner.Inputs() {
		value := yaml.MapSlice{{Key: "description", Value: in.Description}, {Key: "required", Value: in.Required}}
		if in.Default != "" {
			value = append(value, yaml.MapItem{Key: "default", Value: in.Default})
		}
		given = append(given, yaml.MapItem{Key: in.Name, Value: value})
	}
	for _, out := range runner.Outputs() {
		told = append(told, yaml.MapItem{Key: out.Name, Value: yaml.MapSlice{{Key: "description", Value: out.Description}}})
	}
	data, err := yaml.MarshalWithOptions(yaml.MapSlice{
		{Key: "name", Value: "Gapless"},
		{Key: "description", Value: "Release a new version of a service, and the schema change it needs, without a gap in service"},
		{Key: "author", Value: "gapless-deploy"},
		{Key: "branding", Value: yaml.MapSlice{{Key: "icon", Value: "git-merge"}, {Key: "color", Value: "green"}}},
		{Key: "inputs", Value: given},
		{Key: "outputs", Value: told},
		{Key: "runs", Value: yaml.MapSlice{
			{Key: "using", Value: "docker"}, {Key: "image", Value: "Dockerfile"}, {Key: "args", Value: []string{"action"}},
			{Key: "post-entrypoint", Value: "/gapless-post"}, // runs always: that is the default of post-if
		}},
	}, yaml.Indent(2), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("action.yml: %w", err)
	}
	return append([]byte("# Written by make generate from the lists in internal/forge/runner.\n"), data...), nil
}

// briefly is the table of inputs in few words.
func briefly() string {
	var b strings.Builder
	b.WriteString("| input | is |\n| --- | --- |\n")
	for _, in := range runner.Inputs() {
		first, _, _ := strings.Cut(in.Description, ". ")
		fmt.Fprintf(&b, "| `%s` | %s |\n", in.Name, strings.TrimSuffix(first, ".")+fallback(in))
	}
	return b.String()
}

func fallback(in runner.Input) string {
	switch {
	case in.Required:
		return " (required)"
	case in.Default == "":
		return ""
	}
	return fmt.Sprintf(" (default `%s`)", in.Default)
}

func inputs() string {
	var b strings.Builder
	b.WriteString("| input | for | default | is |\n| --- | --- | --- | --- |\n")
	for _, in := range runner.Inputs() {
		preset := "none"
		if in.Default != "" {
			preset = "`" + in.Default + "`"
		}
		if in.Required {
			preset = "required"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", in.Name, takers(in.For), preset, in.Description)
	}
	return b.String()
}

func takers(phases []rollout.Phase) string {
	if phases == nil {
		return "every phase"
	}
	names := make([]string, len(phases))
	for i, p := range phases {
		names[i] = string(p)
	}
	return strings.Join(names, ", ")
}

func outputs() string {
	var b strings.Builder
	b.WriteString("| output | is |\n| --- | --- |\n")
	for _, out := range runner.Outputs() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", out.Name, out.Description)
	}
	return b.String()
}
