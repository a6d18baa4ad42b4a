create or replace function towpath.enqueue(process_id text, not_before timestamptz default null, old_job text default 'cancelled') returns bigint
language plpgsql as $$
declare
  p   towpath.process;
  job bigint := nextval(':river.river_job_id_seq');
  old bigint := (select t.river_job_id from towpath.process t where t.id = enqueue.process_id);
begin
  update towpath.process t set generation = t.generation + 1, river_job_id = case when towpath.job_of(t.class) is not null then job end,
    updated_at = towpath.now()
  where t.id = enqueue.process_id returning * into p;
  if p.river_job_id is null then
    return null;
  end if;
  perform towpath.put_job(p, not_before);
  if old is not null then
    perform towpath.end_job(old, old_job);
  end if;
  return job;
end $$;
comment on function towpath.enqueue(text, timestamptz, text) is 'Gives a locked process its next River job, one generation on, and returns it; null for a class that somebody comes and claims. Its older job ends, and would do nothing from now.';

create or replace function towpath.put_job(p towpath.process, not_before timestamptz) returns void
language plpgsql as $$
declare
  wait interval := case when not_before is null then '0' else greatest(not_before - towpath.now(), '0') end;
  kind text := case when p.class = 'daemon' and p.attempt > 0 then 'restart' else towpath.job_of(p.class) end;
begin
  -- River's leader moves scheduled rows every five seconds; its fetch honours a later scheduled_at of an available
  -- row by itself, so a short delay needs no leader.
  insert into :river.river_job (id, kind, queue, args, state, priority, max_attempts, scheduled_at, tags, metadata)
  values (p.river_job_id, kind, towpath.queue_of(kind),
          jsonb_build_object('process_id', p.id, 'generation', p.generation),
          cast(case when wait <= '5 seconds' then 'available' else 'scheduled' end as :river.river_job_state),
          p.priority, 25, clock_timestamp() + wait,
          towpath.tags(p.session_id, coalesce(p.profile, p.definition)),
          jsonb_strip_nulls(jsonb_build_object('session', p.session_id, 'profile', p.profile, 'daemon', case p.class when 'daemon' then p.definition end, 'attempt', nullif(p.attempt, 0), 'traceparent', p.spec -> 'traceparent')));
end $$;
comment on function towpath.put_job(towpath.process, timestamptz) is 'Writes the River row of a process that names it already.';

create or replace function towpath.tags(session_id text, profile text) returns varchar[]
language plpgsql immutable parallel safe as $$
declare
  one text := trim(both '_-' from regexp_replace(left(session_id, 200), '[^A-Za-z0-9_-]', '_', 'g'));
  two text := trim(both '_-' from regexp_replace(left(profile, 200), '[^A-Za-z0-9_-]', '_', 'g'));
begin
  return case when length(one) >= 3 then array[one] else '{}' end
         || case when length(two) >= 3 and two is distinct from one then array[two] else '{}' end;
end $$;
comment on function towpath.tags(text, text) is 'Session and profile as River tags: three characters or more, letters, digits, - and _.';

create or replace function towpath.end_job(job_id bigint, state text, output jsonb default '{}') returns void
language plpgsql as $$
begin
  update :river.river_job j set state = cast(end_job.state as :river.river_job_state), finalized_at = clock_timestamp(),
    metadata = j.metadata || (output #- '{output,stderr}'),
    -- River UI shows these with their attempt.
    errors = case when output #>> '{output,status}' in ('failed', 'abandoned')
      then array_append(j.errors, jsonb_build_object('at', clock_timestamp(), 'attempt', greatest(j.attempt, 1),
        'error', concat_ws(': ', output #>> '{output,status}', output #>> '{output,kind}', output #>> '{output,message}'),
        'trace', coalesce(output #>> '{output,stderr}', ''))) else j.errors end
  where j.id = job_id and j.finalized_at is null;
end $$;
comment on function towpath.end_job(bigint, text, jsonb) is
'Ends a River job that has done its part, or never will; output stands in its metadata, and what failed among its errors. A worker''s own completion then finds nothing to do. The last lock that a transaction takes.';
