package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/gapless-deploy/gapless/cmd/demo/load"
)

// result is the demo's account in one object.
type result struct {
	Strategy        string       `json:"strategy"`
	Fault           fault        `json:"fault"`
	Requests        int64        `json:"requests"`
	Dropped         int64        `json:"dropped"`
	CandidateBad    int64        `json:"candidate_bad"`
	CutByFault      int64        `json:"cut_by_fault"`
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
		CandidateBad: sum.CandidateBad, CutByFault: sum.CutByFault, ExposurePercent: round(sum.Exposure(), 2),
		Rows: d.model.Rows(), BackfillRowsS: round(d.account.backfill, 0), Outcome: how,
		Serving: d.account.serving, Seconds: round(time.Since(d.began).Seconds(), 1),
	}
	for _, s := range sum.Switches {
		one := switchTime{From: s.From.Percent(), To: s.To.Percent()}
		if s.InForce != nil {
			ms := round(float64(s.InForce.Microseconds())/1000, 1)
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

// verdict is nil when the release kept its promise.
func (r result) verdict(f fault) error {
	want := released
	if f == badErrors {
		want = rolledBack
	}
	switch {
	case r.Dropped > 0 || r.Lost > 0 || r.Clobbered > 0:
		return fmt.Errorf("%d requests dropped, %d values lost, %d clobbered", r.Dropped, r.Lost, r.Clobbered)
	case r.Outcome != want && r.Outcome != failed: // why it failed is told already
		return fmt.Errorf("the release ended %s, it should have %s", r.Outcome, want)
	}
	return nil
}

func round(x float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(x*scale) / scale
}
