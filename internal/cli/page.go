package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// publisher keeps one comment. It holds back what comes too often until Flush.
type publisher interface {
	Publish(ctx context.Context, marker, body string) error
	Flush(ctx context.Context) error
}

// page keeps the comment about a rollout up to date while a phase works. The
// phase never waits for it: of several news the last is published.
type page struct {
	to     publisher
	warn   func(string)
	news   chan string
	ended  chan struct{}
	cancel context.CancelCauseFunc
	once   sync.Once
}

// errLate ends what a phase does not wait for any longer.
var errLate = errors.New("GitHub did not answer in time")

// newPage begins to publish. A cancelled phase still says how it ended.
func newPage(ctx context.Context, to publisher, warn func(string)) *page {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	p := &page{to: to, warn: warn, news: make(chan string, 1), ended: make(chan struct{}), cancel: cancel}
	go p.run(ctx)
	return p
}

func (p *page) run(ctx context.Context) {
	defer close(p.ended)
	for body := range p.news {
		p.publish(ctx, body)
	}
	if err := p.to.Flush(ctx); err != nil {
		p.failed(err)
	}
}

func (p *page) publish(ctx context.Context, body string) {
	marker, _, _ := strings.Cut(body, "\n")
	if err := p.to.Publish(ctx, marker, body); err != nil {
		p.failed(err)
	}
}

// failed tells once: a comment that cannot be written keeps nothing from
// going on, and the same warning after each step helps nobody.
func (p *page) failed(err error) {
	p.once.Do(func() { p.warn(fmt.Sprintf("the comment could not be written: %v", err)) })
}

// set replaces what is to be published.
func (p *page) set(body string) {
	select {
	case <-p.news: // older, and not yet taken
	default:
	}
	p.news <- body
}

// close publishes the last news and ends, with ctx at the latest.
func (p *page) close(ctx context.Context) {
	close(p.news)
	defer context.AfterFunc(ctx, func() { p.cancel(errLate) })()
	<-p.ended
	p.cancel(nil)
}
