-- River validates in Go only; these checks hold for every client. NOT VALID: rows from before stay as they are.
do $$
declare
  c record;
begin
  for c in select * from (values
    ('towpath_args_is_object',     $c$check (jsonb_typeof(args) = 'object')$c$),
    ('towpath_metadata_is_object', $c$check (jsonb_typeof(metadata) = 'object')$c$),
    ('towpath_unique_states',      $c$check (unique_states is null or unique_states & B'11010001' = B'11010001')$c$),
    ('towpath_queue_name',         $c$check (queue ~ '^[a-z0-9]+([_|-]?[a-z0-9]+)*$' and length(queue) <= 64)$c$),
    ('towpath_kind_name',          $c$check (kind ~ '^[A-Za-z0-9_][A-Za-z0-9_<>/.:+-]+$')$c$),
    ('towpath_args_size',          $c$check (pg_column_size(args) <= 2097152)$c$)
  ) v(name, body) loop
    if not exists (select 1 from pg_constraint where conname = c.name and conrelid = ':river.river_job'::regclass) then
      execute format('alter table :river.river_job add constraint %I %s not valid', c.name, c.body);
    end if;
  end loop;
end $$;

create or replace function towpath.route_job() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  own text := towpath.queue_of(new.kind);
begin
  if own is null then
    perform towpath.fail('TW400', format('unknown job kind "%s"', new.kind),
      'kinds are turn, start, stop, restart, health_check, sweep, wake, gc, prune, scan_plugins, storage, login; other programs'' jobs belong in a River schema of their own');
  end if;
  if new.queue = 'default' then
    new.queue := own;
  elsif new.queue <> own then
    perform towpath.fail('TW400', format('job kind "%s" does not belong in queue "%s"', new.kind, new.queue),
      format('use queue "%s", or leave it out', own));
  end if;
  return new;
end $$;
comment on function towpath.route_job() is 'Moves our job kinds out of queue default, which nobody works, and refuses any other wrong queue.';

create or replace trigger towpath_route before insert on :river.river_job
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
