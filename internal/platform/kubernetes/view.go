package kubernetes

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// The views below have the fields that gapless looks at, and no others.

type (
	meta           = metav1.ObjectMeta
	ownerReference = metav1.OwnerReference
)

type selector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

func (s selector) String() string { return labels.SelectorFromSet(s.MatchLabels).String() }

type template struct {
	Metadata meta `json:"metadata"`
	Spec     struct {
		Containers     []container `json:"containers"`
		GraceSeconds   *int64      `json:"terminationGracePeriodSeconds"`
		ReadinessGates []any       `json:"readinessGates"`
	} `json:"spec"`
}

type container struct {
	Name           string `json:"name"`
	Image          string `json:"image"`
	ReadinessProbe *struct {
		PeriodSeconds int64 `json:"periodSeconds"`
	} `json:"readinessProbe"`
	Resources struct {
		Limits map[string]any `json:"limits"`
	} `json:"resources"`
	Lifecycle struct {
		PreStop *struct {
			Sleep *struct {
				Seconds int64 `json:"seconds"`
			} `json:"sleep"`
		} `json:"preStop"`
	} `json:"lifecycle"`
	Ports []struct {
		Name          string `json:"name"`
		ContainerPort int    `json:"containerPort"`
	} `json:"ports"`
}

// side is the one that the pods of the template are on; none where gapless did
// not write it.
func (t template) side() rollout.Side { return rollout.Side(t.Metadata.Labels[sideLabel]) }

// revision is the one that gapless wrote on the template; zero where it did not.
func (t template) revision() (r rollout.Revision, err error) {
	text, ok := t.Metadata.Annotations[revisionAnnotation]
	if !ok {
		return r, nil
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, fmt.Errorf("annotation %s is not gapless's: %w", revisionAnnotation, err)
	}
	return r, nil
}

type deployment struct {
	Metadata meta `json:"metadata"`
	Spec     struct {
		Replicas        *int     `json:"replicas"`
		Paused          bool     `json:"paused"`
		Selector        selector `json:"selector"`
		Template        template `json:"template"`
		HistoryLimit    *int     `json:"revisionHistoryLimit"`
		MinReadySeconds int64    `json:"minReadySeconds"`
		Strategy        struct {
			Type          string `json:"type"`
			RollingUpdate struct {
				MaxSurge       any `json:"maxSurge"`
				MaxUnavailable any `json:"maxUnavailable"`
			} `json:"rollingUpdate"`
		} `json:"strategy"`
	} `json:"spec"`
	Status struct {
		ObservedGeneration int64       `json:"observedGeneration"`
		Replicas           int         `json:"replicas"`
		UpdatedReplicas    int         `json:"updatedReplicas"`
		ReadyReplicas      int         `json:"readyReplicas"`
		Conditions         []condition `json:"conditions"`
	} `json:"status"`
}

// replicas are 1 where the object says nothing, as the server takes it.
func (d deployment) replicas() int {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

// settled reports whether the controller has seen what was written last.
func (d deployment) settled() bool { return d.Status.ObservedGeneration >= d.Metadata.Generation }

type replicaSet struct {
	Metadata meta `json:"metadata"`
	Spec     struct {
		Replicas *int     `json:"replicas"`
		Template template `json:"template"`
	} `json:"spec"`
	Status struct {
		Replicas      int         `json:"replicas"`
		ReadyReplicas int         `json:"readyReplicas"`
		Conditions    []condition `json:"conditions"`
	} `json:"status"`
}

func (r replicaSet) replicas() int {
	if r.Spec.Replicas == nil {
		return 1
	}
	return *r.Spec.Replicas
}

type condition struct {
	Type               string `json:"type"`
	Status             string `json:"status"`
	Reason             string `json:"reason"`
	Message            string `json:"message"`
	ObservedGeneration int64  `json:"observedGeneration"`
}

type pod struct {
	Metadata meta `json:"metadata"`
	Spec     struct {
		Containers []container `json:"containers"`
	} `json:"spec"`
	Status struct {
		Phase      string            `json:"phase"`
		Reason     string            `json:"reason"`
		Message    string            `json:"message"`
		PodIP      string            `json:"podIP"`
		Conditions []condition       `json:"conditions"`
		Containers []containerStatus `json:"containerStatuses"`
		Init       []containerStatus `json:"initContainerStatuses"`
	} `json:"status"`
}

type containerStatus struct {
	Name         string         `json:"name"`
	Image        string         `json:"image"`
	Ready        bool           `json:"ready"`
	RestartCount int            `json:"restartCount"`
	State        containerState `json:"state"`
	LastState    containerState `json:"lastState"`
}

type containerState struct {
	Running *struct {
		StartedAt metav1.Time `json:"startedAt"`
	} `json:"running"`
	Waiting *struct {
		Reason  string `json:"reason"`
		Message string `json:"message"`
	} `json:"waiting"`
	Terminated *struct {
		Reason   string `json:"reason"`
		Message  string `json:"message"`
		ExitCode int    `json:"exitCode"`
	} `json:"terminated"`
}

func (p pod) side() rollout.Side { return rollout.Side(p.Metadata.Labels[sideLabel]) }

// leaving tells of a pod that was told to end.
func (p pod) leaving() bool { return p.Metadata.DeletionTimestamp != nil }

// ready tells of a pod that endpoints list.
func (p pod) ready() bool {
	for _, c := range p.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True" && !p.leaving()
		}
	}
	return false
}

func (p pod) restarts() (n int) {
	for _, c := range p.Status.Containers {
		n += c.RestartCount
	}
	return n
}

type service struct {
	Metadata meta `json:"metadata"`
	Spec     struct {
		Selector map[string]string `json:"selector"`
		Ports    []struct {
			Name       string `json:"name"`
			Port       int    `json:"port"`
			TargetPort any    `json:"targetPort"`
		} `json:"ports"`
	} `json:"spec"`
}
