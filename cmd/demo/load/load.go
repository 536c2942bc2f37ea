// Package load keeps readers and writers at work on an address book, through
// its public port, and holds what they read against what was written.
package load

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/gapless-deploy/gapless/internal/ledger"
	"github.com/gapless-deploy/gapless/internal/probe"
	"github.com/gapless-deploy/gapless/testdata/apps/addressbook"
)

// Options bounds the load.
type Options struct {
	// URL is the service's public address, without a slash at its end.
	URL string
	// Rate is the number of requests a second, of all clients together.
	Rate float64
	// Readers and Writers are clients, each with one request at a time. Every
	// second one opens a connection for each request.
	Readers, Writers int
	// Rows is how many rows the table began with.
	Rows int
}

// timeout bounds one request. It is long: a request that waits is late, one
// that gets no answer is dropped, and the two must not be confused.
const timeout = 10 * time.Second

// Load is clients at work.
type Load struct {
	stop context.CancelFunc
	done sync.WaitGroup
}

// Start puts the clients to work. Nothing is sent twice. Stop ends them.
func Start(ctx context.Context, o Options, model *Model, into *ledger.Ledger) *Load {
	working, stop := context.WithCancel(ctx)
	l := &Load{stop: stop}
	pace := rate.NewLimiter(rate.Limit(o.Rate), 1)
	for i := range o.Readers + o.Writers {
		c := &client{
			Options: o, number: i, model: model, ledger: into, pace: pace,
			http: probe.NewClient(probe.ClientOptions{Timeout: timeout, Fresh: i%2 == 0}),
			// The same load in each run.
			random: rand.New(rand.NewPCG(uint64(i), 7)),
		}
		l.done.Go(func() {
			defer c.http.Close()
			for working.Err() == nil {
				c.turn(ctx, working)
			}
		})
	}
	return l
}

// Stop lets each client finish what it is at.
func (l *Load) Stop() {
	l.stop()
	l.done.Wait()
}

// client is one reader or writer.
type client struct {
	Options
	number int
	model  *Model
	ledger *ledger.Ledger
	pace   *rate.Limiter
	http   *probe.Client
	random *rand.Rand
}

// turn is one piece of a client's work. No request begins once working has
// ended; ctx ends the one under way.
func (c *client) turn(ctx, working context.Context) {
	if c.number >= c.Writers {
		c.read(ctx, working, 1+c.random.Int64N(int64(c.Rows)))
		return
	}
	id := c.own()
	switch c.random.IntN(8) {
	case 0:
		id = c.add(ctx, working)
	case 1, 2:
		c.phone(ctx, working, id)
	default:
		c.write(ctx, working, id)
	}
	if id != 0 {
		c.read(ctx, working, id)
	}
}

// own picks a row that only this writer writes.
func (c *client) own() int64 {
	share := c.Rows / c.Writers
	return int64(1 + c.number + c.Writers*c.random.IntN(share))
}

func (c *client) read(ctx, working context.Context, id int64) {
	if c.pace.Wait(working) != nil {
		return
	}
	end := c.model.Read(id)
	var got addressbook.Address
	answer := c.ask(ctx, http.MethodGet, path(id), nil, &got)
	if missing := answer.Status == http.StatusNotFound; good(answer) || missing && answer.Router == "" {
		end("read through "+answer.Revision, got.Line, !missing)
	}
}

func (c *client) write(ctx, working context.Context, id int64) {
	if c.pace.Wait(working) != nil {
		return
	}
	line := c.line()
	end := c.model.Write(id, line)
	answer := c.ask(ctx, http.MethodPut, path(id), addressbook.Address{Name: c.name(), Line: line}, nil)
	end(good(answer), answer.Ended)
}

// phone writes to the row what has nothing to do with its line.
func (c *client) phone(ctx, working context.Context, id int64) {
	if c.pace.Wait(working) == nil {
		c.ask(ctx, http.MethodPatch, path(id), map[string]string{"phone": fmt.Sprint(c.random.IntN(1e6))}, nil)
	}
}

// add inserts a row and returns its number, 0 when it is not known.
func (c *client) add(ctx, working context.Context) int64 {
	if c.pace.Wait(working) != nil {
		return 0
	}
	line := c.line()
	var got addressbook.Address
	answer := c.ask(ctx, http.MethodPost, "/addresses", addressbook.Address{Name: c.name(), Line: line}, &got)
	if !good(answer) {
		c.model.PerhapsAdded(line)
		return 0
	}
	c.model.Added(got.ID, line, answer.Ended)
	return got.ID
}

func (c *client) line() *string { return Line(c.random.IntN(1 << 20)) }

func (c *client) name() string { return fmt.Sprint("writer ", c.number) }

// ask sends one request and enters the answer into the ledger. A request that
// is withdrawn, because the whole program ends, is not entered.
func (c *client) ask(ctx context.Context, method, path string, body any, into *addressbook.Address) ledger.Answer {
	var sent []byte
	if body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return ledger.Answer{Err: err}
		}
	}
	reply, err := c.http.Do(ctx, method, c.URL+path, sent)
	if err != nil {
		return ledger.Answer{Err: err}
	}
	if into != nil && good(reply.Answer) {
		reply.Wrong = json.Unmarshal(reply.Body, into) != nil
	}
	reply.Wrong = reply.Wrong || !good(reply.Answer)
	c.ledger.Add(reply.Answer)
	return reply.Answer
}

// good reports whether the service did what it was asked.
func good(a ledger.Answer) bool {
	return a.Err == nil && !a.Wrong && a.Status >= http.StatusOK && a.Status < http.StatusMultipleChoices
}

func path(id int64) string { return fmt.Sprint("/addresses/", id) }
