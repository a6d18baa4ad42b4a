create or replace function towpath.cancel(process_id text, reason text default 'cancelled by request', grace interval default '10 seconds')
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p towpath.process;
begin
  if coalesce(reason, '') = '' then
    perform towpath.fail('TW400', 'reason is missing', 'say why; it is recorded');
  end if;
  if grace is null or grace < '0' or grace > '1 hour' then
    perform towpath.fail('TW400', 'grace is not between 0 and 1 hour');
  end if;
  p := towpath.locked(process_id);
  if p.finalized_at is not null then
    return p.status;
  end if;
  if p.class = 'run' then
    return towpath.cancel_run(p.id, reason);
  end if;
  if p.cancel_requested_at is null then
    update towpath.process x set cancel_requested_at = towpath.now(), cancel_reason = towpath.redact_text(cancel.reason),
      cancel_deadline = towpath.now() + grace, updated_at = towpath.now() where x.no = p.no;
    perform towpath.note(p.no, 'process.cancel_requested', jsonb_build_object('reason', reason));
  elsif towpath.now() + grace < p.cancel_deadline then
    update towpath.process x set cancel_deadline = towpath.now() + grace, updated_at = towpath.now() where x.no = p.no;
  end if;
  -- A child that may be alive on its machine is ended there first.
  if not exists (select 1 from towpath.lease l where l.process_no = p.no)
     and not (p.class = 'daemon' and exists (select from towpath.child c where c.process_no = p.no and c.outlives)) then
    perform towpath.finalize(p.no, 'cancelled', jsonb_build_object('reason', reason));
    return 'cancelled';
  end if;
  perform towpath.wake('towpath_control', p.id);
  perform towpath.wake('towpath_events', p.id);
  return p.status;
end $$;
comment on function towpath.cancel(text, text, interval) is
'Cancels a process and returns its status. What has not started ends at once; what runs is asked, and killed by its owner after the grace. Asking again changes nothing but a nearer deadline; a process that has ended keeps its end.';

create or replace function towpath.interrupt(process_id text, reason text default 'interrupted') returns text
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select towpath.cancel(process_id, reason, '700 milliseconds')
$$;
comment on function towpath.interrupt(text, text) is 'Ends a turn within a second: a cancel with a short grace.';
