package api

import (
	"encoding/json"
	"time"
)

// State is the whole platform as the agent sees it at one moment.
type State struct {
	At      time.Time `json:"at"`
	Service string    `json:"service"`
	// Token changes with every mark written and every launch, scaling, shift or
	// retirement; not with what instances do by themselves.
	Token  string `json:"token"`
	Public string `json:"public"` // address that takes public traffic
	// Mark is what was last written with [Client.SetMark], null before that.
	Mark  json.RawMessage    `json:"mark,omitempty"`
	Split Split              `json:"split"`
	Sides map[Side]SideState `json:"sides"`
	// Draining lists instances that take no more requests and have not ended.
	Draining []Instance `json:"draining,omitempty"`
}

// Split is how public traffic is divided. Before the first shift Weights is empty.
type Split struct {
	Weights   Weights   `json:"weights"`
	InForceAt time.Time `json:"in_force_at,omitzero"`
}

// SideState is what stands on a side. A side whose revision was retired keeps
// its definition with Desired 0.
type SideState struct {
	Revision Revision `json:"revision"`
	// Spec lacks the values of Env, which may be secret; EnvNames has the names.
	Spec     Spec     `json:"spec"`
	EnvNames []string `json:"env_names,omitempty"`
	// Desired is how many are to run, at most Spec.Instances.
	Desired int `json:"desired"`
	// Serving is how many of them, the first ones, may take requests.
	Serving int `json:"serving"`
	// Ready is how many are ready, held ones included.
	Ready     int        `json:"ready"`
	Instances []Instance `json:"instances"`
}

// Phase is where an instance is in its life.
type Phase string

// The phases of an instance. Only Ready ones take new requests, unless a side
// has nothing better than Failing ones.
const (
	Starting Phase = "starting" // never healthy yet since its start
	Ready    Phase = "ready"    // answers its health path
	Failing  Phase = "failing"  // runs, was ready, does not answer its health path now
	Waiting  Phase = "waiting"  // ended by itself; starts again after a pause
	Draining Phase = "draining" // takes no more requests, ends soon
)

// Instance is one process of a revision.
type Instance struct {
	Name     string   `json:"name"`
	Side     Side     `json:"side"`
	Revision Revision `json:"revision"`
	Phase    Phase    `json:"phase"`
	// Held is set for one that takes no requests even when it is ready.
	Held bool `json:"held,omitempty"`
	PID  int  `json:"pid,omitempty"`
	// Address is where it answers on this host, past the public routing.
	Address   string    `json:"address,omitempty"`
	InFlight  int       `json:"in_flight"`
	Restarts  int       `json:"restarts"`
	StartedAt time.Time `json:"started_at,omitzero"`
	ReadyAt   time.Time `json:"ready_at,omitzero"`
	// LastHealth is the last answer of the health path that was not healthy.
	LastHealth string `json:"last_health,omitempty"`
	// LastError says how the last start or run ended, if not by our will.
	LastError string `json:"last_error,omitempty"`
	// LogTail is the end of its output, given while it is not ready.
	LogTail string `json:"log_tail,omitempty"`
}

// Launch asks for a revision on a side. Without Spec it is the definition that
// the side kept, whose revision must be the one named.
type Launch struct {
	IfToken  string   `json:"if_token"`
	Revision Revision `json:"revision"`
	Spec     *Spec    `json:"spec,omitempty"`
	// Instances is how many to begin with, 1 to Spec.Instances; 0 means all.
	// All of them serve. Of a revision that stands there already missing ones
	// are started, and none is ended.
	Instances int `json:"instances,omitempty"`
	// Sessions hold for both sides from this launch on; nil for none. Clients
	// that met what a launch replaced are new to it.
	Sessions *Sessions `json:"sessions,omitempty"`
}

// Scale asks for a number of instances on a side where some run.
type Scale struct {
	IfToken string `json:"if_token"`
	// Instances is how many run, 1 to Spec.Instances. Those that are missing are
	// started; of too many the last ones are drained and ended.
	Instances int `json:"instances"`
	// Serving is how many of them, the first ones, may take requests. The others
	// are held: they run and are asked for their health, and get none.
	Serving int `json:"serving"`
	// Drain is how long requests in flight at ended instances may go on before
	// they are cut.
	Drain Duration `json:"drain"`
}

// Shift asks for a split.
type Shift struct {
	IfToken string  `json:"if_token"`
	Weights Weights `json:"weights"`
}

// Retire asks for the end of the instances on a side.
type Retire struct {
	IfToken string `json:"if_token"`
	// Drain is how long requests in flight may go on before they are cut.
	Drain Duration `json:"drain"`
	// Forget also drops the definition.
	Forget bool `json:"forget,omitempty"`
}

// SetMark asks for a mark.
type SetMark struct {
	IfToken string          `json:"if_token"`
	Mark    json.RawMessage `json:"mark"`
}

// Done answers every change.
type Done struct {
	Token string `json:"token"`
	// InForceAt is set by a shift: from then on no request was routed by the
	// former split.
	InForceAt time.Time `json:"in_force_at,omitzero"`
	// Cut is set by a retirement or a scaling: requests and upgraded connections
	// still in flight at its deadline.
	Cut int `json:"cut,omitempty"`
	// Unsaved is set when the change is in force and could not be written to
	// disk: an agent that starts again would not know of it.
	Unsaved string `json:"unsaved,omitempty"`
}
