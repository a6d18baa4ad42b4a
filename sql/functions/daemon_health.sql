create or replace function towpath.daemon_checked(nos bigint[], fences bigint[], healths text[], details text[]) returns setof bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t timestamptz := towpath.now();
  r record;
begin
  perform 1 from towpath.process p where p.no = any(nos) order by p.no for no key update;
  for r in
    with said as (
      select f.no, f.fence, f.health, f.detail, c.health as was, p.id
      from unnest(nos, fences, healths, details) f(no, fence, health, detail)
      join towpath.process p on p.no = f.no
      join towpath.child c on c.process_no = f.no
      join towpath.lease l on l.process_no = f.no and l.fence = f.fence
    ), kept as (
      update towpath.child c set health = s.health, detail = nullif(s.detail, ''), checked_at = t from said s where c.process_no = s.no
    )
    select * from said
  loop
    if r.health <> r.was and (r.health = 'unhealthy' or r.was = 'unhealthy') then
      perform towpath.note(r.no, 'process.' || r.health, jsonb_strip_nulls(jsonb_build_object('detail', nullif(r.detail, ''))));
      perform towpath.wake('towpath_events', r.id);
    end if;
    return next r.no;
  end loop;
end $$;
comment on function towpath.daemon_checked(bigint[], bigint[], text[], text[]) is
'The health of many daemons as their worker has found it, in one statement; a change from or to unhealthy is an event. Returns those that are still the worker''s.';

create or replace function towpath.daemon_wishes(incarnation uuid)
returns table (process_no bigint, fence bigint, stop boolean, grace_ms bigint, restart boolean, check_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select p.no, l.fence, p.cancel_requested_at is not null,
         greatest(0, (extract(epoch from p.cancel_deadline - towpath.now()) * 1000)::bigint), coalesce(d.restart_of = p.attempt, false), d.check_at
  from towpath.lease l join towpath.process p on p.no = l.process_no left join towpath.daemon d on d.process_id = p.id
  where l.incarnation = daemon_wishes.incarnation and p.class = 'daemon' and p.finalized_at is null
    and (p.cancel_requested_at is not null or d.restart_of = p.attempt or d.check_at is not null)
$$;
comment on function towpath.daemon_wishes(uuid) is 'What a worker''s daemons are wanted to do: stop, be replaced, be looked at.';

create or replace function towpath.daemon_check(name text) returns timestamptz
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  d towpath.daemon := towpath.locked_daemon(name);
begin
  if not exists (select from towpath.process p join towpath.lease l on l.process_no = p.no where p.id = d.process_id and p.class = 'daemon') then
    perform towpath.fail('TW409', format('daemon "%s" is not running', d.name), 'start it first');
  end if;
  update towpath.daemon x set check_at = towpath.now() where x.name = d.name returning * into d;
  perform towpath.wake('towpath_control', d.process_id);
  return d.check_at;
end $$;
comment on function towpath.daemon_check(text) is
'Asks the worker of a daemon to look at its health now, and returns when that was: checked_at of towpath.daemons is later once it has.';

create or replace function towpath.daemon_census(node text)
returns table (daemons bigint, ready bigint, unhealthy text[], overdue text[])
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select count(*), count(c.ready_at), coalesce(array_agg(p.definition order by p.definition) filter (where c.health = 'unhealthy'), '{}'),
         coalesce(array_agg(p.definition order by p.definition) filter (where p.spec ?| '{health_url,health_cmd}' and c.ready_at is not null
           and coalesce(c.checked_at, c.ready_at) < towpath.now() - interval '2 minutes'
             - 3 * make_interval(secs => coalesce((p.spec ->> 'interval_s')::numeric, 5)::float8)), '{}')
  from towpath.lease l join towpath.process p on p.no = l.process_no join towpath.child c on c.process_no = p.no
  where l.node_id = daemon_census.node and p.class = 'daemon'
$$;
comment on function towpath.daemon_census(text) is
'The daemons of a node as their rows tell: how many, how many are ready, which are unhealthy, and which their worker has not looked at in time.';

create or replace function towpath.watch_daemons(node text) returns void
language plpgsql as $$
begin
  if not exists (select from :river.river_job j where j.kind = 'health_check' and j.finalized_at is null and j.args = jsonb_build_object('node', node)) then
    insert into :river.river_job (kind, queue, args, state, max_attempts, scheduled_at)
    values ('health_check', towpath.queue_of('health_check'), jsonb_build_object('node', node), 'scheduled', 25, clock_timestamp() + interval '1 minute');
  end if;
end $$;
comment on function towpath.watch_daemons(text) is 'Makes sure that a node that has daemons has its job, which looks once a minute whether the node looks at them.';
