//go:build !unix

package worker

import "time"

const leftoverAge = 10 * time.Minute

func removeLeftovers(string, time.Duration) (int, error) { return 0, nil }
