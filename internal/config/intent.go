package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Intent is the digest of what a user asks for: the config's bytes, the bytes of
// each change by its path in the config, and the target. It is the hex SHA-256
// of a statement with one line for each of them; paths are quoted, so that no
// arrangement of the same bytes can stand for another.
func Intent(configBytes []byte, changes []rollout.File, target string) string {
	statement := fmt.Appendf(nil, "config %s\n", digest(configBytes))
	byName := func(a, b rollout.File) int { return strings.Compare(a.Name, b.Name) }
	for _, f := range slices.SortedFunc(slices.Values(changes), byName) {
		statement = fmt.Appendf(statement, "change %q %s\n", f.Name, digest(f.Data))
	}
	return digest(fmt.Appendf(statement, "target %q\n", target))
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
