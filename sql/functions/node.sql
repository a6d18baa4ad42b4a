create or replace function towpath.node_start(id text, incarnation uuid, version text, host text, pid integer, queues text[]) returns bytea
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  insert into towpath.node (id, incarnation, version, host, pid, queues, started_at, seen_at)
  values (id, incarnation, version, host, pid, queues, towpath.now(), towpath.now())
  on conflict on constraint node_pkey do update set incarnation = excluded.incarnation, version = excluded.version, host = excluded.host,
    pid = excluded.pid, queues = excluded.queues, started_at = excluded.started_at, seen_at = excluded.seen_at, stopped_at = null, lock_key = null;
  select towpath.digest('seed of frozen plugins')
$$;
comment on function towpath.node_start(text, uuid, text, text, integer, text[]) is 'A worker says that it is there: a new incarnation of its name. Returns the deployment''s secret seed for freezing plugins, the same on all nodes.';

create or replace function towpath.node_stop(id text, incarnation uuid) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  update towpath.node n set stopped_at = towpath.now(), seen_at = towpath.now()
  where n.id = node_stop.id and n.incarnation = node_stop.incarnation
    -- While it has turns that somebody could take over, it is to be watched.
    and not exists (select from towpath.lease l join towpath.process p on p.no = l.process_no
                    where l.incarnation = node_stop.incarnation and p.disposition = 'rerunnable')
$$;
comment on function towpath.node_stop(text, uuid) is 'A worker says that it leaves. Without effect while it holds leases of rerunnable processes.';

create or replace function towpath.node_lost(id text, incarnation uuid) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  -- One that has its lock again lives: the lock keeps it from saying so before this is committed.
  select towpath.node_stop(n.id, n.incarnation) from towpath.node n
  where n.id = node_lost.id and n.incarnation = node_lost.incarnation and pg_try_advisory_xact_lock_shared(n.lock_key)
$$;
comment on function towpath.node_lost(text, uuid) is 'Whoever has swept the processes of a dead worker says that it died. Without effect on one that holds its lock or leases of rerunnable processes.';

create or replace function towpath.hold(node text, incarnation uuid) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set lock_timeout = '5 s' as $$
declare
  key bigint := hashtextextended('towpath node ' || incarnation, 0);
begin
  begin
    perform pg_advisory_lock(key);
  exception when lock_not_available then
    return false;
  end;
  update towpath.node n set lock_key = key, stopped_at = null where n.id = hold.node and n.incarnation = hold.incarnation;
  if not found then
    perform pg_advisory_unlock(key);
    perform towpath.fail('TW409', format('node "%s" has another incarnation', node), 'two workers have the same name: give each its own');
  end if;
  perform towpath.wake('towpath_control', '*');
  return true;
end $$;
comment on function towpath.hold(text, uuid) is 'Takes the lock that says this node lives, for the length of the connection; false when the connection before still has it.';

create or replace function towpath.watch(node text, ttl interval, out state text, out peer text, out incarnation uuid)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10 s' as $$
declare
  n towpath.node;
begin
  -- The next in the ring of names.
  select * into n from towpath.node x where x.lock_key is not null and x.stopped_at is null and x.id <> watch.node
  order by x.id > watch.node desc, x.id limit 1;
  if not found then
    state := 'alone'; return;
  end if;
  peer := n.id; incarnation := n.incarnation;
  begin
    perform pg_advisory_xact_lock_shared(n.lock_key);
  exception when lock_not_available or query_canceled then
    state := 'alive'; return;
  end;
  -- After a restart of the server whoever connects first finds everybody's lock free.
  if towpath.now() - pg_postmaster_start_time() < ttl then
    state := 'spared'; return;
  end if;
  -- Nothing is noted here: who asked may have died as well, and nobody hears the answer. Whoever has swept says node_lost.
  state := case when exists (select from towpath.node x where x.id = n.id and x.incarnation = n.incarnation and x.stopped_at is null)
                then 'lost' else 'alive' end;
end $$;
comment on function towpath.watch(text, interval) is
'Waits up to ten seconds for the lock of the next node in the ring. state: alive, lost (incarnation has died: sweep it, then node_lost), alone (no other node), spared (the server has just started).';

create or replace function towpath.nudge(pid integer) returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select pg_cancel_backend(a.pid) from pg_stat_activity a
  where a.pid = nudge.pid and a.datname = current_database() and a.query like '%towpath.watch(%' and a.state = 'active'
$$;
comment on function towpath.nudge(integer) is 'Ends the wait of a watching connection, so that it sees who has joined.';
