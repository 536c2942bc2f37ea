package kubernetes

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestDiagnose(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		pod string
		log string // whose log is wanted
		// want is what is said of it.
		want string
	}{
		"memory": {
			`{"spec": {"containers": [{"name": "web", "resources": {"limits": {"memory": "64Mi"}}}]},
			"status": {"containerStatuses": [{"name": "web", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
			"lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]}}`,
			"", "container web was ended by the node: it took more memory than its limit of 64Mi (OOMKilled), after 3 restarts",
		},
		"crash loop": {
			`{"status": {"containerStatuses": [{"name": "web", "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
			"lastState": {"terminated": {"reason": "Error", "exitCode": 2}}}]}}`,
			"web", "container web ended with status 2, after a restart",
		},
		"sidecar": {
			`{"status": {"containerStatuses": [{"name": "web", "ready": true, "state": {"running": {}}},
			{"name": "proxy", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}]}}`,
			"proxy", "container proxy ended with status 0",
		},
		"init container that has done its work": {
			`{"status": {"initContainerStatuses": [{"name": "prepare", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}],
			"containerStatuses": [{"name": "web", "state": {"waiting": {"reason": "PodInitializing"}}}]}}`,
			"", "starting",
		},
		"name of an image": {
			`{"status": {"containerStatuses": [{"name": "web", "image": "Web:1", "state": {"waiting": {"reason": "InvalidImageName",
			"message": "couldn't parse image name\n  \"Web:1\""}}}]}}`,
			"", `container web: image Web:1 cannot be had: InvalidImageName: couldn't parse image name "Web:1"`,
		},
		"eviction": {
			`{"status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}}`,
			"", "the node ended it: Evicted: The node was low on resource: memory.",
		},
		"readiness gate": {
			`{"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady",
			"message": "corresponding condition of pod readiness gate \"lb\" does not exist."}],
			"containerStatuses": [{"name": "web", "ready": true, "state": {"running": {}}}]}}`,
			"", `a readiness gate holds it back: corresponding condition of pod readiness gate "lb" does not exist.`,
		},
		"long message": {
			`{"status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "` + strings.Repeat("ä", 400) + `"}]}}`,
			"", "no node can take it: " + strings.Repeat("ä", 300) + " ...",
		},
	} {
		var one pod
		if err := json.Unmarshal([]byte(test.pod), &one); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := diagnose(one); got.text != test.want || got.log != test.log {
			t.Errorf("%s: said is %q with the log of %q,\nwant %q with that of %q", name, got.text, got.log, test.want, test.log)
		}
	}
}

func TestMasked(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"dial postgres://shop:hunter2@db:5432/shop: refused": "dial postgres://***@db:5432/shop: refused",
		`level=error msg="no" DB_PASSWORD=hunter2 port=80`:   `level=error msg="no" DB_PASSWORD=*** port=80`,
		`{"api_key": "hunter2", "path": "/"}`:                `{"api_key": ***, "path": "/"}`,
		"Authorization: Bearer hunter2hunter2":               "Authorization: Bearer ***",
		"with eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln":     "with ***",
		"listen tcp :8080: address already in use":           "listen tcp :8080: address already in use",
	} {
		if got := masked(text); got != want {
			t.Errorf("of %q is left %q, want %q", text, got, want)
		}
	}
}
