package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/gapless-deploy/gapless/cmd/demo/load"
)

// result is the demo's account in one object.
type result struct {
	Strategy     strategy `json:"strategy"`
	Fault        fault    `json:"fault"`
	Requests     int64    `json:"requests"`
	Dropped      int64    `json:"dropped"`
	MetCandidate int64    `json:"met_candidate"`
	CandidateBad int64    `json:"candidate_bad"`
	// CandidateBadBound is how many the fault explains, see badBound.
	CandidateBadBound int64 `json:"candidate_bad_bound"`
	CutByFault        int64 `json:"cut_by_fault"`
	// CutConnections is how many the record says that gapless itself cut.
	CutConnections  int          `json:"cut_connections"`
	ExposurePercent float64      `json:"exposure_percent"`
	Switches        []switchTime `json:"switches"`
	// Rows is how many were compared with the model.
	Rows          int     `json:"rows"`
	Lost          int     `json:"lost"`
	Clobbered     int     `json:"clobbered"`
	BackfillRowsS float64 `json:"backfill_rows_per_s"`
	Outcome       outcome `json:"outcome"`
	Serving       string  `json:"serving"`
	Seconds       float64 `json:"seconds"`
}

// switchTime is one switch of traffic; weights in percent.
type switchTime struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
	// InForceMS is nil where the clients could not tell.
	InForceMS *float64 `json:"in_force_ms"`
}

// compare holds the whole table against the model, row by row, in each form
// that is there, and the archive where the old form is gone.
func (d *demo) compare(ctx context.Context, how outcome) error {
	const table = "address"
	var oldForm bool
	err := d.conn.QueryRow(ctx, `select count(*) > 0 from pg_attribute
		where attrelid = $1::text::regclass and attname = 'street'`, table).Scan(&oldForm)
	if err != nil {
		return fmt.Errorf("look at the table: %w", err)
	}
	if oldForm {
		found, err := load.OldForm(ctx, d.conn, table)
		if err != nil {
			return err
		}
		d.model.Compare("old form", time.Time{}, found)
		if how == failed {
			return nil // nobody has promised the new form
		}
	}
	found, err := load.NewForm(ctx, d.conn, table)
	if err != nil {
		return err
	}
	d.model.Compare("new form", time.Time{}, found)
	if oldForm {
		return nil
	}
	if d.account.archive == "" {
		return fmt.Errorf("the record names no archive of the column that was dropped")
	}
	if found, err = load.OldForm(ctx, d.conn, d.account.archive); err != nil {
		return err
	}
	d.model.Compare("archive", d.contracting, found)
	return nil
}

func (d *demo) result(how outcome) result {
	sum := d.ledger.Summary()
	r := result{
		Switches: []switchTime{},
		Strategy: d.Strategy, Fault: d.Fault, Requests: sum.Requests, Dropped: sum.Dropped,
		MetCandidate: sum.Answered[newRevision], CandidateBad: sum.CandidateBad,
		CandidateBadBound: badBound(d.Fault.trouble().errors, d.Rate, d.account.exposed(time.Now())),
		CutByFault:        sum.CutByFault, CutConnections: d.account.cut, ExposurePercent: round(sum.Exposure(), 2),
		Rows: d.model.Rows(), BackfillRowsS: round(d.account.backfill, 0), Outcome: how,
		Serving: d.account.serving, Seconds: round(time.Since(d.began).Seconds(), 1),
	}
	for _, s := range sum.Switches {
		one := switchTime{From: s.From.Percent(), To: s.To.Percent()}
		if s.InForce != nil {
			ms := milliseconds(*s.InForce)
			one.InForceMS = &ms
		}
		r.Switches = append(r.Switches, one)
	}
	for _, damage := range d.model.Damaged() {
		if damage.Harm == load.Lost {
			r.Lost++
		} else {
			r.Clobbered++
		}
	}
	return r
}

func (r result) write(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(r); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// badBound is how many error answers of a candidate are the fault's: its share
// of the traffic for as long as it had it, at the rate, each with the fault's
// chance. Chance scatters, so that four standard deviations come on top. More
// would mean that the candidate got traffic by which the record does not stand.
func badBound(share, rate, exposed float64) int64 {
	mean := share * rate * exposed
	return int64(math.Ceil(mean + 4*math.Sqrt(mean)))
}

// verdict is nil when the release kept its promise.
func (r result) verdict() error {
	t := r.Fault.trouble()
	var broken []error
	holds := func(ok bool, format string, args ...any) {
		if !ok {
			broken = append(broken, fmt.Errorf(format, args...))
		}
	}
	holds(r.Dropped == 0 && r.Lost == 0 && r.Clobbered == 0,
		"%d requests dropped, %d values lost, %d clobbered", r.Dropped, r.Lost, r.Clobbered)
	holds(r.CutConnections == 0, "%d requests or connections were cut at the end of a drain", r.CutConnections)
	holds(r.CutByFault == 0 || t.cuts, "%d requests cut by a fault that cuts none", r.CutByFault)
	holds(r.CandidateBad <= r.CandidateBadBound,
		"the candidate answered %d requests with an error, the fault explains %d", r.CandidateBad, r.CandidateBadBound)
	holds(r.MetCandidate == 0 || !t.unseen, "%d requests met a candidate that must meet none", r.MetCandidate)
	// Why it failed is told already.
	holds(r.Outcome == t.end || r.Outcome == failed, "the release ended %s, it should have %s", r.Outcome, t.end)
	return errors.Join(broken...)
}

func milliseconds(d time.Duration) float64 { return round(float64(d.Microseconds())/1000, 1) }

func round(x float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(x*scale) / scale
}
