package runner

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// maxEvent is the largest payload of an event that is read; GitHub's own limit
// is 25 MB.
const maxEvent = 32 << 20

// Event is what brought the run about. What the payload does not tell is zero.
type Event struct {
	Name string
	// Action tells kinds of one event apart: created, edited, opened.
	Action        string
	DefaultBranch string
	RepositoryID  int64
	Sender        string
	// Issue is the number of the issue or pull request that was commented on.
	Issue int
	// PullRequest is nil where the event is about none. Of one that was
	// commented on, the payload tells the number and the author only.
	PullRequest *PullRequest
	Comment     *Comment
}

// PullRequest is a pull request as the event's payload tells it.
type PullRequest struct {
	Number  int
	Author  string
	HeadSHA string
	// HeadRepositoryID is zero where that repository is gone.
	HeadRepositoryID, BaseRepositoryID int64
}

// Fork reports whether the head lies in another repository than the base. One
// that is not told counts as another.
func (p PullRequest) Fork() bool {
	return p.HeadRepositoryID == 0 || p.HeadRepositoryID != p.BaseRepositoryID
}

// Comment is one on an issue or a pull request.
type Comment struct {
	ID       int64
	Body     string
	Author   string
	AuthorID int64
	Created  time.Time
	Updated  time.Time
}

// payload is the part of GitHub's webhook payloads that is read.
type payload struct {
	Action     string
	Repository struct {
		ID            int64
		DefaultBranch string `json:"default_branch"`
	}
	Sender      account
	PullRequest *struct {
		Number     int
		User       account
		Head, Base struct {
			SHA  string
			Repo struct{ ID int64 }
		}
	} `json:"pull_request"`
	Issue *struct {
		Number      int
		User        account
		PullRequest *struct{} `json:"pull_request"`
	}
	Comment *struct {
		ID      int64
		Body    string
		User    account
		Created time.Time `json:"created_at"`
		Updated time.Time `json:"updated_at"`
	}
}

type account struct {
	Login string
	ID    int64
}

// Event reads the event's payload. Without a file there is only the name. The
// error says that a payload is too large or is not one.
func (e Env) Event() (Event, error) {
	if e.EventPath == "" {
		return Event{Name: e.EventName}, nil
	}
	data, err := readAtMost(e.EventPath, maxEvent)
	if err != nil {
		return Event{}, fmt.Errorf("event: %w", err)
	}
	var p payload
	if err := json.Unmarshal(data, &p); err != nil {
		return Event{}, fmt.Errorf("event %s in %s: %w", e.EventName, e.EventPath, err)
	}
	return p.event(e.EventName), nil
}

func (p payload) event(name string) Event {
	ev := Event{
		Name: name, Action: p.Action, Sender: p.Sender.Login,
		DefaultBranch: p.Repository.DefaultBranch, RepositoryID: p.Repository.ID,
	}
	if is := p.Issue; is != nil {
		ev.Issue = is.Number
		if is.PullRequest != nil {
			ev.PullRequest = &PullRequest{Number: is.Number, Author: is.User.Login}
		}
	}
	if pr := p.PullRequest; pr != nil {
		ev.PullRequest = &PullRequest{
			Number: pr.Number, Author: pr.User.Login, HeadSHA: pr.Head.SHA,
			HeadRepositoryID: pr.Head.Repo.ID, BaseRepositoryID: pr.Base.Repo.ID,
		}
	}
	if c := p.Comment; c != nil {
		ev.Comment = &Comment{
			ID: c.ID, Body: c.Body, Author: c.User.Login, AuthorID: c.User.ID, Created: c.Created, Updated: c.Updated,
		}
	}
	return ev
}

func readAtMost(path string, most int64) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	if data, err = io.ReadAll(io.LimitReader(f, most+1)); err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s: more than %d bytes", path, most)
	}
	return data, nil
}
