create or replace function towpath.park(process_no bigint, fence bigint, wait jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t timestamptz := towpath.now();
  p towpath.process := towpath.owned(process_no, fence);
begin
  delete from towpath.lease l where l.process_no = p.no;
  update towpath.attempt a set ended_at = t, end_reason = 'waiting' where a.process_no = p.no and a.ended_at is null;
  update towpath.process x set status = 'waiting', wait = park.wait, attempts_spent = x.attempts_spent - 1, updated_at = t where x.no = p.no;
  update towpath.input i set phase = 'queued', updated_at = t where i.process_no = p.no and i.phase = 'staged';
  perform towpath.note(p.no, 'process.waiting', park.wait);
  perform towpath.wake('towpath_events', p.id);
end $$;
comment on function towpath.park(bigint, bigint, jsonb) is 'The owner lets a turn wait without lease and job; it costs no attempt.';

create or replace function towpath.resolve(process_id text, decision text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p towpath.process := towpath.locked(process_id);
begin
  if decision is null or decision not in ('retry', 'fail') then
    perform towpath.fail('TW400', format('"%s" is not retry or fail', coalesce(decision, '')), 'retry lets the plugin ask again, fail ends the turn');
  end if;
  if p.status <> 'waiting' or p.wait ->> 'kind' <> 'in_doubt' then
    perform towpath.fail('TW409', format('process "%s" waits for no decision', p.id), 'towpath.processes has its status');
  end if;
  perform towpath.note(p.no, 'process.resolved', jsonb_build_object('decision', decision));
  if decision = 'fail' then
    perform towpath.finalize(p.no, 'failed', jsonb_build_object('message', 'an outside call is in doubt'), 'in_doubt');
    return 'failed';
  end if;
  update towpath.process x set status = 'queued', wait = null, spec = x.spec || '{"in_doubt": "retry"}', updated_at = towpath.now() where x.no = p.no;
  perform towpath.enqueue(p.id);
  perform towpath.wake('towpath_events', p.id);
  return 'queued';
end $$;
comment on function towpath.resolve(text, text) is 'An operator decides about a turn that waits because an outside call is in doubt: retry or fail. Returns its status.';
