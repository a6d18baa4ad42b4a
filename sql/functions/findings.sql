create or replace function towpath.findings(patience interval default '5 minutes') returns table (level text, area text, finding text, fix text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select 'error', 'clock', format('towpath.now() is shifted by %s: a test was here', c.shift), 'delete from towpath.clock'
  from towpath.clock c
  union all
  select 'error', 'guard', format('trigger %s of %s.river_job is missing or disabled: jobs wait for polls, go astray, become others, or stop a queue', t.name, ':river'),
    format('alter table :river.river_job enable trigger %s, or run `worker migrate` of a newer version', t.name)
  from (values ('towpath_route'), ('towpath_wake'), ('towpath_kind')) t(name)
  where not exists (select from pg_trigger g where g.tgrelid = ':river.river_job'::regclass and g.tgname = t.name and g.tgenabled in ('O', 'A'))
  union all
  select 'warning', 'roles', format('role %s does not exist', r.name), format('create role %s nologin, then run `worker migrate` of a newer version', r.name)
  from (values ('towpath_client'), ('towpath_enqueue'), ('towpath_operator'), ('towpath_reader'), ('towpath_worker')) r(name)
  where not exists (select from pg_roles x where x.rolname = r.name)
  union all
  select 'error', 'roles', format('role %s may not call towpath.%s', r.rolname, p.proname), format('grant execute on function %s to %s', p.oid::regprocedure, r.rolname)
  from (values ('towpath_client', 'submit'), ('towpath_client', 'events'), ('towpath_reader', 'process'), ('towpath_worker', 'claim'), ('towpath_worker', 'sweep')) w(role, name)
  join pg_roles r on r.rolname = w.role
  join pg_proc p on p.pronamespace = 'towpath'::regnamespace and p.proname = w.name
  where not has_function_privilege(r.oid, p.oid, 'execute')
  union all
  select s.level, 'settings', format('%s is %s: %s', s.name, current_setting(s.name), s.why), s.fix
  from (values
    ('fsync', 'on', 'error', 'a crash of the machine may lose the database', 'alter system set fsync = on'),
    ('full_page_writes', 'on', 'error', 'a crash of the machine may damage the database', 'alter system set full_page_writes = on'),
    ('autovacuum', 'on', 'error', 'tables grow without end', 'alter system set autovacuum = on'),
    ('track_counts', 'on', 'error', 'autovacuum does not know what to do', 'alter system set track_counts = on'),
    ('default_transaction_read_only', 'off', 'error', 'nothing can be submitted', 'alter database … reset default_transaction_read_only'),
    ('default_transaction_isolation', 'read committed', 'warning', 'concurrent submits fail with 40001', 'alter database … reset default_transaction_isolation'),
    ('statement_timeout', '0', 'warning', 'it ends the waits of nodes for each other', 'alter role … set statement_timeout for clients only'),
    ('synchronous_commit', 'on', 'warning', 'a crash of the server may lose turns that were accepted', 'alter system set synchronous_commit = on')
  ) s(name, good, level, why, fix)
  where current_setting(s.name) <> s.good and not (s.name = 'synchronous_commit' and current_setting(s.name) in ('local', 'remote_write', 'remote_apply'))
  union all
  select 'warning', 'settings', format('max_connections is %s: a node takes 16 and two or three of its own', current_setting('max_connections')), 'raise it, or put a pooler before the server'
  where current_setting('max_connections')::int < 40
  union all
  select case when j.n > 0 then 'error' else 'warning' end, 'nodes', format('no node works queue %s, %s jobs wait', q.name, j.n),
    format('start a worker, or give one --queues with %s in it', q.name)
  from (values ('turns'), ('lifecycle'), ('gc')) q(name)
  cross join lateral (select count(*) as n from :river.river_job r where r.queue = q.name and r.state = 'available') j
  where not exists (select from towpath.node n where n.stopped_at is null and n.seen_at > towpath.now() - interval '2 minutes' and q.name = any (n.queues))
  union all
  select 'error', 'queue', format('the oldest due job of queue %s has waited for %s', q.name, date_trunc('second', q.age)),
    'see whether nodes are at their limits (`worker top`), raise --turns, or add nodes'
  from (select r.queue as name, clock_timestamp() - min(r.scheduled_at) as age from :river.river_job r where r.state = 'available' group by r.queue) q
  where q.age > patience
  union all
  select 'warning', 'queue', format('queue %s is paused since %s', q.name, q.paused_at), 'resume it in River UI'
  from :river.river_queue q where q.paused_at is not null
  union all
  select 'error', 'turns', format('process %s is %s, but its River job is %s', p.id, p.status, towpath.job_trouble(p, patience)),
    'a sweep repairs it: see that a node works queue lifecycle'
  from towpath.process p
  where p.finalized_at is null and p.status in ('queued', 'backoff') and p.river_job_id is not null and towpath.job_trouble(p, patience) is not null
  union all
  select 'error', 'turns', format('the lease of process %s lapsed at %s, and nobody took over', p.id, l.expires_at),
    'a sweep repairs it: see that a node works queue lifecycle'
  from towpath.lease l join towpath.process p on p.no = l.process_no where l.expires_at < towpath.now() - patience and p.disposition = 'rerunnable'
  union all
  select 'warning', 'turns', format('turn %s has an outside call in doubt since %s', d.id, d.since),
    case d.status when 'waiting' then format('decide: worker turn resolve %s retry, or fail', d.id) else 'the node that takes it over applies the profile''s in_doubt' end
  from towpath.in_doubt d
  union all
  select 'error', 'sessions', format('session %s is quarantined: %s', s.id, s.quarantine), 'repair its snapshot, then select towpath.release_quarantine(…)'
  from towpath.session s where s.quarantine is not null
  union all
  select 'warning', 'profiles', format('profile %s is unhealthy: %s', f.name, coalesce(f.health_detail, 'no reason given')), 'see the log of the nodes that serve it'
  from towpath.profile f where f.enabled and f.health = 'unhealthy'
  union all
  select 'warning', 'profiles', format('profile %s is disabled, and %s turns of it wait', f.name, count(*)), 'enable it, or cancel them'
  from towpath.profile f join towpath.process p on p.profile = f.name and p.finalized_at is null and p.status in ('queued', 'backoff')
  where not f.enabled group by f.name
  union all
  select 'warning', 'database', format('a transaction of process %s (%s, database %s) is open since %s: vacuum and the change feed wait for it',
    a.pid, coalesce(nullif(a.application_name, ''), 'unnamed'), a.datname, a.xact_start), format('end it: select pg_terminate_backend(%s)', a.pid)
  from pg_stat_activity a
  where (a.backend_xid is not null or a.backend_xmin is not null) and clock_timestamp() - a.xact_start > patience and a.backend_type = 'client backend'
  union all
  select 'warning', 'database', format('prepared transaction %s is open since %s', x.gid, x.prepared), format('rollback prepared %L', x.gid)
  from pg_prepared_xacts x where clock_timestamp() - x.prepared > patience
  union all
  select 'warning', 'bloat', format('%s of the %s rows of %s are dead', t.n_dead_tup, t.n_dead_tup + t.n_live_tup, t.relid::regclass),
    format('vacuum %s, and see what keeps autovacuum from it', t.relid::regclass)
  from pg_stat_user_tables t
  where (t.schemaname = 'towpath' or t.relid = ':river.river_job'::regclass) and t.n_dead_tup > 10000 and t.n_dead_tup > t.n_live_tup
  union all
  select 'error', 'database', format('%s transactions until the server refuses to write', 2147483647 - age(d.datfrozenxid)), 'vacuum freeze'
  from pg_database d where d.datname = current_database() and age(d.datfrozenxid) > 1500000000
$$;
comment on function towpath.findings(interval) is
'What is wrong with this deployment, as far as the database can tell, each with its fix. level: error (broken now) or warning (will hurt). patience is how old a job, a lapsed lease or a transaction may be.';
