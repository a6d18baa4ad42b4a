-- River validates in Go only; what stands here holds for every client, and for rows from before when they change. It is said
-- by triggers: Postgres reads each CHECK of a table anew for every statement, also for River's own fetch, which changes none of this.
do $$
declare
  c record;
begin
  for c in select conname from pg_constraint where conrelid = ':river.river_job'::regclass and conname in ('towpath_args_is_object',
             'towpath_metadata_is_object', 'towpath_unique_states', 'towpath_queue_name', 'towpath_kind_name', 'towpath_args_size') loop
    execute format('alter table :river.river_job drop constraint %I', c.conname);
  end loop;
end $$;

create or replace function towpath.route_job() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  own    text := towpath.queue_of(new.kind);
  broken text;
begin
  if new.queue is distinct from old.queue and new.queue is distinct from own then
    if own is null then
      perform towpath.fail('TW400', format('unknown job kind "%s"', new.kind),
        'kinds are turn, start, stop, restart, health_check, sweep, wake, gc, prune, scan_plugins, storage, login; other programs'' jobs belong in a River schema of their own');
    end if;
    if new.queue <> 'default' then
      perform towpath.fail('TW400', format('job kind "%s" does not belong in queue "%s"', new.kind, new.queue),
        format('use queue "%s", or leave it out', own));
    end if;
    new.queue := own;
  end if;
  broken := case
    when jsonb_typeof(new.args) <> 'object' then 'towpath_args_is_object'
    when jsonb_typeof(new.metadata) <> 'object' then 'towpath_metadata_is_object'
    when new.unique_states & B'11010001' <> B'11010001' then 'towpath_unique_states'
    when pg_column_size(new.args) > 2097152 then 'towpath_args_size'
  end;
  if broken is not null then
    raise exception using errcode = 'check_violation', schema = tg_table_schema, table = tg_table_name, constraint = broken,
      message = format('new row for relation "%s" violates check constraint "%s"', tg_table_name, broken);
  end if;
  return new;
end $$;
comment on function towpath.route_job() is
'Refuses a job that River could not read, moves our kinds out of queue default, which nobody works, and refuses any other wrong queue.';

create or replace trigger towpath_route before insert or update of args, metadata, unique_states, queue on :river.river_job
  for each row execute function towpath.route_job();

create or replace function towpath.keep_kind() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform towpath.fail('TW403', format('job %s is of kind "%s" for good', old.id, old.kind), 'insert another job');
end $$;
comment on function towpath.keep_kind() is 'Refuses another kind for a job: what an enqueuer may write to a row is what stands there.';

create or replace trigger towpath_kind before update of kind on :river.river_job
  for each row when (new.kind <> old.kind) execute function towpath.keep_kind();

create or replace function towpath.wake_queues() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if coalesce(current_setting('towpath.notify', true), '') <> 'off' then
    perform pg_notify(tg_table_schema || '.river_insert', json_build_object('queue', q.queue)::text)
    from (select distinct queue from inserted where state = 'available') q;
  end if;
  return null;
end $$;
comment on function towpath.wake_queues() is 'Wakes the workers of each queue once per statement; set local towpath.notify = off for bulk loads.';

create or replace trigger towpath_wake after insert on :river.river_job
  referencing new table as inserted for each statement execute function towpath.wake_queues();
