package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/gapless-deploy/gapless/internal/probe"
)

// killAgent kills the agent while a phase bakes, and starts it again at once.
// The instances must outlive it. The phase goes on by itself, or is run again
// where it stopped.
func (d *demo) killAgent(ctx context.Context, s step) (int, error) {
	c, err := d.begin(ctx, s.args...)
	if err != nil {
		return 0, err
	}
	if err := d.baking(ctx, c, s.midway); err != nil {
		return 0, err
	}
	gap, err := d.restartAgent(ctx)
	if err != nil {
		return 0, err
	}
	d.out.say("\nkilled: kill -9 of the agent in the middle of the bake; it answered again after %d ms, with the same processes", gap.Milliseconds())
	status, err := d.end(ctx, c)
	if err != nil || status != stopped || d.account.wentBack {
		return status, err
	}
	d.out.say("\nthe phase stopped; now the same command again")
	return d.patiently(ctx, s.args...)
}

// restartAgent kills the agent and starts it again. What fails from the kill
// until it answers is the fault's.
func (d *demo) restartAgent(ctx context.Context) (gap time.Duration, err error) {
	before, err := d.processes(ctx)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	over := d.ledger.Fault(began)
	if err := d.agent.kill(); err != nil {
		return 0, err
	}
	if err := d.startAgent(ctx, d.Fault); err != nil {
		return 0, err
	}
	answered, err := d.answersAgain(ctx)
	if err != nil {
		return 0, err
	}
	over(answered)
	after, err := d.processes(ctx)
	if err != nil {
		return 0, err
	}
	if !maps.Equal(before, after) {
		return 0, fmt.Errorf("the agent did not take its instances over: before it was killed they were %v, after that %v", before, after)
	}
	return answered.Sub(began), nil
}

// processes gives the pids of the instances, by name.
func (d *demo) processes(ctx context.Context) (map[string]int, error) {
	state, err := d.admin.State(ctx)
	if err != nil {
		return nil, err
	}
	pids := map[string]int{}
	for _, side := range state.Sides {
		for _, i := range side.Instances {
			pids[i.Name] = i.PID
		}
	}
	return pids, nil
}

// answersAgain asks at the public address until there is an answer, and tells
// when.
func (d *demo) answersAgain(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	client := probe.NewClient(probe.ClientOptions{Fresh: true})
	for {
		reply, err := client.Do(ctx, http.MethodGet, "http://"+d.public+"/healthz", nil)
		if err != nil {
			return time.Time{}, fmt.Errorf("wait until the agent answers again: %w", err)
		}
		if reply.Status == http.StatusOK {
			return reply.Ended, nil
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return time.Time{}, fmt.Errorf("wait until the agent answers again: %w", err)
		}
	}
}
