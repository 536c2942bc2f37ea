package api_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

func TestEndpoint(t *testing.T) {
	for _, c := range []struct{ address, network, target, fault string }{
		{"http://127.0.0.1:7070", "tcp", "127.0.0.1:7070", ""},
		{"http://127.0.0.1:7070/", "tcp", "127.0.0.1:7070", ""},
		{"[::1]:7070", "tcp", "[::1]:7070", ""},
		{":7070", "tcp", ":7070", ""}, // whether it is loopback is the agent's question
		{"unix:///run/gapless/agent.sock", "unix", "/run/gapless/agent.sock", ""},
		{"unix:/run/agent.sock", "unix", "/run/agent.sock", ""},
		{"unix://", "", "", "must name a socket"},
		{"https://172.17.0.1:7071", "tls", "172.17.0.1:7071", ""},
		{"https://172.17.0.1", "", "", "must be http://HOST:PORT"},
		{"ftp://127.0.0.1:7070", "", "", "must be http://HOST:PORT"},
		{"http://127.0.0.1", "", "", "must be http://HOST:PORT"},
		{"http://127.0.0.1:7070?x=1", "", "", "must be http://HOST:PORT"},
		{"", "", "", "must be http://HOST:PORT"},
	} {
		network, target, err := api.Endpoint(c.address)
		if network != c.network || target != c.target || (err == nil) != (c.fault == "") {
			t.Errorf("%q: %q %q %v, want %q %q", c.address, network, target, err, c.network, c.target)
		}
		if err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%q: %v, want it to say %q", c.address, err, c.fault)
		}
	}
}

func TestDurationsAreWrittenAsText(t *testing.T) {
	raw, err := json.Marshal(api.Retire{IfToken: "t", Drain: api.Duration(90 * time.Second)})
	if err != nil || string(raw) != `{"if_token":"t","drain":"1m30s"}` {
		t.Errorf("%s, %v", raw, err)
	}
	for text, fault := range map[string]string{`{"drain":30}`: "must be text", `{"drain":"30"}`: "a number and a unit"} {
		var order api.Retire
		if err := json.Unmarshal([]byte(text), &order); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: %v, want it to say %q", text, err, fault)
		}
	}
}

func TestDurationBoundsRiseWithoutAGap(t *testing.T) {
	bounds := api.DurationBounds()
	if bounds[0] != time.Millisecond || bounds[len(bounds)-1] != 10*time.Second {
		t.Errorf("from %s to %s", bounds[0], bounds[len(bounds)-1])
	}
	for i := 1; i < len(bounds); i++ {
		if ratio := float64(bounds[i]) / float64(bounds[i-1]); ratio < 1.57 || ratio > 1.60 {
			t.Errorf("%s is followed by %s", bounds[i-1], bounds[i])
		}
	}
}

func TestATokenIsReadFromAFileThatIsNotOpenToAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	for _, c := range []struct {
		text  string
		mode  os.FileMode
		fault string
	}{
		{"0123456789abcdef\n", 0o600, ""},
		{"0123456789abcdef\n", 0o640, ""},
		{"0123456789abcdef\n", 0o644, "open to everybody (mode 0644)"},
		{"short\n", 0o600, "5 characters, must be at least 16"},
	} {
		if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		token, err := api.ReadToken(path)
		if c.fault == "" && (err != nil || token != "0123456789abcdef") {
			t.Errorf("mode %04o: %q, %v", c.mode, token, err)
		}
		if c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("mode %04o: %v, want it to say %q", c.mode, err, c.fault)
		}
	}
}
