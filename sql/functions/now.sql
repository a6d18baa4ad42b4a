create or replace function towpath.now() returns timestamptz
language plpgsql stable parallel safe security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- plpgsql keeps its plans. A function in SQL that is called from another function is planned at every call.
  return clock_timestamp() + coalesce((select c.shift from towpath.clock c), '0');
end $$;
comment on function towpath.now() is 'The one clock: the database''s, moved by towpath.clock in tests only.';
