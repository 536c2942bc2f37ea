package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// duty is a verb at work. It writes the head before its first change, so that
// one which has nothing to do leaves the token as it is.
type duty struct {
	*Platform
	head  head
	doing string
	begun bool
}

func (p *Platform) duty(h head, doing string) *duty {
	return &duty{Platform: p, head: h, doing: doing}
}

// begin writes what is about to be done, once, and looks before each further
// write whether the verb is still in charge.
func (d *duty) begin(ctx context.Context) (err error) {
	if d.begun {
		return d.inCharge(ctx, d.head)
	}
	if d.head, err = d.Platform.begin(ctx, d.head, d.doing); err == nil {
		d.begun = true
	}
	return err
}

// enforced notes the split that the verb has put in force.
func (d *duty) enforced(ctx context.Context, split rollout.Split) error {
	return d.Platform.enforced(ctx, d.head, split)
}

// edit changes an object. It is read before it is asked who is in charge, and
// written as what was read, so that our write is a conflict once somebody else
// has taken over and written. A conflict with others has it read and changed
// again.
func (d *duty) edit(ctx context.Context, k kind, name string, change func(object map[string]any) error) error {
	for {
		raw, err := d.cluster.get(ctx, k, name)
		if err != nil {
			return err
		}
		if raw == nil {
			return d.missing(k, name)
		}
		next := raw.DeepCopy()
		if err := change(next.Object); err != nil {
			return fmt.Errorf("%s %s/%s: %w", k, d.cluster.namespace, name, err)
		}
		if equality.Semantic.DeepEqual(raw.Object, next.Object) {
			return nil
		}
		if err := d.begin(ctx); err != nil {
			return err
		}
		if _, err = d.cluster.update(ctx, k, next); !isConflict(err) {
			return err
		}
	}
}

// ensure makes an object where there is none. One that is there keeps what
// others have written on it: change puts right what is ours.
func (d *duty) ensure(ctx context.Context, k kind, want *unstructured.Unstructured, change func(object map[string]any)) error {
	there, err := d.cluster.get(ctx, k, want.GetName())
	if err != nil {
		return err
	}
	if there == nil {
		if err := d.begin(ctx); err != nil {
			return err
		}
		if _, err = d.cluster.create(ctx, k, want); !isConflict(err) {
			return err
		}
	}
	return d.edit(ctx, k, want.GetName(), func(object map[string]any) error { change(object); return nil })
}

// holds reports whether a value has all that want has; the server fills in
// more than it is told.
func holds(value, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		has, ok := value.(map[string]any)
		for name, w := range want {
			if !ok || !holds(has[name], w) {
				return false
			}
		}
		return ok
	case []any:
		has, ok := value.([]any)
		if !ok || len(has) != len(want) {
			return false
		}
		for i := range want {
			if !holds(has[i], want[i]) {
				return false
			}
		}
		return true
	}
	return equality.Semantic.DeepEqual(value, want)
}

// missing says that an object which the target names is not there.
func (p *Platform) missing(k kind, name string) error {
	return fmt.Errorf("%w: %s %s/%s is not there", rollout.ErrInput, k, p.cluster.namespace, name)
}

// at gives the map at a path; nil where there is none.
func at(object map[string]any, path ...string) map[string]any {
	for _, key := range path {
		next, ok := object[key].(map[string]any)
		if !ok {
			return nil
		}
		object = next
	}
	return object
}

// below gives the map at a path, made where there is none.
func below(object map[string]any, path ...string) map[string]any {
	for _, key := range path {
		next, ok := object[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			object[key] = next
		}
		object = next
	}
	return object
}

// items are the objects in the list at key.
func items(object map[string]any, key string) (all []map[string]any) {
	list, _ := object[key].([]any)
	for _, one := range list {
		if m, ok := one.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

func text(object map[string]any, key string) string {
	s, _ := object[key].(string)
	return s
}

// number reads a whole number as JSON has it; otherwise where it is absent.
func number(object map[string]any, key string, otherwise int64) int64 {
	switch n := object[key].(type) {
	case int64:
		return n
	case float64:
		return int64(n)
	}
	return otherwise
}

// port reads what may be a port's number or its name.
func port(value any) (intstr.IntOrString, error) {
	var p intstr.IntOrString
	raw, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil {
		return p, fmt.Errorf("port %v is neither number nor name: %w", value, err)
	}
	return p, nil
}
