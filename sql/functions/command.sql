create or replace view towpath.commands as
  select i.id, r.id as run, i.run_seq as seq, i.kind as type, p.id as process, i.session_id as session,
         case when i.kind = 'turn' and p.finalized_at is not null then case p.status when 'abandoned' then 'failed' else p.status end
              when i.phase = 'queued' then 'pending'
              when i.phase in ('staged', 'applied') then 'acknowledged'
              when i.phase = 'consumed' then 'completed'
              when i.phase = 'rejected' then 'failed'
              else 'cancelled' end as status,
         coalesce(p.failure_kind, p.abandon_writer) as failure_kind, i.phase, i.reason, i.attempts, i.created_at, i.updated_at, i.finalized_at
  from towpath.input i join towpath.process r on r.no = i.run_no join towpath.process p on p.no = i.process_no;
comment on view towpath.commands is 'The commands of runs: inputs in the words of a run.';

create or replace function towpath.create_command(
  run text, type text, payload jsonb, idempotency_key text default null, options jsonb default '{}',
  out command_id text, out seq integer, out duplicate boolean, out process_id text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t       timestamptz := towpath.now();
  r       towpath.process;
  i       towpath.input;
  head    text;
  slot    bytea := towpath.digest('command:' || run || ':' || idempotency_key);
  request bytea;
begin
  perform towpath.check_payload(payload, 'payload', idempotency_key);
  if type is null or type not in ('turn', 'steer', 'interrupt') then
    perform towpath.fail('TW400', format('unknown type "%s"', coalesce(type, '')), 'types are turn, steer, interrupt');
  end if;
  if type <> 'turn' and options <> '{}' or options ?| '{id,tenant,project,idempotency_key}' then
    perform towpath.fail('TW400', 'these options are not a command''s', 'a turn has priority, max_attempts, timeout_s, scheduled_at, late_steer; others have none');
  end if;
  r := towpath.locked_run(run);
  request := towpath.digest(jsonb_build_object('run', r.id, 'type', type, 'payload', payload, 'options', options));
  i := towpath.known_input(r.session_id, slot, request);
  if i.id is not null then
    command_id := i.id; seq := i.run_seq; duplicate := true;
    select p.id into process_id from towpath.process p where p.no = i.process_no;
    return;
  end if;
  perform towpath.check_run(r);
  duplicate := false;
  if type = 'turn' then
    select a.process_id into create_command.process_id from towpath.accept_turn(r.profile, payload, r.session_id, null, options, null, r.id) a;
    select x.id into command_id from towpath.input x join towpath.process p on p.no = x.process_no
    where p.id = create_command.process_id and x.kind = 'turn';
  else
    select p.id into head from towpath.process p where p.parent_id = r.id and p.finalized_at is null order by p.turn_no limit 1;
    if head is null then
      perform towpath.fail('TW409', format('run "%s" has no turn to %s', r.id, type), 'send a turn');
    end if;
    process_id := head;
    command_id := towpath.address(head, type, payload, null);
  end if;
  update towpath.process x set commands = x.commands + 1, updated_at = t where x.no = r.no returning x.commands into seq;
  update towpath.input x set run_no = r.no, run_seq = create_command.seq, digest = request, key_digest = slot,
    lane = case when create_command.type = 'turn' then 'queue' else 'steer' end, updated_at = t where x.id = command_id;
  perform towpath.note(r.no, 'command.created', jsonb_build_object('command', command_id, 'seq', seq, 'type', type, 'process', process_id));
  if type = 'interrupt' then
    -- The request itself is stored with its turn: it is applied from here.
    update towpath.input x set phase = 'applied', updated_at = t where x.id = command_id;
    perform towpath.interrupt(process_id);
  end if;
  perform towpath.wake('towpath_events', r.id);
end $$;
comment on function towpath.create_command(text, text, jsonb, text, jsonb) is
'Adds a command to a run: turn (a process of its own, in session order), steer or interrupt (to the run''s first turn that has not ended). seq counts from 1 without gaps. The same key and request give the same command; a run that has ended takes none.';

create or replace function towpath.note_command() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform towpath.note(new.run_no, 'command.terminal', jsonb_strip_nulls(jsonb_build_object('command', c.id, 'seq', c.seq, 'type', c.type,
    'status', c.status, 'reason', c.reason, 'kind', c.failure_kind))) from towpath.commands c where c.id = new.id;
  perform towpath.wake('towpath_events', p.id) from towpath.process p where p.no = new.run_no;
  return null;
end $$;
comment on function towpath.note_command() is 'A run''s log says how each of its commands ended.';

create or replace trigger towpath_command after update of phase on towpath.input
  for each row when (new.run_no is not null and old.finalized_at is null and new.finalized_at is not null) execute function towpath.note_command();

create or replace function towpath.locked_command(command text) returns towpath.input
language plpgsql as $$
declare
  i towpath.input;
begin
  select * into i from towpath.input x where x.id = command and x.run_no is not null;
  if not found then
    perform towpath.fail('TW404', format('unknown command "%s"', coalesce(command, '')), 'towpath.commands lists them');
  end if;
  perform towpath.locked(p.id) from towpath.process p where p.no = i.process_no;
  select * into i from towpath.input x where x.id = command for no key update;
  return i;
end $$;
comment on function towpath.locked_command(text) is 'Locks session, process and row of a command.';

create or replace function towpath.ack_command(command text, fence bigint) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  i towpath.input := towpath.locked_command(command);
begin
  if i.finalized_at is null then
    perform towpath.owned(i.process_no, fence);
    update towpath.input x set phase = 'staged', attempts = x.attempts + 1, updated_at = towpath.now() where x.id = i.id and x.phase = 'queued';
  end if;
  return (select c.status from towpath.commands c where c.id = i.id);
end $$;
comment on function towpath.ack_command(text, bigint) is
'The owner of a command''s turn has taken it (for a turn, its claim already says so). Again, or after its end, nothing changes. Returns its status.';

create or replace function towpath.finish_command(command text, fence bigint, status text, outcome jsonb default '{}', failure_kind text default null)
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  i towpath.input := towpath.locked_command(command);
  c towpath.commands;
begin
  if status is null or status not in ('completed', 'failed', 'cancelled') then
    perform towpath.fail('TW400', format('"%s" is not completed, failed or cancelled', coalesce(status, '')));
  end if;
  if i.finalized_at is null then
    if i.kind = 'turn' then
      perform towpath.finish(i.process_no, fence, status, outcome, failure_kind);
    else
      perform towpath.owned(i.process_no, fence);
      update towpath.input x set updated_at = towpath.now(), finalized_at = towpath.now(), reason = finish_command.failure_kind,
        phase = case finish_command.status when 'completed' then 'consumed' when 'failed' then 'rejected' else 'abandoned' end where x.id = i.id;
    end if;
  end if;
  select * into c from towpath.commands x where x.id = i.id;
  if c.status <> finish_command.status then
    perform towpath.fail('TW409', format('command "%s" is %s', c.id, c.status), 'a command ends once');
  end if;
  return c.status;
end $$;
comment on function towpath.finish_command(text, bigint, text, jsonb, text) is
'The owner of a command''s turn ends the command; for a turn that is the end of the turn. The same end again is answered, another one is an error. Returns its status.';

create or replace function towpath.cancel_command(command text, reason text default 'cancelled by request') returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  i towpath.input := towpath.locked_command(command);
begin
  if coalesce(reason, '') = '' then
    perform towpath.fail('TW400', 'reason is missing', 'say why; it is recorded');
  end if;
  if i.finalized_at is null then
    if i.kind = 'turn' then
      perform towpath.cancel(p.id, reason) from towpath.process p where p.no = i.process_no;
    elsif i.phase = 'applied' then
      perform towpath.fail('TW409', format('command "%s" has been applied', i.id), 'cancel its turn');
    else
      update towpath.input x set phase = 'abandoned', reason = towpath.redact_text(cancel_command.reason), updated_at = towpath.now(),
        finalized_at = towpath.now() where x.id = i.id;
    end if;
  end if;
  return (select c.status from towpath.commands c where c.id = i.id);
end $$;
comment on function towpath.cancel_command(text, text) is
'Cancels a command and returns its status: a turn as cancel does, a steer as long as no guest has observed it. One that has ended keeps its end.';
