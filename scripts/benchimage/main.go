// Command benchimage measures how long "docker run" of an image takes to the
// first line of its output, beside an image whose program does nothing but
// write one. Its argument is the image.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	runs    = 20
	nothing = "gapless-bench/nothing"
	program = "package main\n\nfunc main() { println(\"nothing\") }\n"
)

func main() {
	if err := run(context.Background(), os.Stdout, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "benchimage:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, image string) error {
	if err := buildNothing(ctx); err != nil {
		return err
	}
	var bare, whole []time.Duration
	for i := range runs + 1 { // in turn, so that both meet the same moods of the machine
		n, err := firstLine(ctx, nothing)
		if err != nil {
			return err
		}
		g, err := firstLine(ctx, image, "version")
		if err != nil {
			return err
		}
		if i > 0 { // the first of each is not warm
			bare, whole = append(bare, n), append(whole, g)
		}
	}
	size, err := exec.CommandContext(ctx, "docker", "image", "inspect", "--format", "{{.Size}}", image).Output()
	if err != nil {
		return fmt.Errorf("size of %s: %w", image, err)
	}
	_, err = fmt.Fprintf(out, "image %s: %s bytes\n%s%smedian beside it: %s\n", image, strings.TrimSpace(string(size)),
		row("do-nothing image", bare), row(image+" version", whole), (middle(whole) - middle(bare)).Round(time.Millisecond))
	return err
}

func row(name string, all []time.Duration) string {
	return fmt.Sprintf("%s, %d runs: shortest %s, median %s, longest %s\n", name, len(all),
		slices.Min(all).Round(time.Millisecond), middle(all).Round(time.Millisecond), slices.Max(all).Round(time.Millisecond))
}

func middle(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// firstLine is how long an image takes to write a line, to either stream.
func firstLine(ctx context.Context, args ...string) (took time.Duration, err error) {
	cmd := exec.CommandContext(ctx, "docker", append([]string{"run", "--rm"}, args...)...)
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	cmd.Stdout, cmd.Stderr = w, w
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	if err := w.Close(); err != nil {
		return 0, err
	}
	if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
		return 0, fmt.Errorf("docker run %s: %w", strings.Join(args, " "), err)
	}
	took = time.Since(began)
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("docker run %s: %w", strings.Join(args, " "), err)
	}
	return took, r.Close()
}

func buildNothing(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "nothing-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // of the system's temporary directory
	for name, text := range map[string]string{
		"main.go": program, "go.mod": "module nothing\n",
		"Dockerfile": "FROM scratch\nCOPY nothing /nothing\nENTRYPOINT [\"/nothing\"]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"go", "build", "-o", "nothing", "."},
		{"docker", "build", "--quiet", "--tag", nothing, "."},
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}
