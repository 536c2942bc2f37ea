package results

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// errElsewhere ends what is said where the service is not there.
var errElsewhere = errors.New("use `state: s3` (later), or `state: DIRECTORY` on one persistent runner")

// origin gives the service's scheme and host, and refuses where there is none:
// GitHub Enterprise Server keeps no artifacts of this protocol. It is told by
// the server's host, as actions/toolkit does (isGhes).
func origin(server, service string) (string, error) {
	if server == "" {
		server = "https://github.com"
	}
	host, err := url.Parse(server)
	if err != nil {
		return "", fmt.Errorf("GITHUB_SERVER_URL: %w", err)
	}
	name := strings.ToLower(host.Hostname())
	if name != "github.com" && !strings.HasSuffix(name, ".ghe.com") && !strings.HasSuffix(name, ".localhost") {
		return "", fmt.Errorf("%s is a GitHub Enterprise Server, which cannot keep records as artifacts: %w", name, errElsewhere)
	}
	if service == "" {
		return "", fmt.Errorf("ACTIONS_RESULTS_URL is missing, records cannot be kept as artifacts: %w", errElsewhere)
	}
	u, err := url.Parse(service)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", errors.New("ACTIONS_RESULTS_URL is no http or https address")
	}
	return u.Scheme + "://" + u.Host, nil
}

// ids names the run and the job whose token it is, as the service does.
type ids struct {
	Run string `json:"workflow_run_backend_id"`
	Job string `json:"workflow_job_run_backend_id"`
}

// idsOf reads the token's scopes. Its signature is the service's affair.
func idsOf(token string) (ids, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ids{}, errors.New("ACTIONS_RUNTIME_TOKEN is missing, or no token: artifacts are kept from within a job of GitHub Actions")
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return ids{}, errors.New("ACTIONS_RUNTIME_TOKEN: its claims are not base64")
	}
	var claims struct {
		Scopes string `json:"scp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return ids{}, errors.New("ACTIONS_RUNTIME_TOKEN: its claims are not JSON")
	}
	for scope := range strings.FieldsSeq(claims.Scopes) {
		if p := strings.Split(scope, ":"); len(p) == 3 && p[0] == "Actions.Results" && p[1] != "" && p[2] != "" {
			return ids{Run: p[1], Job: p[2]}, nil
		}
	}
	return ids{}, errors.New("ACTIONS_RUNTIME_TOKEN: no scope Actions.Results:RUN:JOB, so this job may keep no artifacts")
}
