package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Finding is one thing that is wrong, and what to do about it.
type Finding struct {
	Level string `db:"level" json:"level"` // error: broken now; warning: will hurt
	Area  string `db:"area" json:"area"`
	Text  string `db:"finding" json:"finding"`
	Fix   string `db:"fix" json:"fix"`
}

// Findings lists what is wrong, as far as the database can tell. patience is how old a due job, a lapsed lease or an
// open transaction may be.
func (s *Store) Findings(ctx context.Context, patience time.Duration) ([]Finding, error) {
	return all(ctx, s, "findings", pgx.RowToStructByName[Finding], "select * from towpath.findings($1)", patience)
}
