package enginebench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// extism runs the nested module and compares its turn with ours. The product does not import it, so it is there only
// where its source is and Go can fetch or has fetched its modules.
func (b *bench) extism(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "run", ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		first, _, _ := strings.Cut(stderr.String(), "\n")
		return fmt.Errorf("go run in %s: %w: %s", dir, err, first)
	}
	theirs := map[string]float64{}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var r Row
		if err := dec.Decode(&r); err != nil {
			return fmt.Errorf("what extismbench printed: %w", err)
		}
		theirs[r.Name] = r.Value
	}
	for _, r := range b.rows {
		if r.Name == "turn_100_events_go_p50_us" {
			b.add("go_turn_vs_extism", r.Value, "us", theirs["extism_turn_100_events_p50_us"])
		}
		if r.Name == "idle_go_instance_kb" {
			b.add("idle_go_instance_vs_extism", r.Value, "KiB", theirs["extism_idle_instance_kb"])
		}
	}
	if theirs["extism_turn_100_events_p50_us"] == 0 {
		return errors.New("extismbench printed no figure for a turn")
	}
	return nil
}
