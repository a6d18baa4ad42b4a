create or replace function towpath.finalize(p_no bigint, p_status text, p_outcome jsonb, p_kind text default null,
                                            p_writer text default null, p_fence bigint default null,
                                            p_key bytea default null, p_authority text default null,
                                            p_said bigint default 0, p_moved towpath.session default null) returns void
language plpgsql as $$
declare
  t      timestamptz := towpath.now();
  p      towpath.process;
  stored jsonb := towpath.event_data(p_outcome::text);
begin
  -- One statement: each costs more by itself than what it does here.
  with done as (
    update towpath.process x set status = p_status, outcome = stored, failure_kind = p_kind,
      abandon_writer = p_writer, finalized_at = t, updated_at = t, next_attempt_at = null, wait = null, last_seq = x.last_seq + p_said + 1
    where x.no = p_no returning *
  ), said as (
    insert into towpath.event (process_no, seq, type, data, fence, replay_key, at)
    select d.no, d.last_seq, 'process.' || p_status,
      stored || jsonb_strip_nulls(jsonb_build_object('kind', p_kind, 'writer', p_writer, 'authority', p_authority)), p_fence, p_key, t
    from done d
  ), freed as (
    delete from towpath.lease l where l.process_no = p_no
  ), left_off as (
    update towpath.attempt a set ended_at = t, end_reason = p_status where a.process_no = p_no and a.ended_at is null
  )
  select * into p from done;
  if p.class = 'daemon' then
    delete from towpath.child c where c.process_no = p_no;
    if found then
      perform towpath.record_daemon(p.no, 'unknown'); -- nobody has seen its end
    end if;
  end if;
  if p.session_id is not null then
    perform towpath.leave_session(p, p_moved);
  end if;
  if p.class = 'turn' and p.parent_id is not null then
    perform towpath.settle_run(p.parent_id);
  end if;
  if p.river_job_id is not null then
    perform towpath.end_job(p.river_job_id, case when p_fence is null then 'cancelled' else 'completed' end,
      jsonb_build_object('output', jsonb_strip_nulls(jsonb_build_object('process_id', p.id, 'status', p_status, 'kind', p_kind,
        'message', case when p_status in ('failed', 'abandoned') then left(coalesce(p.outcome ->> 'message', p.outcome ->> 'reason'), 2000) end,
        'stderr', case when p_status = 'failed' then right(p.outcome ->> 'stderr', 8000) end))));
  end if;
  if p_fence is null then
    perform towpath.wake('towpath_events', p.id);
  else
    perform towpath.wake_readers(p.id);
  end if;
end $$;
comment on function towpath.finalize(bigint, text, jsonb, text, text, bigint, bytea, text, bigint, towpath.session) is
'Ends a process whose session and row the caller has locked: terminal event, outcome, lease, attempt, inputs, River job, and the session''s next turn. p_said: events that the caller has stored behind last_seq and not counted. p_moved: the session, when the caller has moved its snapshot and not stored its version.';

create or replace function towpath.leave_session(p towpath.process, moved towpath.session) returns void
language plpgsql as $$
declare
  t    timestamptz := p.finalized_at;
  s    towpath.session;
  i    towpath.input;
  head text;
begin
  perform towpath.unbind(p.no);
  -- A steer that came too late goes on as the session's next turn, unless the submitter wanted it rejected.
  for i in select * from towpath.input x where x.process_no = p.no and x.kind = 'steer' and x.phase in ('queued', 'staged')
             and p.status = 'completed' and coalesce(p.spec ->> 'late_steer', 'next') = 'next' order by seq loop
    begin
      perform towpath.accept_turn(p.profile, towpath.content_of(i), p.session_id, 'late:' || i.id, '{}', null, p.parent_id);
      update towpath.input x set phase = 'superseded', reason = 'next turn', updated_at = t, finalized_at = t where x.id = i.id;
    exception when sqlstate 'TW404' or sqlstate 'TW409' or sqlstate 'TW40I' or sqlstate 'TW423' then
      update towpath.input x set phase = 'rejected', reason = sqlerrm, updated_at = t, finalized_at = t where x.id = i.id;
    end;
  end loop;
  update towpath.input x set updated_at = t, finalized_at = t,
    phase = case when x.phase = 'applied' or x.kind = 'turn' and p.status = 'completed' then 'consumed'
                 when x.kind = 'turn' then 'abandoned' else 'rejected' end,
    reason = case when x.phase = 'applied' or x.kind = 'turn' and p.status = 'completed' then null
                  when x.kind = 'turn' then p.status else 'late' end
  where x.process_no = p.no and x.phase in ('queued', 'staged', 'applied');
  if p.turn_no is null then
    return;
  end if;
  select x.id into head from towpath.process x
  where x.session_id = p.session_id and x.finalized_at is null and x.turn_no is not null order by x.turn_no limit 1;
  select * into s from towpath.session x where x.id = p.session_id;
  update towpath.session x set updated_at = t, active_process = case when s.active_process = p.id then head else s.active_process end,
    last_process = p.id, last_status = p.status, last_failure = p.failure_kind,
    version = coalesce(moved.version, x.version), digest = coalesce(moved.digest, x.digest)
  where x.id = s.id;
  if s.active_process is distinct from p.id then
    return;
  end if;
  if head is not null then
    perform towpath.enqueue(head, (select (x.spec ->> 'scheduled_at')::timestamptz from towpath.process x where x.id = head));
  elsif s.runtime_state <> 'idle' then
    perform towpath.end_waiting(s.id, s.runtime_state);
  end if;
end $$;
comment on function towpath.leave_session(towpath.process, towpath.session) is
'What the end of a process means for its locked session: its inputs end or go on, and the next turn of the session becomes its head.';
