package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// The head is a ConfigMap of the namespace: the mark, the split that was last
// in force and what is being done. Its resourceVersion is the token. Each verb
// that changes anything writes it first, by compare-and-set, so that of two
// that act on one look one wins; and it looks again before each further write,
// since somebody may have taken over.

// absent is the token where there is no head yet.
const absent rollout.Token = "none"

// divided is a split and since when it is in force.
type divided struct {
	rollout.Split
	Since time.Time `json:"since"`
}

// head is the ConfigMap's content.
type head struct {
	token rollout.Token
	mark  *rollout.Mark
	split divided
	// doing is what the last verb began, for people who look.
	doing string
	// rolling is set from a roll's first step until all pods are replaced.
	rolling *rolling
	raw     *unstructured.Unstructured
}

func (p *Platform) headName() string { return "gapless-" + p.opts.Service }

func (p *Platform) head(ctx context.Context) (head, error) {
	raw, err := p.cluster.get(ctx, configMaps, p.headName())
	if err != nil || raw == nil {
		return head{token: absent}, err
	}
	return readHead(raw)
}

func readHead(raw *unstructured.Unstructured) (head, error) {
	h := head{token: rollout.Token(raw.GetResourceVersion()), raw: raw}
	view, err := into[struct {
		Data map[string]string `json:"data"`
	}](raw)
	if err != nil {
		return h, err
	}
	h.doing = view.Data["doing"]
	if text := view.Data["mark"]; text != "" {
		h.mark = &rollout.Mark{}
		if err := json.Unmarshal([]byte(text), h.mark); err != nil {
			return h, fmt.Errorf("mark in ConfigMap %s is not gapless's: %w", raw.GetName(), err)
		}
	}
	if text := view.Data["rolling"]; text != "" {
		h.rolling = &rolling{}
		if err := json.Unmarshal([]byte(text), h.rolling); err != nil {
			return h, fmt.Errorf("rolling in ConfigMap %s is not gapless's: %w", raw.GetName(), err)
		}
	}
	if text := view.Data["split"]; text != "" {
		if err := json.Unmarshal([]byte(text), &h.split); err != nil {
			return h, fmt.Errorf("split in ConfigMap %s is not gapless's: %w", raw.GetName(), err)
		}
	}
	return h, nil
}

// write stores h where the token is still the one that it was read under.
func (p *Platform) write(ctx context.Context, h head) (head, error) {
	raw := h.raw
	if raw == nil {
		raw = &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": p.headName(), "namespace": p.cluster.namespace},
		}}
	}
	raw = raw.DeepCopy()
	data := map[string]any{}
	put := func(key string, value any) error {
		text, err := json.Marshal(value)
		data[key] = string(text)
		return err
	}
	if h.mark != nil {
		if err := put("mark", h.mark); err != nil {
			return h, fmt.Errorf("mark: %w", err)
		}
	}
	if !h.split.Since.IsZero() {
		if err := put("split", h.split); err != nil {
			return h, fmt.Errorf("split: %w", err)
		}
	}
	if h.rolling != nil {
		if err := put("rolling", h.rolling); err != nil {
			return h, fmt.Errorf("rolling: %w", err)
		}
	}
	if h.doing != "" {
		data["doing"] = h.doing
	}
	raw.Object["data"] = data
	write := p.cluster.update
	if h.raw == nil {
		write = p.cluster.create
	}
	written, err := write(ctx, configMaps, raw)
	if isConflict(err) {
		return h, fmt.Errorf("%w: %w", rollout.ErrConflict, err)
	}
	if err != nil {
		return h, err
	}
	return readHead(written)
}

// Claim implements phase.Platform.
func (p *Platform) Claim(ctx context.Context, seen rollout.Token, mark rollout.Mark) error {
	h, err := p.headAt(ctx, seen)
	if err != nil {
		return err
	}
	h.mark = &mark
	_, err = p.write(ctx, h)
	return err
}

// headAt is the head, where it is still the one that was looked at.
func (p *Platform) headAt(ctx context.Context, seen rollout.Token) (head, error) {
	h, err := p.head(ctx)
	if err == nil && h.token != seen {
		err = fmt.Errorf("%w: its token is %s, not %s", rollout.ErrConflict, h.token, seen)
	}
	return h, err
}

// owner is who works on the platform, and since which rollback.
type owner struct {
	epoch  int
	holder string
}

func (h head) owner() owner {
	if h.mark == nil {
		return owner{}
	}
	o := owner{epoch: h.mark.Epoch}
	if h.mark.Lease != nil {
		o.holder = h.mark.Lease.Holder
	}
	return o
}

// begin writes what a verb is about to do.
func (p *Platform) begin(ctx context.Context, h head, doing string) (head, error) {
	h.doing = doing
	return p.write(ctx, h)
}

// amend changes the head that a verb began with, or is about to begin. A lease
// that was renewed since is no conflict, another owner or verb is.
func (p *Platform) amend(ctx context.Context, h head, change func(*head)) (head, error) {
	for now := h; ; {
		next := now
		change(&next)
		written, err := p.write(ctx, next)
		if !errors.Is(err, rollout.ErrConflict) {
			return written, err
		}
		if now, err = p.head(ctx); err != nil {
			return h, err
		}
		if now.owner() != h.owner() || now.doing != h.doing && now.doing != next.doing {
			return h, fmt.Errorf("%w: it is at %q now, no longer at %q", rollout.ErrConflict, now.doing, h.doing)
		}
	}
}

// inCharge looks whether the verb that h began may go on: a lease that was
// renewed meanwhile is no conflict, another owner or verb is.
func (p *Platform) inCharge(ctx context.Context, h head) error {
	now, err := p.head(ctx)
	if err != nil {
		return err
	}
	if now.token != h.token && (now.owner() != h.owner() || now.doing != h.doing) {
		return fmt.Errorf("%w: it is at %q now, no longer at %q", rollout.ErrConflict, now.doing, h.doing)
	}
	return nil
}

// enforced notes that a split is in force from now on, unless it was before.
func (p *Platform) enforced(ctx context.Context, h head, split rollout.Split) error {
	for {
		now, err := p.head(ctx)
		if err != nil {
			return err
		}
		if now.owner() != h.owner() {
			return fmt.Errorf("%w: somebody else works on it", rollout.ErrConflict)
		}
		if now.split.Split == split && !now.split.Since.IsZero() {
			return nil
		}
		now.split = divided{split, p.cluster.time.at(p.opts.Clock.Now())}
		if _, err = p.write(ctx, now); !isConflict(err) {
			return err
		}
	}
}
