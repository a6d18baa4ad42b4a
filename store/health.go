package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/towpath/towpath/sql"
)

// Health says whether a worker can work with the database. Message has no part of the connection string.
type Health struct {
	Reachable           bool   `json:"reachable"`
	MigrationReady      bool   `json:"migration_ready"`
	Ready               bool   `json:"ready"`
	Version             int    `json:"version"`
	MinReader           int    `json:"min_reader"`
	Migration           int    `json:"migration"`
	QuarantinedSessions int64  `json:"quarantined_sessions"`
	Message             string `json:"message"`
}

// Health asks the database whether this build can work with it. It never fails: trouble is what it reports. Migrations
// that a newer build has added do not matter as long as that build says so; a changed one of ours does.
func (s *Store) Health(ctx context.Context) Health {
	h, err := one(ctx, s, "health", pgx.RowTo[Health], "select towpath.health($1)", sql.Version)
	if err == nil && h.MigrationReady {
		var wrong string
		if wrong, err = s.contract(ctx); wrong != "" {
			h.MigrationReady, h.Ready, h.Message = false, false, wrong
		}
	}
	switch {
	case err == nil:
		return h
	case notMigrated(err):
		return Health{Reachable: true, Message: "the database is not migrated: run `worker migrate`"}
	default:
		return Health{Message: "the database does not answer"}
	}
}

// Migration is one applied step of the tables.
type Migration struct {
	Version   int       `db:"version" json:"version"`
	Name      string    `db:"name" json:"name"`
	Checksum  string    `db:"checksum" json:"checksum"`
	AppliedAt time.Time `db:"applied_at" json:"applied_at"`
}

// Migrations lists the applied steps of the tables.
func (s *Store) Migrations(ctx context.Context) ([]Migration, error) {
	return all(ctx, s, "migrations", pgx.RowToStructByName[Migration], "select * from towpath.contract()")
}

// contract says where the applied steps differ from those that this build knows.
func (s *Store) contract(ctx context.Context) (string, error) {
	applied, err := s.Migrations(ctx)
	if err != nil {
		return "", err
	}
	sums := make(map[int]string, len(applied))
	for _, m := range applied {
		sums[m.Version] = m.Checksum
	}
	for _, m := range sql.Migrations() {
		switch sum, ok := sums[m.Version]; {
		case !ok:
			return fmt.Sprintf("migration %03d_%s is missing: run `worker migrate`", m.Version, m.Name), nil
		case sum != m.Checksum:
			return fmt.Sprintf("migration %03d_%s was applied with another text than this build has", m.Version, m.Name), nil
		}
	}
	return "", nil
}
