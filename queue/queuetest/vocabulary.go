package queuetest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/towpath/towpath/hostabi/vocabulary"
)

// spoken checks what a test has put into its database against the list of events that backends share.
func spoken(tb testing.TB, dsn string) {
	ctx := context.Background() // the test's own has ended
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return // the test took its database away
	}
	defer conn.Close(ctx)
	var there bool
	if err := conn.QueryRow(ctx, "select to_regclass('towpath.event') is not null").Scan(&there); err != nil || !there {
		return
	}
	// The first of each kind, since a test may store a million of one.
	rows, err := conn.Query(ctx, `select type, data::text from (
		select e.type, e.data, row_number() over (partition by e.type) as n from towpath.event e) x where n <= 200`)
	if err != nil {
		tb.Errorf("queuetest: events: %v", err)
		return
	}
	var kind, data string
	if _, err := pgx.ForEachRow(rows, []any{&kind, &data}, func() error {
		if err := vocabulary.Check(kind, []byte(data)); err != nil {
			tb.Errorf("vocabulary: %v", err)
		}
		return nil
	}); err != nil {
		tb.Errorf("queuetest: events: %v", err)
	}
}
