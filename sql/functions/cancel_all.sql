create or replace function towpath.cancel_all(reason text default 'cancelled by request', grace interval default '10 seconds',
                                              after text default '', max integer default 500)
returns table (process_id text, status text, error text)
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select * from towpath.cancel_some(array(select p.id from towpath.process p where p.finalized_at is null and p.id > coalesce(after, '')
                                          order by p.id limit max), reason, grace)
$$;
comment on function towpath.cancel_all(text, interval, text, integer) is
'Cancels every live process, a batch at a time in the order of ids: go on after the last. Each has its own result: its status, or the error that kept it.';

create or replace function towpath.cancel_shared(scope text, reason text default 'cancelled by request', grace interval default '10 seconds',
                                                 after text default '', max integer default 500)
returns table (process_id text, status text, error text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
begin
  perform towpath.check_scope(scope);
  return query select * from towpath.cancel_some(
    array(select p.id from towpath.share s join towpath.process p on p.no = s.process_no
          where s.scope = cancel_shared.scope and p.finalized_at is null and p.id > coalesce(after, '') order by p.id limit max), reason, grace);
end $$;
comment on function towpath.cancel_shared(text, text, interval, text, integer) is 'cancel_all for the processes that are shared with a scope.';

create or replace function towpath.cancel_some(ids text[], reason text, grace interval) returns table (process_id text, status text, error text)
language plpgsql volatile as $$
begin
  -- All locks first, in their order: one cancel after the other would not keep it.
  perform towpath.lock_processes(ids);
  foreach process_id in array ids loop
    error := null;
    begin
      status := towpath.cancel(process_id, reason, grace);
    exception
      when deadlock_detected or serialization_failure then raise;
      when others then
        error := sqlerrm;
        status := (select p.status from towpath.process p where p.id = cancel_some.process_id);
    end;
    return next;
  end loop;
end $$;
comment on function towpath.cancel_some(text[], text, interval) is 'Cancels processes one by one, whatever becomes of the others.';

create or replace function towpath.request_abandon(process_id text, requested_by text, reason text default null) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p    towpath.process;
  mark jsonb;
begin
  if coalesce(requested_by, '') = '' or length(requested_by) > 200 or octet_length(reason) > 1048576 then
    perform towpath.fail('TW400', 'requested_by is missing or above 200 characters, or reason is above 1 MiB', 'say who asks; it is recorded');
  end if;
  p := towpath.locked(process_id);
  if p.finalized_at is not null then
    perform towpath.fail('TW409', format('process "%s" is %s already', p.id, p.status));
  end if;
  if p.abandon_request is not null then
    return p.abandon_request;
  end if;
  mark := towpath.event_data(jsonb_strip_nulls(jsonb_build_object('requested_by', requested_by, 'reason', reason, 'at', towpath.now()))::text);
  update towpath.process x set abandon_request = mark, updated_at = towpath.now() where x.no = p.no;
  perform towpath.note(p.no, 'process.abandon_requested', mark);
  perform towpath.wake('towpath_events', p.id);
  return mark;
end $$;
comment on function towpath.request_abandon(text, text, text) is
'Asks that a process whose owner is silent be given up, and returns the mark, which may be an earlier one. The sweep does it once no lease holds; an owner that lives goes on.';
