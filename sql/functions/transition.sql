create or replace function towpath.transition() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if new.status <> old.status and new.finalized_at is null and not (case old.status
       when 'queued' then new.status = 'running'
       when 'running' then new.status in ('queued', 'backoff', 'waiting') and old.class <> 'external'
       when 'waiting' then new.status in ('queued', 'running')
       when 'backoff' then new.status in ('queued', 'running')
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

-- An append moves the event counter alone: that is no change of state, and keeps the update off the indexes.
create or replace trigger towpath_transition before update on towpath.process for each row
  when ((old.status, old.desired_state, old.attempt, old.next_attempt_at, old.cancel_deadline, old.wait, old.outcome, old.first_started,
         old.abandon_request, old.external_ref)
        is distinct from
        (new.status, new.desired_state, new.attempt, new.next_attempt_at, new.cancel_deadline, new.wait, new.outcome, new.first_started,
         new.abandon_request, new.external_ref))
  execute function towpath.transition();

create or replace trigger towpath_lineage before update of env_id, originator, originator_session, originator_frame, caused_by, kind, label, definition
  on towpath.process for each statement execute function towpath.refuse_change('where a process came from does not change');
create or replace trigger towpath_fixed before update on towpath.env
  for each statement execute function towpath.refuse_change('an env is named by its content');
create or replace trigger towpath_fixed before update on towpath.event_type
  for each statement execute function towpath.refuse_change('events are declared once');
