create or replace function towpath.refuse_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform towpath.fail('TW409', format('%s.%s: %s', tg_table_schema, tg_table_name, tg_argv[0]));
  return null;
end $$;
comment on function towpath.refuse_change() is 'Refuses an UPDATE of what never changes, also to somebody who may write the tables.';

create or replace trigger towpath_final before update of status, outcome, failure_kind, abandon_writer, finalized_at on towpath.process
  for each row when (old.finalized_at is not null) execute function towpath.refuse_change('a process ends once');
create or replace trigger towpath_fixed before update of id, no, class, disposition, tenant, project, profile, session_id, turn_no, parent_id,
  request_digest, key_digest, created_at on towpath.process
  for each statement execute function towpath.refuse_change('what a process is does not change');
create or replace trigger towpath_fixed before update of id, tenant, project, profile, created_at on towpath.session
  for each statement execute function towpath.refuse_change('a session keeps its tenant, project and profile for life');
create or replace trigger towpath_fixed before update on towpath.event
  for each statement execute function towpath.refuse_change('the log is append-only');
create or replace trigger towpath_fixed before update on towpath.receipt
  for each statement execute function towpath.refuse_change('a receipt is written once');
