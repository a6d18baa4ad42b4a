create or replace function towpath.note_completion(p_no bigint, p_kind text, p_at timestamptz) returns void
language plpgsql as $$
declare
  w     towpath.wake_target;
  wakes boolean := p_kind is distinct from 'member';
begin
  select * into w from towpath.wake_target x where x.process_no = p_no;
  if found then
    insert into towpath.completion (process_no, session_id, wakes, at) values (p_no, w.session_id, wakes, p_at);
    if wakes then
      perform towpath.enqueue_wake(w.session_id);
    end if;
  end if;
end $$;
comment on function towpath.note_completion(bigint, text, timestamptz) is 'The end of a process, its completion and the job that delivers it are one transaction.';

create or replace function towpath.enqueue_wake(session text) returns void
language sql as $$
  insert into :river.river_job (kind, queue, args, state, priority, max_attempts, tags)
  values ('wake', towpath.queue_of('wake'), jsonb_build_object('session', session), 'available', 2, 25, towpath.tags(session, null))
$$;
comment on function towpath.enqueue_wake(text) is 'Asks some node to wake a session. Once too often does nothing.';

create or replace function towpath.wake_when_idle() returns trigger
language plpgsql as $$
begin
  if new.active_process is null and new.runtime_state = 'idle' and new.quarantine is null
     and (old.active_process is not null or old.runtime_state <> 'idle' or old.quarantine is not null)
     and exists (select 1 from towpath.completion c where c.session_id = new.id and c.wakes and c.turn_id is null) then
    perform towpath.enqueue_wake(new.id);
  end if;
  return null;
end $$;
comment on function towpath.wake_when_idle() is 'What ended during a run is told when the session has nothing more to do.';

create or replace trigger towpath_wake after update of active_process, runtime_state, quarantine on towpath.session
  for each row execute function towpath.wake_when_idle();

create or replace function towpath.number_completions(p_session text) returns void
language plpgsql as $$
declare
  top bigint;
begin
  with fresh as (
    select c.process_no, row_number() over (order by c.at, c.process_no) as place from towpath.completion c where c.session_id = p_session and c.seq is null
  ), numbered as (
    update towpath.completion c set seq = s.completions + f.place from fresh f, towpath.session s
    where c.process_no = f.process_no and s.id = p_session returning c.seq
  )
  select max(n.seq) into top from numbered n;
  if top is not null then
    update towpath.session s set completions = top, updated_at = towpath.now() where s.id = p_session;
  end if;
end $$;
comment on function towpath.number_completions(text) is
'Gives what has ended since the last look its place. Under the session''s lock: what commits later has a later number, so no reader passes over it.';

create or replace function towpath.completions(session text, reader text default null, after bigint default null, max integer default 100)
returns table (seq bigint, process_id text, kind text, label text, status text, outcome jsonb, failure_kind text, wakes boolean, turn text, at timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  start bigint := after;
begin
  if max is null or max not between 1 and 1000 then
    perform towpath.fail('TW400', 'max is not between 1 and 1000');
  end if;
  perform 1 from towpath.session s where s.id = session for no key update;
  if not found then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')));
  end if;
  perform towpath.number_completions(session);
  if start is null then
    start := coalesce((select c.position from towpath.cursor c where c.reader = completions.reader and c.stream = 'completions:' || session), 0);
  end if;
  return query
  select c.seq, p.id, p.kind, p.label, p.status, p.outcome, p.failure_kind, c.wakes, c.turn_id, c.at
  from towpath.completion c join towpath.process p on p.no = c.process_no
  where c.session_id = completions.session and c.seq > start order by c.seq limit max;
end $$;
comment on function towpath.completions(text, text, bigint, integer) is
'Which processes that wake a session have ended, in the order of their numbers: after one, or after what a reader has acknowledged, or all. What is not acknowledged comes again, after a restart too.';

create or replace function towpath.completions_seen(reader text, session text, seq bigint) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  s   towpath.session;
  old bigint;
begin
  if coalesce(reader, '') = '' or length(reader) > 200 then
    perform towpath.fail('TW400', 'reader is not a name of 1 to 200 characters');
  end if;
  select * into s from towpath.session x where x.id = completions_seen.session for no key update;
  if not found then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')));
  end if;
  if seq is null or seq < 0 or seq > s.completions then
    perform towpath.fail('TW400', format('session "%s" has completions to %s, not to %s', s.id, s.completions, coalesce(seq::text, 'null')));
  end if;
  select c.position into old from towpath.cursor c where c.reader = completions_seen.reader and c.stream = 'completions:' || s.id;
  if seq < old then
    perform towpath.fail('TW409', format('reader "%s" has seen session "%s" up to completion %s', reader, s.id, old), 'what has been seen stays seen');
  end if;
  insert into towpath.cursor as c (reader, stream, position, session_id, updated_at)
  values (reader, 'completions:' || s.id, seq, s.id, towpath.now())
  on conflict on constraint cursor_pkey do update set position = excluded.position, updated_at = excluded.updated_at;
  return seq;
end $$;
comment on function towpath.completions_seen(text, text, bigint) is 'A reader acknowledges the completions of a session up to a number; it never moves back.';

create or replace function towpath.wake_session(session text, out action text, out turn text, out completions integer)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  s    towpath.session;
  told bigint[];
  line text;
begin
  completions := 0;
  select * into s from towpath.session x where x.id = wake_session.session for no key update;
  if not found then
    action := 'gone'; return;
  end if;
  perform towpath.number_completions(s.id);
  if s.active_process is not null or s.runtime_state <> 'idle' or s.quarantine is not null then
    -- Its last turn's end, or whoever opens it again, asks anew.
    action := 'later'; return;
  end if;
  select array_agg(x.process_no), string_agg(format('%s (%s) %s: %s', coalesce(x.label, x.kind, 'process'), x.id, x.status, left(x.outcome::text, 2000)),
                                             E'\n' order by x.seq)
  into told, line
  from (select c.process_no, c.seq, p.id, p.kind, p.label, p.status, p.outcome
        from towpath.completion c join towpath.process p on p.no = c.process_no
        where c.session_id = s.id and c.wakes and c.turn_id is null order by c.seq limit 100) x;
  if told is null then
    action := 'nothing'; return;
  end if;
  action := 'woken'; completions := cardinality(told);
  select i.process_id into turn from towpath.accept_input(s.id, 'continuation', jsonb_build_object('text', line), null, '{"source": "system"}') i;
  update towpath.completion c set turn_id = turn where c.process_no = any(told);
end $$;
comment on function towpath.wake_session(text) is
'Tells an idle session of the processes that have ended: one turn for all of them, whose text says of each its label, id, status and outcome, up to 2000 characters (towpath.completions has it whole). action: woken, later (it has work, or is closed), nothing or gone. The job kind wake calls it.';

create or replace function towpath.end_operations(session text, reason text default 'cancelled by request', grace interval default '10 seconds',
                                                  after text default '', max integer default 500)
returns table (process_id text, status text, error text)
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select * from towpath.cancel_some(array(select p.id from towpath.wake_target w join towpath.process p on p.no = w.process_no
                                          where w.session_id = session and p.finalized_at is null and p.id > coalesce(after, '')
                                          order by p.id limit max), reason, grace)
$$;
comment on function towpath.end_operations(text, text, interval, text, integer) is 'cancel_all for the processes whose end wakes a session.';

create or replace function towpath.await_all(process_ids text[])
returns table (process_id text, status text, outcome jsonb, failure_kind text, finalized_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if coalesce(cardinality(process_ids), 0) not between 1 and 1000 or array_position(process_ids, null) is not null
     or (select count(distinct i) from unnest(process_ids) i) < cardinality(process_ids) then
    perform towpath.fail('TW400', 'process_ids are not 1 to 1000 different ids');
  end if;
  perform towpath.process(i) from unnest(process_ids) i;
  return query
  select p.id, p.status, p.outcome, p.failure_kind, p.finalized_at from unnest(process_ids) with ordinality i(id, n) join towpath.process p using (id)
  where not exists (select 1 from towpath.process x where x.id = any(process_ids) and x.finalized_at is null) order by i.n;
end $$;
comment on function towpath.await_all(text[]) is
'How all of these processes have ended, in their order; no row while one has not. To wait: as for await_output.';
