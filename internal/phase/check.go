package phase

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// answerWithin bounds one smoke or warm-up request.
const answerWithin = 10 * time.Second

// maxBody bounds what is read of an answer.
const maxBody = 1 << 20

// check asks every instance past the public routing: the smoke tests must
// hold, warm-up requests are counted.
func (s *session) check(ctx context.Context, step plan.Check) error {
	done := rollout.Checked{Side: step.Side}
	for _, instance := range s.in.Seen.Sides[step.Side].Instances {
		if err := s.checkInstance(ctx, instance, &done); err != nil {
			return err
		}
	}
	if err := s.observe(ctx); err != nil {
		return err
	}
	return s.note(ctx, done)
}

// checkInstance smoke-tests one instance and warms it up.
func (s *session) checkInstance(ctx context.Context, instance rollout.Instance, done *rollout.Checked) error {
	via, err := s.r.Platform.Reach(ctx, instance)
	if err != nil {
		return fmt.Errorf("reach instance %s: %w", instance.Name, err)
	}
	client := &http.Client{Transport: via, Timeout: answerWithin, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	if err := s.smoke(ctx, client, instance, done); err != nil {
		return err
	}
	return s.warm(ctx, client, done)
}

func (s *session) smoke(ctx context.Context, client *http.Client, instance rollout.Instance, done *rollout.Checked) error {
	for _, t := range s.in.Config.Smoke {
		for _, path := range t.Get.Expand() {
			status, body, err := get(ctx, client, path)
			if err != nil {
				return fmt.Errorf("smoke test GET %s on %s: %w", path, instance.Name, err)
			}
			if status != t.Status {
				return fmt.Errorf("smoke test GET %s on %s: status %d, expected %d", path, instance.Name, status, t.Status)
			}
			if !strings.Contains(body, t.Contains) {
				return fmt.Errorf("smoke test GET %s on %s: the answer does not contain %q", path, instance.Name, t.Contains)
			}
			done.Smoke++
		}
	}
	return nil
}

func (s *session) warm(ctx context.Context, client *http.Client, done *rollout.Checked) error {
	for _, w := range s.in.Config.Warmup {
		for _, path := range w.Get.Expand() {
			status, _, err := get(ctx, client, path)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			done.Warmup++
			if err != nil || status >= http.StatusInternalServerError {
				done.WarmupFailed++
			}
		}
	}
	return nil
}

func get(ctx context.Context, client *http.Client, path string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://instance"+path, nil)
	if err != nil {
		return 0, "", fmt.Errorf("make the request: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return resp.StatusCode, "", fmt.Errorf("read the answer: %w", err)
	}
	return resp.StatusCode, string(data), nil
}
