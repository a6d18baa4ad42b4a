create or replace function towpath.health(reader_version integer default null) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('reachable', true, 'migration_ready', m.ready, 'ready', m.ready, 'version', c.version,
    'min_reader', c.min_reader, 'migration', g.newest, 'quarantined_sessions', q.n,
    'message', case when reader_version > c.version then format('the database is at version %s, this worker needs %s: run `worker migrate`', c.version, reader_version)
                    when reader_version < c.min_reader then format('the database needs version %s or newer of the worker, this is %s: install a newer one', c.min_reader, reader_version)
                    when q.n > 0 then format('%s sessions are quarantined: see column quarantine of towpath.sessions', q.n)
                    else 'ready' end)
  from towpath.code c
  cross join lateral (select coalesce(reader_version between c.min_reader and c.version, true) as ready) m
  cross join lateral (select count(*) as n from towpath.session s where s.quarantine is not null) q
  cross join lateral (select max(x.version) as newest from towpath.migration x) g
$$;
comment on function towpath.health(integer) is
'Whether a worker of a version (by default any) can work here: {"reachable", "migration_ready", "ready", "version", "min_reader", "migration", "quarantined_sessions", "message"}. An older worker stays ready beside a newer schema that still serves it.';

create or replace function towpath.contract() returns table (version integer, name text, checksum text, applied_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select m.version, m.name, m.checksum, m.applied_at from towpath.migration m order by m.version
$$;
comment on function towpath.contract() is 'The applied migrations with their SHA-256: what a build compares its own with.';
