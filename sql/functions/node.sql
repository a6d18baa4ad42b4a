create or replace function towpath.node_start(id text, incarnation uuid, version text, host text, pid integer, queues text[]) returns bytea
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  insert into towpath.node (id, incarnation, version, host, pid, queues, started_at, seen_at)
  values (id, incarnation, version, host, pid, queues, towpath.now(), towpath.now())
  on conflict on constraint node_pkey do update set incarnation = excluded.incarnation, version = excluded.version, host = excluded.host,
    pid = excluded.pid, queues = excluded.queues, started_at = excluded.started_at, seen_at = excluded.seen_at, stopped_at = null;
  select towpath.digest('seed of frozen plugins')
$$;
comment on function towpath.node_start(text, uuid, text, text, integer, text[]) is 'A worker says that it is there: a new incarnation of its name. Returns the deployment''s secret seed for freezing plugins, the same on all nodes.';

create or replace function towpath.node_stop(id text, incarnation uuid) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  update towpath.node n set stopped_at = towpath.now(), seen_at = towpath.now()
  where n.id = node_stop.id and n.incarnation = node_stop.incarnation
$$;
comment on function towpath.node_stop(text, uuid) is 'A worker says that it leaves.';
