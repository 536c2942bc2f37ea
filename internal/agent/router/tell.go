package router

import (
	"net/http"
	"strconv"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// What a client is told of each answer, so that it can keep its own account of
// a release: who answered, at which share of the traffic that revision was
// when the request was routed, and, where the router had to answer itself, why.
const (
	headerRevision = "Gapless-Revision"
	headerWeight   = "Gapless-Weight"
	headerError    = "Gapless-Error"
)

// tell overwrites what the instance may say under these names.
func (e *exchange) tell(header http.Header) {
	header.Set(headerRevision, e.instance.revision)
	header.Set(headerWeight, e.weight)
	header.Del(headerError)
}

// percents are the weights as clients are told them.
func percents(weights api.Weights) map[api.Side]string {
	told := make(map[api.Side]string, len(weights))
	for side, weight := range weights {
		told[side] = strconv.FormatFloat(float64(weight)/10, 'f', -1, 64)
	}
	return told
}
