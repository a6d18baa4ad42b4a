create or replace function towpath.refuse_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform towpath.fail('TW409', format('%s.%s: %s', tg_table_schema, tg_table_name, tg_argv[0]));
  return null;
end $$;
comment on function towpath.refuse_change() is 'Refuses an UPDATE of what never changes, also to somebody who may write the tables.';

create or replace trigger towpath_fixed before update of id, no, class, disposition, tenant, project, profile, session_id, turn_no, parent_id,
  request_digest, key_digest, created_at on towpath.process
  for each statement execute function towpath.refuse_change('what a process is does not change');
create or replace trigger towpath_fixed before update of id, tenant, project, profile, created_at on towpath.session
  for each statement execute function towpath.refuse_change('a session keeps its tenant, project and profile for life');
create or replace trigger towpath_fixed before update on towpath.event
  for each statement execute function towpath.refuse_change('the log is append-only');
create or replace trigger towpath_fixed before update on towpath.receipt
  for each statement execute function towpath.refuse_change('a receipt is written once');

create or replace function towpath.process_shape() returns trigger
language plpgsql as $$
declare
  broken text := case
    when new.id = '' or length(new.id) > 200 or new.id ~ '[#,[:cntrl:]]' then 'an id has 1 to 200 characters, without # and comma and control characters'
    when (new.class = 'external') <> (new.disposition = 'externally_owned') then 'what is externally owned is external'
    when new.class = 'turn' and (new.session_id is null or new.turn_no is null or new.profile is null) then 'a turn has a session, a number and a profile'
    when new.class = 'operation' and new.env_id is null then 'an operation has an env'
    when new.class in ('turn', 'external') and new.env_id is not null then 'a turn or an external process has no env'
    when new.originator_frame is not null and new.originator_session is null then 'a frame is of a session'
    when (new.originator_session is not null) <> starts_with(new.originator, 'session:') then 'originator and its session agree'
    when new.commands < 0 or new.class <> 'run' and new.commands <> 0 then 'a run alone has commands'
  end;
begin
  if broken is not null then
    raise exception using errcode = 'check_violation', schema = 'towpath', table = 'process', constraint = 'process_shape',
      message = format('process "%s": %s', new.id, broken);
  end if;
  return new;
end $$;
comment on function towpath.process_shape() is 'Checks what an INSERT decides for good, and the count of commands.';
create or replace trigger towpath_shape before insert or update of commands on towpath.process
  for each row execute function towpath.process_shape();

create or replace function towpath.session_shape() returns trigger
language plpgsql as $$
declare
  broken text := case
    when new.id = '' or length(new.id) > 200 or new.id ~ '[#[:cntrl:]]' then 'an id has 1 to 200 characters, without # and control characters'
    when new.runtime_state not in ('idle', 'retired', 'stopped', 'destroyed') then 'runtime_state is idle, retired, stopped or destroyed'
    when length(new.title) > 500 then 'a title has 500 characters at most'
    when jsonb_typeof(new.metadata) <> 'object' then 'metadata is an object'
  end;
begin
  if broken is not null then
    raise exception using errcode = 'check_violation', schema = 'towpath', table = 'session', constraint = 'session_shape',
      message = format('session "%s": %s', new.id, broken);
  end if;
  return new;
end $$;
comment on function towpath.session_shape() is 'Checks what an INSERT decides for good, and what changes seldom.';
create or replace trigger towpath_shape before insert or update of runtime_state, title, metadata on towpath.session
  for each row execute function towpath.session_shape();

create or replace function towpath.input_shape() returns trigger
language plpgsql as $$
declare
  broken text := case
    when new.kind not in ('turn', 'steer', 'interrupt', 'answer') then 'kind is turn, steer, interrupt or answer'
    when new.lane not in ('steer', 'queue') then 'lane is steer or queue'
    when new.topic not in ('prompt', 'message', 'request', 'progress', 'response', 'step', 'event', 'continuation', 'operation') then 'an unknown topic'
    when new.source not in ('operator', 'peer', 'flow', 'system', 'external') then 'an unknown source'
    when new.durability not in ('durable', 'ephemeral', 'derived') then 'durability is durable, ephemeral or derived'
    when jsonb_typeof(new.payload) <> 'object' or jsonb_typeof(new.policy) <> 'object' then 'payload and policy are objects'
    when jsonb_typeof(new.history) <> 'array' then 'history is an array'
    when length(new.correlation_id) > 200 then 'a correlation id has 200 characters at most'
  end;
begin
  if broken is not null then
    raise exception using errcode = 'check_violation', schema = 'towpath', table = 'input', constraint = 'input_shape',
      message = format('input "%s": %s', new.id, broken);
  end if;
  return new;
end $$;
comment on function towpath.input_shape() is 'Checks what an INSERT decides for good, and what changes seldom.';
create or replace trigger towpath_shape
  before insert or update of kind, lane, topic, source, durability, payload, policy, history, correlation_id on towpath.input
  for each row execute function towpath.input_shape();
