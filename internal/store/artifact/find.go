package artifact

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-github/v90/github"

	"github.com/gapless-deploy/gapless/internal/store/artifact/results"
)

// item is an artifact as it is listed.
type item struct {
	name, run string
	place     place
	digest    string // empty where it is not told
	expired   bool
	expires   time.Time // zero where it is not told
	// address gives where its zip file is, signed for a while; errGone where it
	// is there no more.
	address func(context.Context) (string, error)
}

func (i item) String() string { return i.name + " of run " + i.run }

// gone tells what became of an artifact that cannot be had any more.
func (i item) gone(now time.Time) string {
	if !i.expires.IsZero() && !now.Before(i.expires) {
		return fmt.Sprintf("%s expired at %s", i, i.expires.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("%s has expired or was deleted", i)
}

// source lists the artifacts of one run.
type source struct {
	run string
	// list gives those called name, or all where it is empty.
	list func(ctx context.Context, name string) ([]item, error)
}

// records gives the service's records, at one place unless at is zero. That
// they have another name than the first is rare, so this is asked for first.
func (f source) records(ctx context.Context, service string, at place) ([]item, error) {
	var names []string
	if at != (place{}) {
		names = at.names(service)[:1]
	}
	for _, name := range append(names, "") {
		listed, err := f.list(ctx, name)
		if err != nil {
			return nil, err
		}
		var found []item
		for _, i := range listed {
			p, ok := parse(service, i.name)
			if i.place = p; ok && (at == place{} || p == at) {
				found = append(found, i)
			}
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, nil
}

// ownRun gives the ways to our own run: the results service, which knows all
// that its jobs have saved, and the API, should an attempt before this one have
// been another run to the service.
func (s *Store) ownRun() []source {
	return []source{{run: s.options.Run, list: s.listOwn}, s.ofRun(s.options.Run)}
}

func (s *Store) ofRun(id string) source {
	return source{run: id, list: func(ctx context.Context, name string) ([]item, error) {
		listed, err := s.rest.inRun(ctx, id, name)
		if err != nil {
			return nil, err
		}
		var all []item
		for _, a := range listed {
			all = append(all, item{
				name: a.GetName(), run: id, digest: a.GetDigest(),
				expired: a.GetExpired(), expires: a.GetExpiresAt().Time,
				address: func(ctx context.Context) (string, error) { return s.rest.download(ctx, a.GetID()) },
			})
		}
		return all, nil
	}}
}

// listOwn asks the results service, but not twice for a name that it listed.
func (s *Store) listOwn(ctx context.Context, name string) ([]item, error) {
	s.mu.Lock()
	known, ok := s.listed[name]
	s.mu.Unlock()
	if ok {
		return []item{s.ownItem(known)}, nil
	}
	listed, err := s.results.List(ctx, name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []item
	for _, a := range listed {
		s.listed[a.Name] = a
		all = append(all, s.ownItem(a))
	}
	return all, nil
}

func (s *Store) ownItem(a results.Artifact) item {
	return item{
		name: a.Name, run: s.options.Run, digest: a.Digest,
		address: func(ctx context.Context) (string, error) { return s.results.SignedURL(ctx, a) },
	}
}

// mostRuns is how many runs with a beacon are asked for the newest record.
const mostRuns = 10

// runsWithBeacon gives the newest of those from which records are taken. Forks
// and other branches are left out first, so that they crowd nobody out.
func (s *Store) runsWithBeacon(ctx context.Context, service string) ([]string, error) {
	beacons, err := s.rest.named(ctx, beaconName(service))
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(beacons, func(a, b *github.Artifact) int {
		return b.GetCreatedAt().Compare(a.GetCreatedAt().Time)
	})
	var ids []string
	for _, b := range beacons {
		of, own := b.GetWorkflowRun(), s.options.RepositoryID
		if b.GetExpired() || of.GetRepositoryID() != own || of.GetHeadRepositoryID() != own || !s.allows(of.GetHeadBranch()) {
			continue
		}
		id := fmt.Sprint(of.GetID())
		if !slices.Contains(ids, id) && len(ids) < mostRuns {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// newestOf gives those at the highest place, and whether there are two of it.
func newestOf(items []item) (top []item, rival *item) {
	for _, i := range items {
		switch {
		case len(top) == 0 || i.place.seq > top[0].place.seq:
			top, rival = []item{i}, nil
		case i.place == top[0].place:
			top = append(top, i)
		case i.place.seq == top[0].place.seq:
			rival = &i
		}
	}
	slices.SortStableFunc(top, func(a, b item) int { return strings.Compare(a.name, b.name) })
	return top, rival
}
