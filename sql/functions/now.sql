create or replace function towpath.now() returns timestamptz
language sql stable parallel safe security definer set search_path = pg_catalog, pg_temp as $$
  select clock_timestamp() + coalesce((select shift from towpath.clock), '0')
$$;
comment on function towpath.now() is 'The one clock: the database''s, moved by towpath.clock in tests only.';
