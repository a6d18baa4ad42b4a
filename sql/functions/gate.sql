create or replace function towpath.gate_put(profile text, wish jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t     timestamptz := towpath.now();
  wrong text := towpath.misfit(wish, '{"type": "object", "additionalProperties": false, "properties": {"account": {"type": ["string", "null"]},
    "capacity": {"type": ["integer", "null"]}, "budget": {"type": ["integer", "null"]}, "per": {"type": ["string", "null"]}, "hold_s": {"type": ["number", "null"]}}}', 'wish');
begin
  if wrong is not null then
    perform towpath.fail('TW400', wrong, 'wishes are account, capacity, budget with per (day or month), hold_s; null takes one away');
  end if;
  if (wish ->> 'capacity')::numeric not between 1 and 1000000 or (wish ->> 'budget')::numeric not between 1 and 1e15 or (wish ->> 'hold_s')::numeric not between 0.001 and 2678400
     or wish ->> 'per' not in ('day', 'month') or length(wish ->> 'account') not between 1 and 200 then
    perform towpath.fail('TW400', 'a wish is out of its range', 'capacity 1 to 1000000, budget from 1, per day or month, hold_s up to 31 days, account up to 200 characters');
  end if;
  if (wish ->> 'budget' is null) <> (wish ->> 'per' is null) then
    perform towpath.fail('TW400', 'a budget is for a time', 'pass budget and per together: {"budget": 1000000, "per": "day"}');
  end if;
  perform towpath.gate_of(profile);
  update towpath.gate g set updated_at = t,
    account = case when wish ? 'account' then wish ->> 'account' else g.account end,
    capacity = case when wish ? 'capacity' then (wish ->> 'capacity')::int else g.capacity end,
    budget = case when wish ? 'budget' then (wish ->> 'budget')::bigint else g.budget end,
    per = case when wish ? 'budget' then wish ->> 'per' else g.per end, used_at = null,
    held_until = case when wish ? 'hold_s' then t + (wish ->> 'hold_s')::numeric * interval '1 second' else g.held_until end,
    held_for = case when wish ? 'hold_s' then case when wish ->> 'hold_s' is not null then 'operator' end else g.held_for end,
    held_by = case when wish ? 'hold_s' then null else g.held_by end
  where g.profile = gate_put.profile;
  -- Turns that were told to come later come now, and hear what holds good.
  update :river.river_job j set state = 'available', scheduled_at = clock_timestamp()
  from towpath.process p
  where p.profile = gate_put.profile and p.finalized_at is null and p.status = 'queued' and j.id = p.river_job_id and j.state = 'scheduled'
    and coalesce((p.spec ->> 'scheduled_at')::timestamptz <= t, true);
  if found and coalesce(current_setting('towpath.notify', true), '') <> 'off' then
    perform pg_notify(':river.river_insert', '{"queue": "turns"}');
  end if;
end $$;
comment on function towpath.gate_put(text, jsonb) is
'Says what holds back the turns of a profile; what the wish leaves out stays, null takes it away. account: profiles of one account are held together. capacity: turns at once over all nodes. budget and per (day, month): tokens after which no other turn begins. hold_s: hold it for so long; null lets it go on.';

create or replace function towpath.gate_of(profile text) returns void
language plpgsql as $$
begin
  if not exists (select 1 from towpath.profile f where f.name = gate_of.profile) then
    perform towpath.fail('TW404', format('unknown profile "%s"', coalesce(profile, '')), 'towpath.profiles has them all');
  end if;
  insert into towpath.gate (profile, updated_at) values (gate_of.profile, towpath.now()) on conflict on constraint gate_pkey do nothing;
end $$;
comment on function towpath.gate_of(text) is 'Makes the gate of a profile, if it has none.';

create or replace function towpath.budget_put(session text, tokens bigint) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
begin
  if tokens < 1 then
    perform towpath.fail('TW400', 'tokens is below 1', 'pass null for no bound');
  end if;
  update towpath.session s set budget = tokens, updated_at = towpath.now() where s.id = budget_put.session;
  if not found then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')));
  end if;
end $$;
comment on function towpath.budget_put(text, bigint) is
'Says what the turns of a session may cost, in tokens read and written, before no other begins; null: no bound. A session that is over it waits, and goes on within a sweep of being given more.';

create or replace function towpath.hold_profile(p_profile text, kind text, delay interval, process_id text) returns void
language plpgsql as $$
declare
  t timestamptz := towpath.now();
begin
  if not exists (select 1 from towpath.profile f where f.name = p_profile) then
    return;
  end if;
  perform towpath.gate_of(p_profile);
  -- By name: two profiles of an account may be told at once.
  perform 1 from towpath.gate g
  where g.profile = p_profile or g.account = (select o.account from towpath.gate o where o.profile = p_profile)
  order by g.profile for update;
  update towpath.gate g set held_until = t + delay, held_for = kind, held_by = process_id, updated_at = t
  where (g.profile = p_profile or g.account = (select o.account from towpath.gate o where o.profile = p_profile))
    and (g.held_until is null or g.held_until < t + delay);
end $$;
comment on function towpath.hold_profile(text, text, interval, text) is
'A provider wants to be left alone: no turn of the profile, and of others with its account, begins before that. The longest hold counts.';

create or replace function towpath.gated(p towpath.process) returns jsonb
language plpgsql volatile set plan_cache_mode = force_generic_plan as $$
declare
  t timestamptz := towpath.now();
  g towpath.gate;
  b bigint;
  u numeric;
begin
  select * into g from towpath.gate x where x.profile = p.profile;
  if g.held_until > t then
    return jsonb_build_object('kind', 'hold', 'for', g.held_for, 'until', g.held_until);
  end if;
  if g.capacity is not null then
    -- One claim at a time, or two would see the last place free.
    perform 1 from towpath.gate x where x.profile = p.profile for update;
    if (select count(*) from towpath.lease l join towpath.process x on x.no = l.process_no
        where x.profile = p.profile and x.class = 'turn' and x.no <> p.no) >= g.capacity then
      return jsonb_build_object('kind', 'capacity', 'capacity', g.capacity);
    end if;
  end if;
  if p.attempt > 0 then
    return null; -- what has begun is not left half done
  end if;
  if g.budget is not null then
    if g.used_at > t - interval '10 seconds' and date_trunc(g.per, g.used_at, 'UTC') = date_trunc(g.per, t, 'UTC') then
      u := g.used;
    else
      u := towpath.spent(p.profile, g.per);
      update towpath.gate x set used = u, used_at = t where x.profile = p.profile;
    end if;
    if u >= g.budget then
      return jsonb_build_object('kind', 'budget', 'of', 'profile', 'name', p.profile, 'per', g.per, 'budget', g.budget, 'used', u);
    end if;
  end if;
  select s.budget into b from towpath.session s where s.id = p.session_id;
  if b is not null then
    u := towpath.spent(p.session_id);
    if u >= b then
      return jsonb_build_object('kind', 'budget', 'of', 'session', 'name', p.session_id, 'budget', b, 'used', u);
    end if;
  end if;
  return null;
end $$;
comment on function towpath.gated(towpath.process) is
'What stands between a locked turn and its claim: {"kind": "hold" | "capacity" | "budget", …}, or null. A turn that has begun is held and waits for room like any other, but no budget stops it.';

create or replace function towpath.stay(p towpath.process, gate jsonb, job_id bigint, out action text, out detail text)
language plpgsql as $$
declare
  delay interval;
begin
  action := 'later';
  case gate ->> 'kind'
  when 'hold' then
    detail := format('profile "%s" is held until %s: %s', p.profile, gate ->> 'until', gate ->> 'for');
    delay := (gate ->> 'until')::timestamptz - towpath.now() + random() * interval '1 second';
  when 'capacity' then
    detail := format('profile "%s" runs %s turns already', p.profile, gate ->> 'capacity');
    delay := (0.3 + random() * 0.7) * interval '1 second';
  else
    action := 'skip'; detail := format('%s "%s" has used %s of %s tokens', gate ->> 'of', gate ->> 'name', gate ->> 'used', gate ->> 'budget');
    if p.status <> 'waiting' then
      update towpath.process x set status = 'waiting', wait = gate, next_attempt_at = null, updated_at = towpath.now() where x.no = p.no;
      perform towpath.note(p.no, 'process.waiting', gate);
      perform towpath.wake('towpath_events', p.id);
    end if;
  end case;
  -- As River snoozes: here, so that whoever opens the gate finds it. The worker's own completion then finds nothing to do.
  update :river.river_job j set state = cast(case when delay < '5 seconds' then 'available' else 'scheduled' end as :river.river_job_state),
    scheduled_at = clock_timestamp() + delay, attempt = greatest(j.attempt - 1, 0)
  where j.id = job_id and j.state = 'running' and delay is not null;
end $$;
comment on function towpath.stay(towpath.process, jsonb, bigint) is
'What becomes of a locked turn that may not begin: its job comes again after a while, or, over its budget, it waits.';

create or replace function towpath.unpaused() returns setof bigint
language sql stable as $$
  with g as materialized (
    select x.profile from towpath.gate x where x.budget is not null and towpath.spent(x.profile, x.per) >= x.budget)
  select p.no from towpath.process p join towpath.session s on s.id = p.session_id
  where p.status = 'waiting' and p.wait ->> 'kind' = 'budget' and p.profile not in (select g.profile from g)
    and (s.budget is null or towpath.spent(s.id) < s.budget)
$$;
comment on function towpath.unpaused() is 'Turns that wait for a budget which is not used up any more.';
