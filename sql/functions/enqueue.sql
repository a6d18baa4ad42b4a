create or replace function towpath.enqueue(process_id text, not_before timestamptz default null) returns bigint
language plpgsql as $$
declare
  p   towpath.process;
  job bigint := nextval(':river.river_job_id_seq');
  due boolean := not_before is null or not_before <= towpath.now() + interval '5 seconds';
begin
  update towpath.process t set generation = t.generation + 1, river_job_id = job, updated_at = towpath.now()
  where t.id = enqueue.process_id returning * into p;
  -- River's leader moves scheduled rows every five seconds; its fetch honours a later scheduled_at of an available
  -- row by itself, so a short delay needs no leader.
  insert into :river.river_job (id, kind, queue, args, state, priority, max_attempts, scheduled_at, tags, metadata)
  values (job, p.class, towpath.queue_of(p.class),
          jsonb_build_object('process_id', p.id, 'generation', p.generation),
          cast(case when due then 'available' else 'scheduled' end as :river.river_job_state),
          p.priority, 25, clock_timestamp() + greatest(coalesce(not_before - towpath.now(), '0'), '0'),
          towpath.tags(p.session_id, p.profile),
          jsonb_strip_nulls(jsonb_build_object('session', p.session_id, 'profile', p.profile, 'attempt', nullif(p.attempt, 0))));
  return job;
end $$;
comment on function towpath.enqueue(text, timestamptz) is 'Gives a locked process its next River job, one generation on. Older jobs of it do nothing from now.';

create or replace function towpath.tags(session_id text, profile text) returns varchar[]
language sql immutable parallel safe as $$
  select coalesce(array_agg(t), '{}')
  from (select trim(both '_-' from regexp_replace(left(v, 200), '[^A-Za-z0-9_-]', '_', 'g')) as t
        from unnest(array[session_id, profile]) v) s
  where length(t) >= 3
$$;
comment on function towpath.tags(text, text) is 'Session and profile as River tags: three characters or more, letters, digits, - and _.';
