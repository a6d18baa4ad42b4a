create or replace function towpath.gauges() returns table (name text, labels jsonb, value double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select 'processes', jsonb_build_object('class', p.class, 'status', p.status), count(*)
  from towpath.process p where p.finalized_at is null group by p.class, p.status
  union all
  select 'jobs', jsonb_build_object('queue', j.queue, 'state', j.state), count(*)
  from :river.river_job j where j.state in ('available', 'pending', 'retryable', 'running', 'scheduled') group by j.queue, j.state
  union all
  select 'oldest_job_seconds', jsonb_build_object('queue', q.name),
    coalesce(extract(epoch from clock_timestamp() - (select min(j.scheduled_at) from :river.river_job j
      where j.queue = q.name and j.state = 'available' and j.scheduled_at <= clock_timestamp())), 0)
  from (values ('turns'), ('lifecycle'), ('gc')) q(name)
  union all
  select 'queue_paused', jsonb_build_object('queue', q.name), (q.paused_at is not null)::int from :river.river_queue q
  union all
  select 'nodes', '{}', count(*) from towpath.node n where n.stopped_at is null and n.seen_at > towpath.now() - interval '2 minutes'
  union all
  select 'lapsed_leases', '{}', count(*) from towpath.lease l where l.expires_at <= towpath.now()
  union all
  select 'in_doubt', '{}', count(*) from towpath.in_doubt
  union all
  select 'profile_held_seconds', jsonb_build_object('profile', f.name), greatest(coalesce(extract(epoch from g.held_until - towpath.now()), 0), 0)
  from towpath.profile f left join towpath.gate g on g.profile = f.name
  union all
  select 'turns_paused', '{}', count(*) from towpath.process p where p.status = 'waiting' and p.wait ->> 'kind' = 'budget'
  union all
  select 'daemons', jsonb_build_object('state', d.state), count(*) from towpath.daemons d group by d.state
  union all
  select 'quarantined_sessions', '{}', count(*) from towpath.session s where s.quarantine is not null
$$;
comment on function towpath.gauges() is
'What a monitor wants to know of the whole deployment: live processes by class and status, unfinished River jobs by queue and state, the age of the oldest due job and whether somebody paused the queue, nodes seen in the last two minutes, lapsed leases, calls in doubt, daemons by state, held profiles, turns paused for a budget, quarantined sessions.';
