package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Gate is what holds back the turns of a profile. A nil bound is none.
type Gate struct {
	Profile   string     `db:"profile" json:"profile"`
	Account   *string    `db:"account" json:"account"`
	Capacity  *int       `db:"capacity" json:"capacity"` // turns at once, over all nodes
	Running   int        `db:"running" json:"running"`
	HeldUntil *time.Time `db:"held_until" json:"held_until"`
	HeldFor   *string    `db:"held_for" json:"held_for"`
	HeldBy    *string    `db:"held_by" json:"held_by"` // the process that was told
	Budget    *int64     `db:"budget" json:"budget"`   // tokens
	Per       *string    `db:"per" json:"per"`         // "day", "month"
	Used      *int64     `db:"used" json:"used"`       // of the budget
	Paused    int        `db:"paused" json:"paused"`   // turns that wait for a budget
}

// Gates lists what holds back each profile.
func (s *Store) Gates(ctx context.Context) ([]Gate, error) {
	return all(ctx, s, "gates", pgx.RowToStructByName[Gate], "select * from towpath.gates order by profile")
}

// PutGate says what holds back the turns of a profile; keys that wish leaves out stay as they are, see towpath.gate_put.
func (s *Store) PutGate(ctx context.Context, profile string, wish map[string]any) error {
	encoded, err := json.Marshal(wish)
	if err != nil {
		return wrap("gate", err)
	}
	return exec(ctx, s, "gate", "select towpath.gate_put($1, $2)", profile, encoded)
}

// PutBudget says what the turns of a session may cost, in tokens; nil takes the bound away.
func (s *Store) PutBudget(ctx context.Context, session string, tokens *int64) error {
	return exec(ctx, s, "budget", "select towpath.budget_put($1, $2)", session, tokens)
}
