create or replace function towpath.daemon_claim(
  process_id text, generation integer, job_id bigint, node text, incarnation uuid, ttl interval, machine text, boot text,
  out action text, out process_no bigint, out name text, out fence bigint, out attempt integer, out spec jsonb, out outlives boolean, out detail text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p towpath.process;
  c towpath.child;
begin
  if coalesce(machine, '') = '' or coalesce(boot, '') = '' then
    perform towpath.fail('TW400', 'machine or boot is missing', 'they say where the child will be');
  end if;
  if not exists (select from towpath.process x where x.id = daemon_claim.process_id and x.class = 'daemon') then
    action := 'skip'; detail := 'no such daemon'; return;
  end if;
  p := towpath.locked(process_id);
  name := p.definition;
  -- Until its end is known, nobody starts another: but who was cut off before he started it may ask again.
  select * into c from towpath.child x where x.process_no = p.no and x.outlives;
  if found and (c.pid is not null or not exists (select from towpath.lease l where l.process_no = p.no and l.incarnation = daemon_claim.incarnation)) then
    action := 'busy'; detail := format('its child may run on machine "%s"', c.machine); return;
  end if;
  if p.status not in ('queued', 'backoff')
     and not exists (select from towpath.lease l where l.process_no = p.no and l.incarnation = daemon_claim.incarnation) then
    action := 'skip'; detail := 'it is ' || p.status; return; -- the sweep decides about a lease that lapsed
  end if;
  select x.action, x.process_no, x.fence, x.attempt, x.spec, x.detail into action, process_no, fence, attempt, spec, detail
  from towpath.claim_process(process_id, node, incarnation, ttl, null, generation, job_id) x;
  if action <> 'run' then
    return;
  end if;
  outlives := coalesce((spec ->> 'outlives')::boolean, towpath.has_port(spec));
  insert into towpath.child as x (process_no, machine, boot, outlives) values (p.no, daemon_claim.machine, daemon_claim.boot, daemon_claim.outlives)
  on conflict on constraint child_pkey do update set machine = excluded.machine, boot = excluded.boot, outlives = excluded.outlives, port = null,
    pid = null, pid_start = null, started_at = null, ready_at = null, health = 'unknown', detail = null, checked_at = null;
  perform towpath.watch_daemons(node);
end $$;
comment on function towpath.daemon_claim(text, integer, bigint, text, uuid, interval, text, text) is
'Takes the lease of a daemon that is due, and notes on which machine its child is about to be. action: run, busy or skip.';

create or replace function towpath.daemon_port(process_no bigint, fence bigint, port integer) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
begin
  perform towpath.owned(process_no, fence);
  update towpath.child c set port = daemon_port.port where c.process_no = daemon_port.process_no;
  return found;
exception when unique_violation then
  return false;
end $$;
comment on function towpath.daemon_port(bigint, bigint, integer) is 'Keeps a port of the machine for a daemon; false when another daemon has it.';

create or replace function towpath.daemon_child(process_no bigint, fence bigint, pid integer, pid_start bigint, ready boolean) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t timestamptz := towpath.now();
  p towpath.process := towpath.owned(process_no, fence);
  c towpath.child;
begin
  update towpath.child x set pid = daemon_child.pid, pid_start = daemon_child.pid_start, started_at = coalesce(x.started_at, t),
    ready_at = case when ready then coalesce(x.ready_at, t) else x.ready_at end
  where x.process_no = p.no returning * into c;
  if not found then
    perform towpath.fail('TW409', format('daemon "%s" has no child to record', p.definition));
  end if;
  if ready and c.ready_at = t then
    perform towpath.note(p.no, 'process.ready', jsonb_strip_nulls(jsonb_build_object('attempt', p.attempt, 'pid', c.pid, 'port', c.port)));
    perform towpath.wake('towpath_events', p.id);
  end if;
  perform towpath.record_daemon(p.no, 'running');
end $$;
comment on function towpath.daemon_child(bigint, bigint, integer, bigint, boolean) is 'Records the child of a daemon, and that it is ready for work. Repeatable.';
