create or replace function towpath.await_output(process_id text)
returns table (status text, outcome jsonb, failure_kind text, abandon_writer text, finalized_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return query select p.status, p.outcome, p.failure_kind, p.abandon_writer::text, p.finalized_at
               from towpath.process(await_output.process_id) p where p.finalized_at is not null;
end $$;
comment on function towpath.await_output(text) is
'How a process has ended, at once; no row while it has not. To wait: LISTEN towpath_events (payload: process ids, or *), ask, and ask again when woken or after a second.';
