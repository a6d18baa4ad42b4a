package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Usage is what a group of responses cost. The sums leave out what nobody told; a nil one was told by none.
type Usage struct {
	Key             *string `db:"key" json:"key"` // nil: responses without it
	Responses       int64   `db:"responses" json:"responses"`
	Unknown         int64   `db:"unknown" json:"unknown"` // responses whose tokens are not known in full
	InputTokens     *int64  `db:"input_tokens" json:"input_tokens"`
	CachedTokens    *int64  `db:"cached_tokens" json:"cached_tokens"`
	OutputTokens    *int64  `db:"output_tokens" json:"output_tokens"`
	ReasoningTokens *int64  `db:"reasoning_tokens" json:"reasoning_tokens"`
}

// UsageFilter says what to sum and how.
type UsageFilter struct {
	By           string     // day, session, profile, model, project or tenant
	Since, Until *time.Time // UTC days, both included; nil: open
	Filter       map[string]string
}

// UsageSummary sums what responses cost: days from the oldest on, anything else from the dearest.
func (s *Store) UsageSummary(ctx context.Context, f UsageFilter) ([]Usage, error) {
	if f.Filter == nil {
		f.Filter = map[string]string{}
	}
	filter, err := json.Marshal(f.Filter)
	if err != nil {
		return nil, wrap("usage", err)
	}
	return all(ctx, s, "usage", pgx.RowToStructByName[Usage], "select * from towpath.usage_summary($1, $2, $3, $4)", f.By, f.Since, f.Until, filter)
}

// TurnUsage is what a turn has been told so far that its responses cost.
type TurnUsage struct {
	Process      string  `db:"process_id"`
	OutputTokens int64   `db:"output_tokens"`
	Seconds      float64 `db:"seconds"` // from its first start to the newest count
}

// TurnUsage lists what some processes have been told; those that were told nothing are left out.
func (s *Store) TurnUsage(ctx context.Context, ids []string) ([]TurnUsage, error) {
	return all(ctx, s, "turn usage", pgx.RowToStructByName[TurnUsage], "select * from towpath.turn_usage($1)", ids)
}
