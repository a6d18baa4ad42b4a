package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/towpath/towpath/queue/queuetest"
)

// ui cancel|retry|delete JOB, ui pause|resume QUEUE presses a button of River UI.
func cmdUI(ts *testscript.TestScript, neg bool, args []string) {
	const usage = "ui cancel|retry|delete JOB, ui pause|resume QUEUE"
	only(ts, neg, args, usage, len(args) == 2)
	pool, err := pgxpool.New(context.Background(), databaseOf(ts))
	ts.Check(err)
	defer pool.Close()
	ui := queuetest.NewUI(of(ts).t, pool)
	if press := map[string]func(context.Context, string) error{"pause": ui.Pause, "resume": ui.Resume}[args[0]]; press != nil {
		ts.Check(press(context.Background(), args[1]))
		return
	}
	press := map[string]func(context.Context, int64) error{"cancel": ui.Cancel, "retry": ui.Retry, "delete": ui.Delete}[args[0]]
	only(ts, neg, args, usage, press != nil)
	job, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(press(context.Background(), job))
}

// until CONDITION waits until an SQL condition holds. It is for what nobody notifies anybody of.
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "until CONDITION", len(args) == 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseOf(ts))
	ts.Check(err)
	defer conn.Close(context.WithoutCancel(ctx))
	for {
		var holds bool
		if err := conn.QueryRow(ctx, "select coalesce(("+args[0]+"), false)").Scan(&holds); err != nil {
			ts.Fatalf("until %s: %v", args[0], err)
		}
		if holds {
			return
		}
		ts.Check(conn.QueryRow(ctx, "select pg_sleep(0.02)").Scan(new(any)))
	}
}

// get NODE PATH prints what a node answers at its monitoring address, and the status code before it.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "get NODE PATH", len(args) == 2)
	found := regexp.MustCompile(`msg=monitoring address=(\S+)`).FindStringSubmatch(nodeOf(ts, args[0]).text())
	if found == nil {
		ts.Fatalf("node %s answers nowhere", args[0])
	}
	resp, err := http.Get("http://" + found[1] + args[1])
	ts.Check(err)
	defer resp.Body.Close()
	fmt.Fprintln(ts.Stdout(), resp.StatusCode)
	_, err = io.Copy(ts.Stdout(), resp.Body)
	ts.Check(err)
}
