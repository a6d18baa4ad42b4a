create or replace function towpath.kv_get(session_id text, key text) returns bytea
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select kv.value from towpath.session_kv kv where kv.session_id = kv_get.session_id and kv.key = kv_get.key
$$;
comment on function towpath.kv_get(text, text) is 'One key of a session''s snapshot, null when it has none.';
