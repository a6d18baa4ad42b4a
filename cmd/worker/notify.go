package main

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"
)

// notify tells systemd that this node is ready, that it lives, as often as the watchdog asks, and that it stops once ctx
// ends. Without NOTIFY_SOCKET it does nothing.
func notify(ctx context.Context, getenv func(string) string, log *slog.Logger) {
	path := getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if strings.HasPrefix(path, "@") {
		path = "\x00" + path[1:] // an abstract socket
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		log.Warn("systemd is not told that this node is ready", "error", err)
		return
	}
	defer conn.Close()
	say := func(what string) {
		if _, err := conn.Write([]byte(what)); err != nil {
			log.Warn("systemd is not told", "what", what, "error", err)
		}
	}
	say("READY=1")
	var alive <-chan time.Time
	if micros, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && micros > 1 {
		tick := time.NewTicker(time.Duration(micros) * time.Microsecond / 2)
		defer tick.Stop()
		alive = tick.C
	}
	for {
		select {
		case <-alive:
			say("WATCHDOG=1")
		case <-ctx.Done():
			say("STOPPING=1")
			return
		}
	}
}
