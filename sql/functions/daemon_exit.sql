create or replace function towpath.daemon_exit(process_no bigint, fence bigint, reason text, code integer default null, signal text default null,
                                               refund boolean default false) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t      timestamptz := towpath.now();
  p      towpath.process := towpath.owned(process_no, fence);
  c      towpath.child;
  facts  jsonb := jsonb_strip_nulls(jsonb_build_object('reason', coalesce(reason, 'ended'), 'code', code, 'signal', signal, 'attempt', p.attempt));
  policy text := coalesce(p.spec ->> 'restart', 'always');
  spent  integer := p.attempts_spent;
begin
  delete from towpath.child x where x.process_no = p.no returning * into c;
  update towpath.attempt a set exit_code = daemon_exit.code, exit_signal = daemon_exit.signal where a.process_no = p.no and a.attempt = p.attempt;
  if c.pid is not null then
    perform towpath.record_daemon(p.no, case when p.cancel_requested_at is null then 'exited' else 'stopped' end, daemon_exit.code, daemon_exit.signal);
  end if;
  -- Who has run for long has paid for what was before.
  if c.ready_at is not null and t - c.ready_at >= make_interval(secs => coalesce((p.spec ->> 'stable_s')::numeric, 60)::float8) then
    spent := least(spent, 1);
  end if;
  if p.cancel_requested_at is not null then
    perform towpath.finalize(p.no, 'cancelled', facts || jsonb_build_object('reason', p.cancel_reason), null, null, fence);
  elsif (select d.restart_of from towpath.daemon d where d.process_id = p.id) = p.attempt then
    update towpath.process x set attempts_spent = 0 where x.no = p.no;
    perform towpath.requeue(p.no, 'restart asked', '0', false, 'completed');
  elsif refund then
    update towpath.process x set attempts_spent = greatest(spent, 1) where x.no = p.no;
    perform towpath.requeue(p.no, reason, '0', true, 'completed');
  elsif policy <> 'always' and code = 0 then
    perform towpath.finalize(p.no, 'completed', facts, null, null, fence);
  elsif policy = 'never' then
    perform towpath.finalize(p.no, 'failed', facts, 'exit', null, fence);
  elsif spent >= p.max_attempts then
    perform towpath.finalize(p.no, 'failed', facts || jsonb_build_object('attempts', spent), 'restarts_spent', null, fence);
  else
    update towpath.process x set attempts_spent = spent where x.no = p.no;
    perform towpath.requeue(p.no, reason, towpath.backoff(spent, coalesce((p.spec ->> 'backoff_s')::numeric, 60)), false, 'completed');
  end if;
  select * into p from towpath.process x where x.no = p.no;
  update :river.river_job j set metadata = j.metadata || facts where j.id = p.river_job_id and p.finalized_at is null;
  return p.status;
end $$;
comment on function towpath.daemon_exit(bigint, bigint, text, integer, text, boolean) is
'The end of a daemon''s child, as its worker saw it, and what follows by the spec: a restart after a delay, at once for one that was asked for, or the end. An explicit stop wins. refund: not the daemon''s fault. Returns the process''s status.';

create or replace function towpath.backoff(failures integer, most numeric) returns interval
language sql volatile parallel safe as $$
  select (greatest(random() * least(most, 2 ^ least(failures, 17)), 0.1)::float8) * interval '1 second'
$$;
comment on function towpath.backoff(integer, numeric) is 'How long a daemon waits before its next start: doubling up to a number of seconds, with full jitter.';

create or replace function towpath.park_daemon(process_no bigint, reason text) returns void
language plpgsql as $$
declare
  t timestamptz := towpath.now();
  p towpath.process;
  c towpath.child;
begin
  delete from towpath.lease l where l.process_no = park_daemon.process_no;
  update towpath.attempt a set ended_at = t, end_reason = reason where a.process_no = park_daemon.process_no and a.ended_at is null;
  select * into c from towpath.child x where x.process_no = park_daemon.process_no;
  update towpath.process x set status = 'waiting', wait = jsonb_build_object('kind', 'machine', 'machine', c.machine, 'since', t), updated_at = t
  where x.no = park_daemon.process_no returning * into p;
  perform towpath.record_daemon(p.no, 'unknown');
  perform towpath.note(p.no, 'process.waiting', jsonb_build_object('kind', 'machine', 'machine', c.machine, 'reason', reason));
  perform towpath.end_job(p.river_job_id, 'completed');
  perform towpath.wake('towpath_events', p.id);
  perform towpath.wake('towpath_control', p.id);
end $$;
comment on function towpath.park_daemon(bigint, text) is
'A locked daemon has lost its worker, and its child may live: it waits for a worker of that machine, or for an operator''s resume, which says that the child is dead.';

create or replace function towpath.daemon_park(process_no bigint, fence bigint, reason text default 'worker stopped') returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p towpath.process := towpath.owned(process_no, fence);
begin
  if not exists (select from towpath.child c where c.process_no = p.no and c.outlives) then
    perform towpath.fail('TW409', format('daemon "%s" dies with its worker', p.definition), 'end its child, and say so with towpath.daemon_exit');
  end if;
  perform towpath.park_daemon(p.no, coalesce(reason, 'worker stopped'));
  return 'waiting';
end $$;
comment on function towpath.daemon_park(bigint, bigint, text) is 'A worker that stops leaves a daemon running, for the next worker of its machine.';
