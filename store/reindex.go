package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// thin lists the indexes of the schema that are several times larger than their entries need, by the planner's figures.
// New keys are above all old ones, so pages of which a prune leaves a few entries are never filled again.
const thin = `select format('%I.%I', 'towpath', i.relname)
	from pg_class i join pg_index x on x.indexrelid = i.oid join pg_class c on c.oid = x.indrelid join pg_am a on a.oid = i.relam
	where c.relnamespace = 'towpath'::regnamespace and a.amname = 'btree' and x.indisvalid and i.reltuples >= 0 and pg_relation_size(i.oid) > $1
	  and pg_relation_size(i.oid) > 3 * i.reltuples / 0.9 * (12 + (
	    select sum(coalesce(s.avg_width, 16)) from pg_attribute t left join pg_stats s on s.schemaname = 'towpath' and s.tablename = c.relname and s.attname = t.attname
	    where t.attrelid = c.oid and t.attnum = any(x.indkey::int2[])))
	order by 1`

// ThinIndexBytes is the size from which an index is worth building anew.
const ThinIndexBytes = 16 << 20

// Reindex builds the indexes anew that a prune has left several times larger than they need to be, and returns their names.
// Readers and writers go on meanwhile. It is the owner's: for others it does nothing, nor through a pooler, where nobody
// can hold the lock that keeps two from working at once.
func (s *Store) Reindex(ctx context.Context, above int64) (names []string, err error) {
	if s.pool.Config().ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeExec {
		return nil, nil
	}
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, wrap("reindex", err)
	}
	defer c.Release()
	const lock = "hashtextextended('towpath reindex', 0)"
	var owner, free bool
	err = c.QueryRow(ctx, "select pg_has_role(relowner, 'usage') from pg_class where oid = 'towpath.event'::regclass").Scan(&owner)
	if err != nil || !owner {
		return nil, wrap("reindex", err)
	}
	if err := c.QueryRow(ctx, "select pg_try_advisory_lock("+lock+")").Scan(&free); err != nil || !free {
		return nil, wrap("reindex", err)
	}
	defer func() { _, _ = c.Exec(context.WithoutCancel(ctx), "select pg_advisory_unlock("+lock+")") }()
	// What one that was killed has left is in nobody's way but large.
	halves, err := texts(ctx, c, `select format('%I.%I', 'towpath', i.relname) from pg_class i join pg_index x on x.indexrelid = i.oid
		where i.relnamespace = 'towpath'::regnamespace and not x.indisvalid and i.relname ~ '_cc(new|old)[0-9]*$'`)
	if err != nil {
		return nil, wrap("reindex", err)
	}
	for _, name := range halves {
		if _, err := c.Exec(ctx, "drop index concurrently if exists "+name); err != nil {
			return nil, wrap("reindex", err)
		}
	}
	list, err := texts(ctx, c, thin, above)
	if err != nil {
		return nil, wrap("reindex", err)
	}
	for _, name := range list {
		if _, err := c.Exec(ctx, "reindex index concurrently "+name); err != nil {
			var pg *pgconn.PgError
			if errors.As(err, &pg) && (pg.Code == "55P03" || pg.Code == "40P01") {
				continue // somebody holds the table: next time
			}
			return names, wrap("reindex", err)
		}
		names = append(names, name)
	}
	return names, nil
}

func texts(ctx context.Context, c interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, sql string, args ...any) ([]string, error) {
	rows, err := c.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
