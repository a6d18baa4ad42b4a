create or replace function towpath.daemon_orphans(machine text, incarnation uuid)
returns table (process_id text, process_no bigint, name text, spec jsonb, attempt integer, boot text, pid integer, pid_start bigint, port integer, ready boolean,
               owner uuid, leased boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select p.id, p.no, p.definition, p.spec, p.attempt, c.boot, c.pid, c.pid_start, c.port, c.ready_at is not null, a.incarnation, l.process_no is not null
  from towpath.child c join towpath.process p on p.no = c.process_no
  join towpath.attempt a on a.process_no = p.no and a.attempt = p.attempt
  left join towpath.lease l on l.process_no = p.no
  where c.machine = daemon_orphans.machine and c.outlives and p.finalized_at is null
    and (l.incarnation is null and p.status = 'waiting' or l.incarnation <> daemon_orphans.incarnation)
  order by p.no
$$;
comment on function towpath.daemon_orphans(text, uuid) is
'Daemons whose child may live on a machine and whose worker is, or may be, another: who asks must know that owner is dead before adopting one.';

create or replace function towpath.daemon_adopt(process_no bigint, attempt integer, node text, incarnation uuid, ttl interval, out fence bigint, out new_attempt integer)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t timestamptz := towpath.now();
  p towpath.process;
begin
  p := towpath.locked((select x.id from towpath.process x where x.no = daemon_adopt.process_no));
  if p.finalized_at is not null or p.class <> 'daemon' or p.attempt <> daemon_adopt.attempt or p.status not in ('running', 'waiting')
     or not exists (select from towpath.child c where c.process_no = p.no and c.outlives) then
    return; -- somebody else was here
  end if;
  fence := nextval('towpath.fence_seq');
  new_attempt := p.attempt + 1;
  update towpath.attempt a set ended_at = t, end_reason = 'worker died' where a.process_no = p.no and a.ended_at is null;
  insert into towpath.lease (process_no, node_id, incarnation, fence, claimed_at, expires_at)
  values (p.no, node, daemon_adopt.incarnation, daemon_adopt.fence, t, t + ttl)
  on conflict on constraint lease_pkey do update set node_id = excluded.node_id, incarnation = excluded.incarnation,
    fence = excluded.fence, claimed_at = excluded.claimed_at, expires_at = excluded.expires_at;
  insert into towpath.attempt (process_no, attempt, node_id, incarnation, fence, first_seq, started_at)
  values (p.no, new_attempt, node, daemon_adopt.incarnation, daemon_adopt.fence,
          towpath.note(p.no, 'process.started', jsonb_build_object('attempt', new_attempt, 'node', node, 'adopted', true)), t);
  update towpath.process x set status = 'running', attempt = new_attempt, wait = null, updated_at = t where x.no = p.no;
  update towpath.daemon d set restart_of = new_attempt where d.process_id = p.id and d.restart_of = p.attempt;
  perform towpath.record_daemon(p.no, 'running');
  perform towpath.watch_daemons(node);
  perform towpath.wake('towpath_events', p.id);
end $$;
comment on function towpath.daemon_adopt(bigint, integer, text, uuid, interval) is
'A worker on the machine of a daemon''s child, who knows that its owner is dead, becomes the owner: a new attempt with the same child, which costs nothing. No fence when somebody else was faster.';
