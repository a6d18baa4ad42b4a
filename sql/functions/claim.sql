create or replace function towpath.begin_claim(
  job_id bigint, args jsonb, node text, incarnation uuid, ttl interval,
  out action text, out process_id text, out process_no bigint, out session_id text, out profile text, out attempt integer,
  out fence bigint, out input jsonb, out input_id text, out version bigint, out digest bytea, out timeout_ms bigint,
  out spec jsonb, out last_seq bigint, out words boolean, out resume boolean, out detail text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  gen integer;
  p   towpath.process;
begin
  -- A caller that stops to run before it calls store_claim would hold the session: it loses its connection.
  perform set_config('idle_in_transaction_session_timeout', '5s', true);
  if args ? 'process_id' then
    if jsonb_typeof(args -> 'process_id') <> 'string' or coalesce(args ->> 'generation', '') !~ '^[0-9]{1,9}$' then
      perform towpath.fail('TW400', 'job args: process_id is not a string, or generation is not a whole number');
    end if;
    process_id := args ->> 'process_id';
    gen := (args ->> 'generation')::int;
  else
    process_id := towpath.accept_args(args, 'job args', job_id);
    -- The row is the turn's own job only if it heads its session and is due.
    select case when x.river_job_id = job_id then x.generation else -1 end into gen
    from towpath.process x where x.id = begin_claim.process_id;
  end if;
  p := towpath.lock(process_id);
  if p.id is null then
    action := 'skip'; detail := 'no such process'; return;
  end if;
  process_no := p.no; session_id := p.session_id; profile := p.profile;
  select * into action, attempt, fence, input, input_id, version, digest, timeout_ms, spec, last_seq, words, resume, detail
  from towpath.take(p, job_id, gen, node, incarnation, ttl);
  if not args ? 'process_id' then
    if coalesce(current_setting('towpath.claim', true), '') = '' then
      perform towpath.name_job(job_id, process_id);
    else
      -- Once the claim is stored: River's row comes last in the lock order.
      perform set_config('towpath.claim', (current_setting('towpath.claim')::jsonb || '{"name_job": true}')::text, true);
    end if;
  end if;
end $$;
comment on function towpath.begin_claim(bigint, jsonb, text, uuid, interval) is
'The first half of claim: decides, under the locks, and answers. A claim that is run holds once store_claim, in the same transaction, has stored it and that has been committed.';

create or replace function towpath.claim(
  job_id bigint, args jsonb, node text, incarnation uuid, ttl interval,
  out action text, out process_id text, out process_no bigint, out session_id text, out profile text, out attempt integer,
  out fence bigint, out input jsonb, out input_id text, out version bigint, out digest bytea, out timeout_ms bigint,
  out spec jsonb, out last_seq bigint, out words boolean, out resume boolean, out detail text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
begin
  select * into action, process_id, process_no, session_id, profile, attempt, fence, input, input_id, version, digest, timeout_ms, spec,
    last_seq, words, resume, detail
  from towpath.begin_claim(job_id, args, node, incarnation, ttl);
  perform towpath.store_claim(ttl);
end $$;
comment on function towpath.claim(bigint, jsonb, text, uuid, interval) is
'Takes the lease of the process that a River job names, or submits what a client''s job carries and then takes it. action: run, queued (waits in its session), elsewhere (only nodes with the files of its session may), later (a gate is shut, detail says why: the job comes again by itself), skip (nothing to do, detail says why). words: poll at once, something was said to it already. resume: replay its journal first.';

create or replace function towpath.take(
  p towpath.process, job_id bigint, gen integer, node text, incarnation uuid, ttl interval,
  out action text, out attempt integer, out fence bigint, out input jsonb, out input_id text, out version bigint, out digest bytea,
  out timeout_ms bigint, out spec jsonb, out last_seq bigint, out words boolean, out resume boolean, out detail text)
language plpgsql as $$
declare
  t    timestamptz := towpath.now();
  s    record;
  l    towpath.lease;
  said bigint;
  told boolean := false;
  gate jsonb;
begin
  last_seq := p.last_seq; resume := false;
  if p.finalized_at is not null then
    action := 'skip'; detail := 'process is ' || p.status; return;
  end if;
  if gen is distinct from p.generation then
    action := case when gen = -1 then 'queued' else 'skip' end;
    detail := case when gen = -1 then 'waits for the turn before it' else format('generation %s, process is at %s', gen, p.generation) end;
    return;
  end if;
  if p.class = 'run' then
    action := 'skip'; detail := 'a run acts through its turns'; return;
  end if;
  if p.session_id is not null then
    -- All that is read of its surroundings, in one statement: each costs more by itself than what it does here.
    select x.version, x.digest, i.id as input_id, towpath.content_of(i) as input, f.turn_timeout,
           x.budget is not null or exists (select from towpath.gate g where g.profile = p.profile) as gated,
           exists (select from towpath.storage o where o.session_id = x.id and o.evicted_at is null and not o.shared
                   and not exists (select from towpath.node n where n.id = node and n.incarnation = take.incarnation and o.root = any(n.roots))) as elsewhere,
           exists (select from towpath.input w where w.session_id = x.id and w.finalized_at is null and w.kind <> 'turn'
                   and coalesce(w.process_no, p.no) = p.no) as words
    into s
    from towpath.session x left join towpath.input i on i.process_no = p.no and i.kind = 'turn' left join towpath.profile f on f.name = p.profile
    where x.id = p.session_id;
    if s.elsewhere then
      action := 'elsewhere'; detail := 'the files of its session are on another node'; return;
    end if;
  end if;
  if p.attempt > 0 then
    select * into l from towpath.lease x where x.process_no = p.no;
    if found and l.incarnation <> take.incarnation and l.expires_at > t then
      action := 'skip'; detail := format('node "%s" holds the lease', l.node_id); return;
    end if;
    resume := exists (select 1 from towpath.journal j where j.process_no = p.no);
    select a.first_seq into said from towpath.attempt a where a.process_no = p.no and a.attempt = p.attempt;
    told := exists (select 1 from towpath.event e where e.process_no = p.no and e.seq > said and e.fence is not null);
  end if;
  if l.incarnation = take.incarnation and l.expires_at > t and (resume or not told) then
    -- The same owner again, for example after an answer that was lost on the way: the same lease. Had it said anything
    -- that it cannot replay, this would be another attempt.
    update towpath.lease x set expires_at = t + ttl where x.process_no = p.no;
    fence := l.fence; attempt := p.attempt;
  else
    if p.cancel_requested_at is not null then
      perform towpath.finalize(p.no, 'cancelled', jsonb_build_object('reason', p.cancel_reason));
      action := 'skip'; detail := 'cancelled before it started'; return;
    end if;
    if p.disposition = 'externally_owned'
       or p.disposition = 'owner_bound' and p.first_started ->> 'incarnation' <> take.incarnation::text then
      action := 'skip'; detail := format('process is %s', p.disposition); return;
    end if;
    if p.attempts_spent >= p.max_attempts then
      perform towpath.finalize(p.no, 'abandoned',
        jsonb_build_object('reason', format('%s attempts did not end it', p.attempts_spent)), null, 'engine_gave_up');
      action := 'skip'; detail := 'attempt budget is spent'; return;
    end if;
    if p.class = 'turn' then
      gate := case when s.gated then towpath.gated(p) end;
      if gate is not null then
        select x.action, x.detail into action, detail from towpath.stay(p, gate, job_id) x;
        return;
      end if;
    end if;
    fence := nextval('towpath.fence_seq');
    attempt := p.attempt + 1;
    if p.attempt > 0 then
      update towpath.attempt a set ended_at = t, end_reason = 'lease lapsed' where a.process_no = p.no and a.ended_at is null;
      -- Without a journal the turn begins anew. A model's second answer differs from the half already shown, so that
      -- is taken back. What a daemon said stays true.
      if told and not resume and p.desired_state = 'once' then
        last_seq := towpath.note(p.no, 'process.retracted', jsonb_build_object('attempt', p.attempt, 'from_seq', said + 1, 'to_seq', p.last_seq));
      end if;
      perform towpath.unbind(p.no);
    end if;
    last_seq := last_seq + 1;
    perform set_config('towpath.claim', jsonb_build_object('process_no', p.no, 'attempt', attempt, 'node_id', node, 'incarnation', take.incarnation,
      'fence', fence, 'river_job_id', job_id, 'first_seq', case when resume then said else last_seq end, 'started_at', t)::text, true);
  end if;

  action := 'run'; spec := p.spec;
  if p.class = 'turn' then
    input := s.input; input_id := s.input_id; version := s.version; digest := s.digest; words := s.words;
    timeout_ms := 1000 * coalesce((p.spec ->> 'timeout_s')::numeric, extract(epoch from s.turn_timeout), 600);
  end if;
end $$;
comment on function towpath.take(towpath.process, bigint, integer, text, uuid, interval) is
'Decides whether a locked process is executed for the River job that stands for one of its generations, and answers what its executor has to know; store_claim, in the same transaction, stores a new lease.';

create or replace function towpath.store_claim(ttl interval) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  given jsonb := nullif(current_setting('towpath.claim', true), '');
  a     towpath.attempt;
  id    text;
begin
  if given is null then
    return; -- there is none, or the same one again
  end if;
  a := jsonb_populate_record(null::towpath.attempt, given);
  perform set_config('towpath.claim', '', true);
  -- One statement: each costs more by itself than what it does here.
  with held as (
    insert into towpath.lease (process_no, node_id, incarnation, fence, claimed_at, expires_at)
    values (a.process_no, a.node_id, a.incarnation, a.fence, a.started_at, a.started_at + ttl)
    on conflict on constraint lease_pkey do update set node_id = excluded.node_id, incarnation = excluded.incarnation,
      fence = excluded.fence, claimed_at = excluded.claimed_at, expires_at = excluded.expires_at
  ), tried as (
    insert into towpath.attempt select a.*
  ), begun as (
    update towpath.process x set status = 'running', attempt = a.attempt, attempts_spent = x.attempts_spent + 1,
      next_attempt_at = null, wait = null, updated_at = a.started_at, last_seq = x.last_seq + 1,
      first_started = coalesce(x.first_started, jsonb_build_object('node', a.node_id, 'incarnation', a.incarnation, 'at', a.started_at))
    where x.no = a.process_no
    returning x.no, x.id, x.last_seq, a.attempt > 1 and exists (select from towpath.journal j where j.process_no = x.no) as resumed
  ), noted as (
    insert into towpath.event (process_no, seq, type, data, at)
    select b.no, b.last_seq, 'process.started',
           jsonb_strip_nulls(jsonb_build_object('attempt', a.attempt, 'node', a.node_id, 'resumed', nullif(b.resumed, false))), a.started_at
    from begun b
  ), staged as (
    update towpath.input x set phase = case when x.kind = 'turn' then 'staged' else 'queued' end,
      attempts = x.attempts + (x.kind = 'turn')::int, updated_at = a.started_at
    from begun b
    where x.process_no = b.no and (x.phase in ('queued', 'staged') or x.phase = 'applied' and not b.resumed)
      and x.boundary_seq is null
  )
  select b.id into id from begun b;
  if given ? 'name_job' then
    perform towpath.name_job(a.river_job_id, id);
  end if;
  perform towpath.wake_readers(id);
end $$;
comment on function towpath.store_claim(interval) is
'The second half of claim: stores the lease that begin_claim gave in this transaction, with all that follows from it, for ttl. Without one it does nothing.';

create or replace function towpath.name_job(job_id bigint, process_id text) returns void
language plpgsql as $$
begin
  update :river.river_job j
  set metadata = j.metadata || jsonb_build_object('process_id', name_job.process_id),
      tags = coalesce((select array_agg(distinct g) from unnest(j.tags || towpath.tags(x.session_id, x.profile)) g), '{}')
  from towpath.process x where x.id = name_job.process_id and j.id = job_id;
end $$;
comment on function towpath.name_job(bigint, text) is 'Writes on a client''s own River row which process it has become.';
