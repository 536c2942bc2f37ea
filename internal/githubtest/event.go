package githubtest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// event is the payload of the run's event, as in "Webhook events and
// payloads".
func (run *Run) event() []byte {
	repo, s := run.repo, run.s
	payload := object{"repository": repo.view(), "sender": s.userView(s.user(run.spec.Actor))}
	switch run.spec.Event {
	case Push:
		commit := object{"id": run.sha, "message": "commit", "timestamp": run.created.Format(time.RFC3339),
			"author": object{"name": run.spec.Actor, "username": run.spec.Actor}}
		payload["ref"], payload["before"], payload["after"] = run.ref, strings.Repeat("0", len(run.sha)), run.sha
		payload["created"], payload["deleted"], payload["forced"] = false, false, false
		payload["head_commit"], payload["commits"] = commit, []object{commit}
		payload["pusher"] = object{"name": run.spec.Actor}
	case OnPullRequest:
		pull := run.spec.PullRequest
		payload["action"], payload["number"], payload["pull_request"] = "synchronize", pull.Number, pull.view()
	case IssueComment:
		payload["action"], payload["comment"] = "created", run.spec.Comment.view()
		payload["issue"] = repo.issueView(run.spec.Comment.Number)
	case Schedule:
		payload["schedule"] = run.spec.Cron
	case WorkflowDispatch:
		inputs := object{}
		for name, value := range run.spec.Inputs {
			inputs[name] = value
		}
		payload["inputs"], payload["ref"], payload["workflow"] = inputs, run.ref, run.spec.Workflow
	}
	encoded, err := json.Marshal(payload)
	if err != nil {
		s.tb.Fatalf("githubtest: event: %v", err)
	}
	return encoded
}

// issueView is the issue of an event; one of a pull request says so.
func (r *Repository) issueView(number int) object {
	url := fmt.Sprintf("%s/issues/%d", r.url(), number)
	view := object{"number": number, "url": url, "comments_url": url + "/comments", "state": "open", "locked": false,
		"title": "An issue", "html_url": fmt.Sprintf("%s/issues/%d", r.htmlURL(), number)}
	if p := r.pulls[number]; p != nil {
		view["title"], view["user"], view["html_url"], view["draft"] = p.title, r.s.userView(p.author), p.htmlURL(), p.draft
		if p.mergeSHA != "" {
			view["state"] = "closed"
		}
		view["pull_request"] = object{"url": p.url(), "html_url": p.htmlURL(), "merged_at": p.view()["merged_at"]}
	}
	return view
}
