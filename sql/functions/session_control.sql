create or replace function towpath.session_control(session text, action text, reason text default null) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  s    towpath.session;
  busy boolean;
  said text;
begin
  if action is null or action not in ('retire', 'reset', 'stop', 'destroy', 'recycle', 'resume') then
    perform towpath.fail('TW400', format('unknown action "%s"', coalesce(action, '')), 'actions are retire, reset, stop, destroy, recycle, resume');
  end if;
  select * into s from towpath.session x where x.id = session_control.session for no key update;
  if not found then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')));
  end if;
  busy := exists (select 1 from towpath.process p join towpath.lease l on l.process_no = p.no where p.id = s.active_process);
  if s.runtime_state = 'destroyed' and action <> 'destroy' then
    perform towpath.fail('TW409', format('session "%s" is destroyed', s.id), 'that is final: use another session');
  elsif s.runtime_state = 'stopped' and action not in ('stop', 'destroy', 'resume') then
    perform towpath.fail('TW409', format('session "%s" is stopped', s.id), 'resume or destroy it');
  elsif s.runtime_state = 'retired' and action = 'resume' then
    perform towpath.fail('TW409', format('session "%s" is retired', s.id), 'recycle it to keep what is queued, or reset it');
  elsif busy and (action in ('reset', 'recycle') or action = 'resume' and s.runtime_state = 'stopped') then
    perform towpath.fail('TW409', format('session "%s" is running', s.id), 'wait for its turn to end, or cancel that');
  end if;
  said := case action when 'reset' then 'reset' when 'stop' then 'stopped' when 'destroy' then 'destroyed' when 'retire' then 'retired' end;
  -- First, since nothing may be accepted while work is being ended.
  update towpath.session x set updated_at = towpath.now(),
    runtime_state = case action when 'retire' then 'retired' when 'stop' then 'stopped' when 'destroy' then 'destroyed' else 'idle' end
  where x.id = s.id
    and x.runtime_state <> case action when 'retire' then 'retired' when 'stop' then 'stopped' when 'destroy' then 'destroyed' else 'idle' end;
  if action in ('reset', 'stop', 'destroy') then
    perform towpath.end_work(s.id, said, coalesce(reason, 'session ' || said));
  elsif action = 'retire' and s.active_process is null then
    perform towpath.end_waiting(s.id, said);
  end if;
  return (select v.state from towpath.sessions v where v.id = s.id);
end $$;
comment on function towpath.session_control(text, text, text) is
'Changes what a session does, and returns its state. retire: takes nothing new, what is queued is still done. reset: drops what is queued, idle again; refused while a turn runs. stop: drops what is queued, asks the running turn to end. resume: a stopped session is idle again. destroy: as stop, for good. recycle: idle again with what is queued; refused while a turn runs. The new state is stored before anybody can see it.';

create or replace function towpath.end_waiting(p_session text, p_reason text) returns void
language sql as $$
  update towpath.input i set phase = 'abandoned', reason = p_reason, updated_at = towpath.now(), finalized_at = towpath.now()
  where i.session_id = p_session and i.finalized_at is null and i.process_no is null
$$;
comment on function towpath.end_waiting(text, text) is 'Abandons the inputs of a locked session that no process has taken.';

create or replace function towpath.end_work(p_session text, p_word text, p_reason text) returns void
language plpgsql as $$
declare
  p towpath.process;
begin
  perform 1 from towpath.process x where x.session_id = p_session and x.class in ('run', 'turn', 'daemon') and x.finalized_at is null order by x.no for no key update;
  update towpath.input i set phase = 'abandoned', reason = p_word, updated_at = towpath.now(), finalized_at = towpath.now()
  where i.session_id = p_session and i.phase = 'queued';
  -- The last first, so that no turn moves up only to be cancelled; runs after their turns, and daemons whenever.
  for p in select * from towpath.process x where x.session_id = p_session and x.class in ('run', 'turn', 'daemon') and x.finalized_at is null
           order by x.class = 'run', x.turn_no desc, x.no loop
    if p.class = 'daemon' then
      perform towpath.halt(p.id, p_reason);
    else
      perform towpath.cancel(p.id, p_reason);
    end if;
  end loop;
end $$;
comment on function towpath.end_work(text, text, text) is 'Ends what a locked session has not begun, and asks what runs to end.';
