create or replace function towpath.transition() returns trigger
language plpgsql as $$
declare
  -- One expression, and no CHECK nor WHEN: Postgres reads those anew for each statement, this once a transaction. Of an INSERT
  -- there is no row before, and what is said of that is neither true nor false.
  refused text := case
    when old.finalized_at is not null
         and (new.status, new.outcome, new.failure_kind, new.abandon_writer, new.finalized_at)
             is distinct from (old.status, old.outcome, old.failure_kind, old.abandon_writer, old.finalized_at)
      then 'it ends once'
    when new.status <> old.status and new.finalized_at is null and not case old.status
         when 'queued' then new.status = 'running' or new.status = 'waiting' and old.class = 'turn'
         when 'running' then new.status in ('queued', 'backoff', 'waiting') and old.class <> 'external'
         when 'waiting' then new.status in ('queued', 'running')
         when 'backoff' then new.status in ('queued', 'running') or new.status = 'waiting' and old.class = 'turn'
       end then format('it cannot go from %s to %s', old.status, new.status)
    when old.first_started is not null and new.first_started is distinct from old.first_started
         or old.abandon_request is not null and new.abandon_request is distinct from old.abandon_request
         or old.external_ref is not null and new.external_ref is distinct from old.external_ref
      then 'who started it first, who asked to abandon it and its external reference are written once'
  end;
begin
  if refused is not null then
    perform towpath.fail('TW409', format('process "%s": %s', old.id, refused));
  end if;
  -- Terminal means ended, with an outcome and nothing pending; a state has what belongs to it.
  if not (case new.status
            when 'queued' then true when 'running' then true when 'completed' then true when 'cancelled' then true
            when 'waiting' then new.wait is not null when 'backoff' then new.next_attempt_at is not null
            when 'failed' then new.failure_kind is not null when 'abandoned' then new.abandon_writer is not null
            else false end
          and (new.status = 'waiting' or new.wait is null)
          and (new.status = 'backoff' or new.next_attempt_at is null)
          and (new.status = 'failed' or new.failure_kind is null)
          and (new.status = 'abandoned' or new.abandon_writer is null)
          and (new.status in ('completed', 'failed', 'cancelled', 'abandoned')) = (new.finalized_at is not null)
          and (new.finalized_at is null) = (new.outcome is null)
          and (new.cancel_requested_at is null) = (new.cancel_reason is null)
          and (new.cancel_requested_at is null) = (new.cancel_deadline is null)
          and new.attempts_spent between 0 and new.attempt
          and (new.river_job_id is null or new.generation > 0)) then
    raise exception using errcode = 'check_violation', schema = 'towpath', table = 'process', constraint = 'lifecycle',
      message = format('process "%s": %s is not a state with what belongs to it (lifecycle)', new.id, new.status);
  end if;
  if old.id is not null then
    new.change_xid := pg_current_xact_id();
  end if;
  return new;
end $$;
comment on function towpath.transition() is
'Refuses a status that does not follow the one before or lacks what belongs to it, and puts the change into the feed.';

-- An append moves the event counter alone: that is no change of state, and keeps the update off the indexes.
create or replace trigger towpath_transition before insert or update of status, desired_state, attempt, attempts_spent, generation, river_job_id,
  next_attempt_at, cancel_requested_at, cancel_reason, cancel_deadline, wait, outcome, failure_kind, abandon_writer, finalized_at,
  first_started, abandon_request, external_ref on towpath.process for each row execute function towpath.transition();

create or replace trigger towpath_lineage before update of env_id, originator, originator_session, originator_frame, caused_by, kind, label, definition
  on towpath.process for each statement execute function towpath.refuse_change('where a process came from does not change');
create or replace trigger towpath_fixed before update on towpath.env
  for each statement execute function towpath.refuse_change('an env is named by its content');
create or replace trigger towpath_fixed before update on towpath.event_type
  for each statement execute function towpath.refuse_change('events are declared once');
