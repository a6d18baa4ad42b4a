create or replace function towpath.transition() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if new.status <> old.status and new.finalized_at is null and not (case old.status
       when 'queued' then new.status = 'running' or new.status = 'waiting' and old.class = 'turn'
       when 'running' then new.status in ('queued', 'backoff', 'waiting') and old.class <> 'external'
       when 'waiting' then new.status in ('queued', 'running')
       when 'backoff' then new.status in ('queued', 'running') or new.status = 'waiting' and old.class = 'turn'
     end) then
    perform towpath.fail('TW409', format('process "%s" cannot go from %s to %s', old.id, old.status, new.status));
  end if;
  if old.first_started is not null and new.first_started is distinct from old.first_started
     or old.abandon_request is not null and new.abandon_request is distinct from old.abandon_request
     or old.external_ref is not null and new.external_ref is distinct from old.external_ref then
    perform towpath.fail('TW409', format('process "%s": who started it first, who asked to abandon it and its external reference are written once', old.id));
  end if;
  new.change_xid := pg_current_xact_id();
  return new;
end $$;
comment on function towpath.transition() is 'Refuses a status that does not follow the one before, and puts the change into the feed.';

-- An append moves the event counter alone: that is no change of state, and keeps the update off the indexes. By columns,
-- since a WHEN clause is read anew by every statement.
create or replace trigger towpath_transition before update of status, desired_state, attempt, next_attempt_at, cancel_deadline, wait, outcome,
  first_started, abandon_request, external_ref on towpath.process for each row execute function towpath.transition();

create or replace trigger towpath_lineage before update of env_id, originator, originator_session, originator_frame, caused_by, kind, label, definition
  on towpath.process for each statement execute function towpath.refuse_change('where a process came from does not change');
create or replace trigger towpath_fixed before update on towpath.env
  for each statement execute function towpath.refuse_change('an env is named by its content');
create or replace trigger towpath_fixed before update on towpath.event_type
  for each statement execute function towpath.refuse_change('events are declared once');
