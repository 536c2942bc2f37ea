package results

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestWhereTheServiceIs(t *testing.T) {
	const address = "https://results.example/with/a/path?x=1"
	for name, c := range map[string]struct {
		server, url string
		want        string // the origin, or part of the error
	}{
		"github.com":                  {"https://github.com", address, "https://results.example"},
		"nothing said is github.com":  {"", address, "https://results.example"},
		"in capitals":                 {"https://GitHub.com", address, "https://results.example"},
		"a tenant with its data":      {"https://octo.ghe.com", address, "https://results.example"},
		"GitHub's own machines":       {"http://github.localhost", address, "https://results.example"},
		"a port":                      {"https://github.com:443", "http://127.0.0.1:8080/", "http://127.0.0.1:8080"},
		"Enterprise Server":           {"https://github.corp.example", address, "`state: DIRECTORY` on one persistent runner"},
		"Enterprise Server's name":    {"https://github.corp.example", address, "github.corp.example is a GitHub Enterprise Server"},
		"a name that looks like it":   {"https://notgithub.com", address, "`state: s3`"},
		"a name that ends like it":    {"https://evilghe.com", address, "Enterprise Server"},
		"no address of the service":   {"https://github.com", "", "ACTIONS_RESULTS_URL is missing"},
		"what to do without":          {"https://github.com", "", "`state: s3`"},
		"an address that is none":     {"https://github.com", "results.example", "no http or https address"},
		"an address of another kind":  {"https://github.com", "ftp://results.example", "no http or https address"},
		"an address without its host": {"https://github.com", "https://", "no http or https address"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := origin(c.server, c.url)
			if err != nil {
				got = err.Error()
			}
			if strings.HasPrefix(c.want, "http") && got != c.want || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func token(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func TestIDsOfTheToken(t *testing.T) {
	for name, c := range map[string]struct {
		token string
		want  ids
		fault string
	}{
		"among other scopes": {token(`{"scp":"Actions.Example Actions.Results:run-1:job-2 Actions.UploadArtifacts:run-9/job-9"}`), ids{"run-1", "job-2"}, ""},
		"with padding":       {strings.Replace(token(`{"scp":"Actions.Results:run-1:job-2"}`), ".c2ln", "==.c2ln", 1), ids{"run-1", "job-2"}, ""},
		"nothing":            {"", ids{}, "missing"},
		"no token":           {"secret", ids{}, "missing"},
		"no base64":          {"e30.secret!.c2ln", ids{}, "base64"},
		"no JSON":            {token("secret"), ids{}, "JSON"},
		"no scope":           {token(`{"scp":"Actions.Example"}`), ids{}, "Actions.Results"},
		"a scope cut short":  {token(`{"scp":"Actions.Results:secret"}`), ids{}, "Actions.Results"},
		"an empty id":        {token(`{"scp":"Actions.Results::secret"}`), ids{}, "Actions.Results"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := idsOf(c.token)
			if got != c.want || (err == nil) != (c.fault == "") {
				t.Fatalf("got %v, %v, want %v, %q", got, err, c.want, c.fault)
			}
			if err != nil && (!strings.Contains(err.Error(), c.fault) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("error %v, want %q in it and nothing of the token", err, c.fault)
			}
		})
	}
}

func TestAnswersInEitherCase(t *testing.T) {
	for name, data := range map[string]string{
		"snake_case": `{"artifacts":[{"workflow_run_backend_id":"r","workflow_job_run_backend_id":"j","name":"a_b C","size":"12345678901","digest":"sha256:ab"}]}`,
		"camelCase":  `{"artifacts":[{"workflowRunBackendId":"r","workflowJobRunBackendId":"j","name":"a_b C","size":12345678901,"digest":"sha256:ab"}]}`,
	} {
		var got listAnswer
		if err := decode([]byte(data), &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(got.Artifacts) != 1 {
			t.Fatalf("%s: %d artifacts", name, len(got.Artifacts))
		}
		a := got.Artifacts[0]
		if a.Run != "r" || a.Job != "j" || a.Name != "a_b C" || a.Digest != "sha256:ab" {
			t.Errorf("%s: %+v", name, a)
		}
	}
}
