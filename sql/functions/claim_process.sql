create or replace function towpath.claim_process(
  process_id text, node text, incarnation uuid, ttl interval, renew_every interval default null, generation integer default null, job_id bigint default null,
  out action text, out process_no bigint, out fence bigint, out attempt integer, out spec jsonb, out env jsonb, out holder text,
  out lease_until timestamptz, out detail text)
-- Every statement finds a few rows by a key: a plan made for the values would be no better than the general one.
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t timestamptz := towpath.now();
  p towpath.process;
  l towpath.lease;
begin
  if coalesce(node, '') = '' or incarnation is null then
    perform towpath.fail('TW400', 'node and incarnation are missing', 'a name for the machine, and a new uuid for each start of the program');
  end if;
  if ttl is null or ttl < '1 second' or ttl > '1 hour' or renew_every <= '0' or ttl < 3 * renew_every then
    perform towpath.fail('TW400', 'ttl is not from 1 second to 1 hour, and at least three times renew_every');
  end if;
  p := towpath.locked(process_id);
  process_no := p.no;
  if p.class in ('turn', 'run', 'external') then
    perform towpath.fail('TW409', format('process "%s" of class %s is not for claim', p.id, p.class),
                         'turns come with their River job, runs act through their turns, external processes have their own executor');
  end if;
  if p.attempt > 0 then
    select * into l from towpath.lease x where x.process_no = p.no;
  end if;
  if l.incarnation = claim_process.incarnation and l.expires_at > t then
    update towpath.lease x set expires_at = greatest(x.expires_at, t + ttl) where x.process_no = p.no returning x.expires_at into lease_until;
    fence := l.fence; attempt := p.attempt; action := 'run';
  elsif l.expires_at > t then
    action := 'busy'; detail := format('node "%s" holds the lease', l.node_id);
  elsif p.disposition = 'owner_bound' and p.first_started ->> 'incarnation' <> claim_process.incarnation::text then
    action := 'skip'; detail := format('only node "%s" may execute it', p.first_started ->> 'node');
  elsif p.status = 'waiting' or p.next_attempt_at > t then
    action := 'skip'; detail := case p.status when 'waiting' then 'it waits' else format('not before %s', p.next_attempt_at) end;
  else
    select x.action, x.fence, x.attempt, x.detail into action, fence, attempt, detail
    from towpath.take(p, job_id, coalesce(claim_process.generation, p.generation), node, claim_process.incarnation, ttl) x;
    perform towpath.store_claim(ttl);
  end if;
  if action = 'run' then
    holder := node; lease_until := coalesce(lease_until, t + ttl);
    spec := p.spec;
    if p.env_id is not null then
      env := (select e.body from towpath.env e where e.id = p.env_id);
    end if;
  else
    select x.node_id, x.expires_at into holder, lease_until from towpath.lease x where x.process_no = p.no;
  end if;
end $$;
comment on function towpath.claim_process(text, text, uuid, interval, interval, integer, bigint) is
'Takes the lease of a process that is no turn. action: run (it is ours: every write carries the fence), busy (holder has it until lease_until) or skip (nothing to do, detail says why). The same incarnation asking again gets the same fence for longer. renew extends it.';

create or replace function towpath.release(process_no bigint, fence bigint, reason text default 'released') returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p towpath.process;
begin
  begin
    p := towpath.owned(process_no, fence);
  exception when sqlstate 'TW40L' then
    return false;
  end;
  if p.cancel_requested_at is not null then
    perform towpath.finalize(p.no, 'cancelled', jsonb_build_object('reason', p.cancel_reason), null, null, fence);
  else
    perform towpath.requeue(p.no, coalesce(reason, 'released'), '0', true, 'completed');
  end if;
  return true;
end $$;
comment on function towpath.release(bigint, bigint, text) is
'The executor gives a process back unharmed; it costs no attempt. False, and nothing, for a fence that owns it no more.';

create or replace function towpath.resume(process_id text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p towpath.process := towpath.locked(process_id);
begin
  if p.status <> 'waiting' or p.wait ->> 'kind' = 'in_doubt' then
    perform towpath.fail('TW409', format('process "%s" is %s', p.id, case p.status when 'waiting' then 'in doubt' else p.status end),
                         'only a process that waits can be resumed; towpath.resolve decides about one in doubt');
  end if;
  if p.class = 'daemon' then
    -- The operator says that the child, which waits for its machine, is dead.
    delete from towpath.child c where c.process_no = p.no;
    update towpath.process x set attempts_spent = greatest(x.attempts_spent - 1, 0) where x.no = p.no;
    if p.cancel_requested_at is not null then
      perform towpath.finalize(p.no, 'cancelled', jsonb_build_object('reason', p.cancel_reason));
      return 'cancelled';
    end if;
  end if;
  update towpath.process x set status = 'queued', wait = null, updated_at = towpath.now() where x.no = p.no;
  perform towpath.note(p.no, 'process.resumed', '{}');
  perform towpath.enqueue(p.id);
  perform towpath.wake('towpath_events', p.id);
  return 'queued';
end $$;
comment on function towpath.resume(text) is
'Puts a process that waits back in its queue and returns its status. For a daemon whose worker is gone it says that the child is dead, so that any worker may start another.';

create or replace function towpath.drain(incarnation uuid) returns table (process_id text, result text, detail text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  c record;
  p towpath.process;
begin
  for c in select x.no, x.id, x.session_id from towpath.process x
           where x.first_started ->> 'incarnation' = drain.incarnation::text and x.finalized_at is null and x.disposition = 'owner_bound' order by x.no
  loop
    process_id := c.id; result := 'deferred'; detail := 'somebody is at work on it';
    perform 1 from towpath.session s where s.id = c.session_id for no key update skip locked;
    if found or c.session_id is null then
      select * into p from towpath.process x where x.no = c.no for no key update skip locked;
      if found then
        continue when p.finalized_at is not null;
        perform towpath.finalize(p.no, 'abandoned', jsonb_build_object('reason', 'its owner shut down', 'owner', p.first_started), null, 'owner_drain');
        result := 'abandoned'; detail := null;
      end if;
    end if;
    return next;
  end loop;
end $$;
comment on function towpath.drain(uuid) is
'A node that shuts down, and has stopped executing, ends what only it could have gone on with: its owner-bound processes are abandoned. deferred: ask again. Others'' processes are not touched.';
