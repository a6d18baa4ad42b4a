create or replace function towpath.requeue(process_no bigint, reason text, delay interval, refund boolean, old_job text) returns void
language plpgsql as $$
declare
  t timestamptz := towpath.now();
  p towpath.process;
begin
  delete from towpath.lease l where l.process_no = requeue.process_no;
  update towpath.attempt a set ended_at = t, end_reason = towpath.redact_text(reason) where a.process_no = requeue.process_no and a.ended_at is null;
  update towpath.process x set status = case when delay > '0' then 'backoff' else 'queued' end,
    next_attempt_at = case when delay > '0' then t + delay end,
    attempts_spent = x.attempts_spent - refund::int, wait = null, updated_at = t, last_seq = x.last_seq + 1
  where x.no = requeue.process_no returning * into p;
  if p.class = 'daemon' then
    delete from towpath.child c where c.process_no = p.no;
    if found then
      perform towpath.record_daemon(p.no, 'unknown'); -- nobody has seen its end
    end if;
  end if;
  perform towpath.unbind(p.no);
  update towpath.input x set phase = 'queued', updated_at = t where x.process_no = p.no and x.phase = 'staged';
  perform towpath.log(p.no, p.last_seq, 'process.requeued', jsonb_strip_nulls(jsonb_build_object('reason', reason, 'attempt', p.attempt,
    'delay_ms', nullif((extract(epoch from delay) * 1000)::bigint, 0))));
  perform towpath.enqueue(p.id, t + delay, old_job);
  perform towpath.wake('towpath_events', p.id);
end $$;
comment on function towpath.requeue(bigint, text, interval, boolean, text) is
'Puts a locked process back in its queue, one generation on, at once or after a delay; refund gives the attempt back to the budget, old_job is what its River job becomes.';

create or replace function towpath.retry(process_no bigint, fence bigint, reason text, delay interval, refund boolean default false,
                                         outcome jsonb default '{}', failure_kind text default null,
                                         anew boolean default false) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p towpath.process := towpath.owned(process_no, fence);
begin
  if failure_kind in ('rate_limited', 'usage_limit') then
    perform towpath.hold_profile(p.profile, failure_kind, delay, p.id);
  end if;
  -- A plan's window opens in hours: waiting for it is no attempt.
  refund := refund or coalesce(failure_kind = 'usage_limit', false);
  if p.cancel_requested_at is not null then
    perform towpath.finalize(p.no, 'cancelled', jsonb_build_object('reason', p.cancel_reason), null, null, fence);
    return 'cancelled';
  end if;
  if p.spec ? 'fallback' and (failure_kind = 'usage_limit' or failure_kind is not null and not refund and p.attempts_spent >= p.max_attempts) then
    perform towpath.finalize(p.no, 'failed', coalesce(outcome, '{}') || jsonb_build_object('attempts', p.attempts_spent) || towpath.fall_back(p, failure_kind),
      failure_kind, null, fence);
    return 'failed';
  end if;
  if not refund and p.attempts_spent >= p.max_attempts then
    -- What the work reported is a failure; trouble of the host is not, and says only that we gave up.
    perform towpath.finalize(p.no, case when failure_kind is null then 'abandoned' else 'failed' end,
      coalesce(outcome, '{}') || jsonb_build_object('attempts', p.attempts_spent), failure_kind,
      case when failure_kind is null then 'engine_gave_up' end, fence);
    return (select x.status from towpath.process x where x.no = p.no);
  end if;
  if anew then
    delete from towpath.journal j where j.process_no = p.no;
  end if;
  perform towpath.requeue(p.no, reason, delay, refund, 'completed');
  return (select x.status from towpath.process x where x.no = p.no);
end $$;
comment on function towpath.retry(bigint, bigint, text, interval, boolean, jsonb, text, boolean) is
'The owner gives a turn back, to be tried again after a delay, or ends it when its budget is spent: failed, or, without a failure kind, abandoned. refund: a drain, which costs no attempt; nor does a usage_limit. That and rate_limited hold the profile for the delay. A turn whose submitter named a fallback does not wait for an allowance, and goes on there once its attempts are spent. anew: without its journal. Returns the new status.';
