create or replace function towpath.bind_waiting(p_session text, p_no bigint) returns void
language plpgsql as $$
begin
  update towpath.input i set process_no = p_no, updated_at = towpath.now()
  where i.session_id = p_session and i.process_no is null and i.finalized_at is null;
end $$;
comment on function towpath.bind_waiting(text, bigint) is 'Gives a process what waited for the session''s next turn.';

create or replace function towpath.unbind(p_no bigint) returns void
language plpgsql as $$
begin
  update towpath.input i set updated_at = towpath.now(),
    phase = case when i.attempts >= 3 then 'abandoned' else 'queued' end,
    reason = case when i.attempts >= 3 then 'max_attempts_exhausted' end,
    finalized_at = case when i.attempts >= 3 then towpath.now() end,
    process_no = case when i.attempts >= 3 then i.process_no end
  where i.process_no = p_no and i.phase in ('queued', 'staged') and i.policy ->> 'apply' = 'wait';
end $$;
comment on function towpath.unbind(bigint) is
'What waited for a turn that has ended without seeing it waits for the next one, three times at most: one that no turn survives does not block the others.';

create or replace function towpath.stage_inputs(process_no bigint, fence bigint, of_lane text default null, max integer default 100)
returns table (id text, seq bigint, lane text, topic text, attempts integer, payload jsonb)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p towpath.process := towpath.owned(process_no, fence);
begin
  if of_lane not in ('steer', 'queue') or max is null or max not between 1 and 1000 then
    perform towpath.fail('TW400', 'of_lane is not steer or queue, or max is not between 1 and 1000');
  end if;
  if p.session_id is null then
    perform towpath.fail('TW409', format('process "%s" has no session', p.id));
  end if;
  return query
  with next as (
    select i.id from towpath.input i
    where i.session_id = p.session_id and i.phase = 'queued' and coalesce(i.process_no, p.no) = p.no
      and i.kind <> 'interrupt' and (of_lane is null or i.lane = of_lane)
    order by i.seq limit max
  ), taken as (
    update towpath.input i set phase = 'staged', process_no = p.no, attempts = i.attempts + 1, updated_at = towpath.now()
    from next where i.id = next.id returning i.*
  )
  select i.id, i.seq, i.lane, i.topic, i.attempts, towpath.content_of(i.*::towpath.input) from taken i order by i.seq;
end $$;
comment on function towpath.stage_inputs(bigint, bigint, text, integer) is
'The owner of a process takes inputs of its session for its next boundary, in order of acceptance; their attempt is stored before it sees them.';
