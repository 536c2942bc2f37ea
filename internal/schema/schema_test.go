package schema_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/schema"
)

const root = "../.."

// TestEveryKeyIsDescribed: an editor has something to show for each key.
func TestEveryKeyIsDescribed(t *testing.T) {
	files, err := schema.Files(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		described(t, name, document)
	}
}

func described(t *testing.T, at string, value any) {
	t.Helper()
	object, ok := value.(map[string]any)
	if !ok {
		return
	}
	if properties, ok := object["properties"].(map[string]any); ok {
		for key, property := range properties {
			if text, ok := property.(map[string]any)["description"].(string); !ok || text == "" {
				t.Errorf("%s: key %s has no description", at, key)
			}
		}
	}
	for key, inner := range object {
		described(t, at+"/"+key, inner)
	}
}

// reader is how a file is read, and the schema that stands for it in editors.
type reader struct {
	parse  func(data []byte) error
	schema *jsonschema.Schema
}

func readers(t *testing.T) (ofConfig, ofChange reader) {
	t.Helper()
	compile := func(name string) *jsonschema.Schema {
		s, err := jsonschema.NewCompiler().Compile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	return reader{
			parse:  func(data []byte) error { _, err := config.Parse("gapless.yaml", data); return err },
			schema: compile("gapless.schema.json"),
		}, reader{
			parse:  func(data []byte) error { _, err := change.Accepted("change.yaml", data); return err },
			schema: compile("change.schema.json"),
		}
}

func (r reader) validate(data []byte) error {
	asJSON, err := yaml.YAMLToJSON(data)
	if err != nil {
		return err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return err
	}
	return r.schema.Validate(document)
}

func TestExamplesAreValid(t *testing.T) {
	ofConfig, ofChange := readers(t)
	for file, r := range map[string]reader{
		"../config/testdata/gapless.yaml": ofConfig, "testdata/change.yaml": ofChange,
	} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.parse(data); err != nil {
			t.Errorf("%s is refused: %v", file, err)
		}
		if err := r.validate(data); err != nil {
			t.Errorf("%s does not match its schema: %v", file, err)
		}
	}
}

// TestSchemaAgreesWithTheReader breaks the form of one value at a time; what the
// reader refuses, an editor underlines.
func TestSchemaAgreesWithTheReader(t *testing.T) {
	ofConfig, ofChange := readers(t)
	for _, tc := range []struct {
		in       string
		from, to string // text of the example, and what takes its place
		accepted bool
	}{
		{in: "config", from: "service: address-book\n", to: ""},
		{in: "config", from: "service: address-book", to: "service: Address Book"},
		{in: "config", from: "service: address-book", to: "service: 7"},
		{in: "config", from: "drain: 30s", to: "drian: 30s"},
		{in: "config", from: "drain: 30s", to: "drain: 30"},
		{in: "config", from: "drain: 30s", to: "drain: 30 s"},
		{in: "config", from: "drain: 30s", to: "drain: -30s"},
		{in: "config", from: "drain: 30s", to: "drain:"},
		{in: "config", from: "drain: 30s", to: "drain: 0", accepted: true},
		{in: "config", from: "rollback_window: 24h", to: "rollback_window: 1d12h", accepted: true},
		{in: "config", from: "traffic: http", to: "traffic: tcp"},
		{in: "config", from: "instances: 3", to: "instances: 0"},
		{in: "config", from: "instances: 3", to: "instances: 101"},
		{in: "config", from: "instances: 3", to: "instances: \"3\""},
		{in: "config", from: "instances: 3", to: "instances: 1.5"},
		{in: "config", from: "instances: 3", to: "env: {A: 1}"},
		{in: "config", from: "instances: 3", to: "env: {A: \"1\"}", accepted: true},
		{in: "config", from: "health: /healthz", to: "health: healthz"},
		{in: "config", from: "    health: /healthz\n", to: ""},
		{in: "config", from: "port_env: PORT", to: "port_env: \"80\""},
		{in: "config", from: `command: ["./releases/{revision}/address-book"]`, to: "command: []"},
		{in: "config", from: `command: ["./releases/{revision}/address-book"]`, to: "command: ./releases/{revision}"},
		{in: "config", from: "http://127.0.0.1:7070", to: "ftp://127.0.0.1:7070"},
		{in: "config", from: "target:      ", to: "target: {} #"},
		{in: "config", from: "  # lambda:", to: "  lambda:"},
		{in: "config", from: "  canary: {steps: [1, 5, 25, 50, 100], bake: 5m, bake_limit: 30m, settle: 30s}\n", to: "  {}\n"},
		{in: "config", from: "[1, 5, 25, 50, 100]", to: "[]"},
		{in: "config", from: "[1, 5, 25, 50, 100]", to: "[0, 100]"},
		{in: "config", from: "[1, 5, 25, 50, 100]", to: "[5, 101]"},
		{in: "config", from: "[1, 5, 25, 50, 100]", to: "[\"5\", 100]"},
		{in: "config", from: "[1, 5, 25, 50, 100]", to: "100"},
		{in: "config", from: "[1, 5, 25, 50, 100]", to: "[0.1, 100]", accepted: true},
		{in: "config", from: "status: 200", to: "status: 99"},
		{in: "config", from: "status: 200", to: "status: ok"},
		{in: "config", from: "get: /healthz, ", to: ""},
		{in: "config", from: `{get: "/addresses/{1..50}"}`, to: "/addresses"},
		{in: "config", from: "https://addresses", to: "//addresses"},
		{in: "config", from: "worse_by: 0.1pp", to: "worse_by: 0.1"},
		{in: "config", from: "worse_by: 0.1pp", to: "worse_by: 0.1%"},
		{in: "config", from: "cpu: {ratio: 1.5}", to: "cpu: {ratio: 1}"},
		{in: "config", from: "cpu: {ratio: 1.5}", to: "cpu: 1.5"},
		{in: "config", from: "min_requests: 150", to: "min_requests: 0"},
		{in: "config", from: "url_env: DATABASE_URL", to: "url_env: postgres://u:p@h/d"},
		{in: "config", from: "  url_env: DATABASE_URL\n", to: ""},
		{in: "config", from: "[db/changes/0007-split-street.yaml]", to: "[a.yaml, a.yaml]"},
		{in: "config", from: "[db/changes/0007-split-street.yaml]", to: "[7]"},
		{in: "config", from: "{environment: production}", to: "{}"},
		{in: "config", from: "{environment: production}", to: "{environment: \"\"}"},
		{in: "config", from: "{environment: production}", to: "{environment: a, comment: admin}"},
		{in: "config", from: "{environment: production}", to: "{comment: read}"},
		{in: "config", from: "{environment: production}", to: "{comment: admin}", accepted: true},
		{in: "config", from: "on_cancel: rollback", to: "on_cancel: true"},

		{in: "change", from: "name: split street into name and number\n", to: ""},
		{in: "change", from: "table: address", to: "table: \"\""},
		{in: "change", from: "table: address", to: "tabel: address"},
		{in: "change", from: "{name: street_name, type: text}", to: "{name: street_name}"},
		{in: "change", from: "{name: street_name, type: text}", to: "{name: 7, type: text}"},
		{in: "change", from: "{columns: [street_name]}", to: "{columns: []}"},
		{in: "change", from: "{columns: [street_name]}", to: "{columns: street_name}"},
		{in: "change", from: "- create_index: {columns: [street_name]}", to: "- {}"},
		{in: "change", from: "- create_index: {columns: [street_name]}", to: "- drop_table: {}"},
		{in: "change", from: "lossy_max: 0", to: "lossy_max: -1"},
		{in: "change", from: "lossy_max: 0", to: "lossy_max: none"},
		{in: "change", from: "quiet_for: 24h", to: "quiet_for: a day"},
		{in: "change", from: "quiet_for: 24h", to: "quiet_for: 1d", accepted: true},
		{in: "change", from: "drop_column: street", to: "drop_column: [street]"},
	} {
		t.Run(tc.in+" "+tc.from+" as "+tc.to, func(t *testing.T) {
			file, r := "../config/testdata/gapless.yaml", ofConfig
			if tc.in == "change" {
				file, r = "testdata/change.yaml", ofChange
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(data), tc.from) {
				t.Fatalf("%s has no %q", file, tc.from)
			}
			data = []byte(strings.Replace(string(data), tc.from, tc.to, 1))
			if err := r.parse(data); (err == nil) != tc.accepted {
				t.Errorf("reader: want accepted %v, got %v", tc.accepted, err)
			}
			if err := r.validate(data); (err == nil) != tc.accepted {
				t.Errorf("schema: want accepted %v, got %v", tc.accepted, err)
			}
		})
	}
}
