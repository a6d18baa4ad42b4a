package supervise

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"
)

// pidFile is what stands beside a daemon's logs while its child runs: for people, and for the next worker, should this one
// have died before the row was written.
type pidFile struct {
	PID       int       `json:"pid"`
	Port      int       `json:"port,omitempty"`
	Owner     string    `json:"owner,omitempty"` // session
	Command   string    `json:"command"`
	StartedAt time.Time `json:"started_at"`
	Start     uint64    `json:"start"` // in the machine's ticks: tells a reused pid
	Boot      string    `json:"boot"`
	Process   string    `json:"process"`
	Attempt   int       `json:"attempt"`
	Fence     int64     `json:"fence"`
}

func pidPath(dir string) string { return filepath.Join(dir, "pid.json") }

// write replaces the file as a whole.
func (p pidFile) write(dir string) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	fresh := pidPath(dir) + ".new"
	if err := os.WriteFile(fresh, text, 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, pidPath(dir))
}

// readPID is false when there is none, or none that can be read.
func readPID(dir string) (p pidFile, ok bool) {
	text, err := os.ReadFile(pidPath(dir))
	return p, err == nil && json.Unmarshal(text, &p) == nil && p.PID > 0
}
