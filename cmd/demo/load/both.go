package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/time/rate"

	"github.com/gapless-deploy/gapless/internal/ledger"
	"github.com/gapless-deploy/gapless/internal/probe"
	"github.com/gapless-deploy/gapless/testdata/apps/addressbook"
)

// BothForms writes rows 1 to n in the new form, straight into the table, reads
// them through the service, and writes and reads half of them there: whatever
// revision serves, its rows and those of the other form must mean the same.
// Nobody else may be writing.
func BothForms(ctx context.Context, o Options, conn *pgx.Conn, n int, model *Model, into *ledger.Ledger) error {
	c := &client{
		Options: o, model: model, ledger: into, pace: rate.NewLimiter(rate.Inf, 1),
		http:   probe.NewClient(probe.ClientOptions{Timeout: timeout}),
		random: rand.New(rand.NewPCG(7, 7)),
	}
	defer c.http.Close()
	for id := int64(1); id <= int64(n); id++ {
		line := c.line()
		name, number := addressbook.SplitLine(line)
		end := model.Write(id, line)
		_, err := conn.Exec(ctx, "update address set street_name = $2, house_number = $3 where id = $1", id, name, number)
		end(err == nil, time.Now())
		if err != nil {
			return fmt.Errorf("write address %d in the new form: %w", id, err)
		}
		c.read(ctx, ctx, id)
		if id%2 == 0 {
			c.write(ctx, ctx, id)
			c.read(ctx, ctx, id)
		}
	}
	return nil
}
