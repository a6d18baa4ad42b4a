create or replace function towpath.sweep(ttl interval default '30 seconds', dead uuid default null) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t timestamptz := towpath.now();
  c record;
  p towpath.process;
  trouble text;
begin
  -- After an outage owners come first: their leases lapsed with the server, not with them.
  if dead is null and t - pg_postmaster_start_time() < ttl then
    return null;
  end if;
  for c in
    select x.id, x.session_id, x.no from towpath.lease l join towpath.process x on x.no = l.process_no
    where case when dead is null then l.expires_at <= t else l.incarnation = dead end
    union all
    select x.id, x.session_id, x.no from towpath.process x
    where dead is null and x.finalized_at is null and (x.abandon_request is not null or x.desired_state = 'down' or
      x.river_job_id is not null and x.status in ('queued', 'backoff') and towpath.job_trouble(x, ttl) is not null)
    union all
    select x.id, x.session_id, x.no from towpath.process x where dead is null and x.no in (select towpath.unpaused())
  loop
    -- Somebody who holds the locks is at work on it; the next sweep sees the result.
    perform 1 from towpath.session s where s.id = c.session_id for no key update skip locked;
    continue when not found and c.session_id is not null;
    select * into p from towpath.process x where x.no = c.no for no key update skip locked;
    continue when not found or p.finalized_at is not null;
    if exists (select 1 from towpath.lease l where l.process_no = p.no and l.expires_at > t and l.incarnation is distinct from dead) then
      continue when p.desired_state <> 'down' or p.cancel_requested_at is not null;
      perform towpath.cancel(p.id, 'stopped');
      return p.id;
    end if;
    -- A daemon's child that outlives its worker: whether it runs is known on its machine alone.
    if p.class = 'daemon' and p.abandon_request is null and exists (select from towpath.child x where x.process_no = p.no and x.outlives) then
      continue when p.status <> 'running';
      perform towpath.park_daemon(p.no, case when dead is null then 'lease lapsed' else 'node died' end);
      return p.id;
    end if;
    trouble := case when p.status in ('queued', 'backoff') then towpath.job_trouble(p, ttl) end;
    if p.cancel_requested_at is not null and (p.disposition = 'rerunnable' or p.disposition = 'owner_bound' and p.first_started is null) then
      perform towpath.finalize(p.no, 'cancelled', jsonb_build_object('reason', p.cancel_reason));
    elsif p.class = 'daemon' and p.abandon_request is not null and p.status in ('running', 'waiting') then
      perform towpath.finalize(p.no, 'abandoned', p.abandon_request, null, 'reconciled_request');
    elsif p.disposition = 'externally_owned' or p.disposition = 'owner_bound' and p.first_started is not null then
      continue when p.abandon_request is null;
      perform towpath.finalize(p.no, 'abandoned', p.abandon_request || jsonb_strip_nulls(jsonb_build_object('owner', p.first_started)), null, 'reconciled_request');
    elsif p.desired_state = 'down' then
      perform towpath.finalize(p.no, 'cancelled', '{"reason": "stopped"}');
    elsif trouble = 'cancelled' then
      perform towpath.finalize(p.no, 'cancelled', jsonb_build_object('reason', 'River job cancelled'));
    elsif p.status = 'waiting' and p.wait ->> 'kind' = 'budget' then
      update towpath.process x set status = 'queued', wait = null, updated_at = t where x.no = p.no;
      perform towpath.note(p.no, 'process.resumed', '{}');
      perform towpath.enqueue(p.id);
      perform towpath.wake('towpath_events', p.id);
    elsif p.status <> 'running' and trouble is null then
      continue;
    elsif p.attempts_spent >= p.max_attempts and p.desired_state = 'up' then
      perform towpath.finalize(p.no, 'failed', jsonb_build_object('attempts', p.attempts_spent), 'restarts_spent');
    elsif p.attempts_spent >= p.max_attempts then
      perform towpath.finalize(p.no, 'abandoned',
        jsonb_build_object('reason', format('%s attempts did not end it', p.attempts_spent)), null, 'engine_gave_up');
    elsif p.status = 'running' then
      perform towpath.requeue(p.no, case when dead is null then 'lease lapsed' else 'node died' end,
        case p.desired_state when 'up' then towpath.backoff(p.attempts_spent, coalesce((p.spec ->> 'backoff_s')::numeric, 60)) else '0' end, false, 'cancelled');
    else
      perform towpath.enqueue(p.id, coalesce(p.next_attempt_at, (p.spec ->> 'scheduled_at')::timestamptz));
    end if;
    return p.id;
  end loop;
  -- River never rescues turns. A row whose node died before its claim is handed out again; one that has done its part ends.
  update :river.river_job j set
    state = cast(case when j.args ? 'process_id' or j.metadata ? 'process_id' then 'completed' else 'available' end as :river.river_job_state),
    finalized_at = case when j.args ? 'process_id' or j.metadata ? 'process_id' then clock_timestamp() end,
    max_attempts = greatest(j.max_attempts, j.attempt + 1)
  where j.id in (
    select r.id from :river.river_job r
    where r.state = 'running' and r.queue = 'turns' and r.attempted_at < clock_timestamp() - ttl
      and not exists (select 1 from towpath.process x
                      where x.id = coalesce(r.args ->> 'process_id', r.metadata ->> 'process_id') and x.river_job_id = r.id and x.finalized_at is null)
    limit 500 for update skip locked);
  -- What should have told a session and is gone is asked for again.
  perform towpath.enqueue_wake(late.session_id)
  from (select distinct x.session_id from towpath.completion x join towpath.session s on s.id = x.session_id
        where x.wakes and x.turn_id is null and x.at < t - ttl and s.active_process is null and s.runtime_state = 'idle' and s.quarantine is null) late
  where not exists (select 1 from :river.river_job j where j.kind = 'wake' and j.args @> jsonb_build_object('session', late.session_id)
                    and (j.finalized_at is null or j.finalized_at > clock_timestamp() - interval '10 minutes'));
  delete from towpath.journal j using (
    select o.process_no from towpath.journal o join towpath.process x on x.no = o.process_no
    where o.first_n = 0 and o.at < t - interval '1 day' and x.finalized_at is not null limit 500) old
  where j.process_no = old.process_no;
  perform towpath.login_expire();
  delete from towpath.node n where n.seen_at < t - interval '1 day'
    and not exists (select 1 from towpath.lease l where l.incarnation = n.incarnation);
  return null;
end $$;
comment on function towpath.sweep(interval, uuid) is
'Repairs one process and returns its id, or null when there is none: a lapsed lease is requeued or ended by disposition, a queued process whose River job is gone gets a new one, and ends when somebody cancelled that job. dead names an incarnation that is known to have died: its leases count as lapsed. Then it asks anew for sessions to be woken whose job is gone. Call it until it returns null.';

create or replace function towpath.job_trouble(p towpath.process, ttl interval) returns text
language sql stable as $$
  select case
    when j.state = 'cancelled' then 'cancelled'
    when coalesce(p.next_attempt_at, p.updated_at) > towpath.now() - ttl then null
    when j.id is null or j.state in ('completed', 'discarded') then 'gone'
    -- Its node died between the fetch and the claim.
    when j.state = 'running' and j.attempted_at < clock_timestamp() - ttl then 'lost'
  end
  from (select p.river_job_id) x(id) left join :river.river_job j using (id)
$$;
comment on function towpath.job_trouble(towpath.process, interval) is 'Why the River job of a queued process will not run it: cancelled by hand, gone or lost; null when it will.';
