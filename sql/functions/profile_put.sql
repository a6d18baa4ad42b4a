create or replace function towpath.profile_put(name text, digest text, manifest jsonb, limits jsonb, max_attempts integer,
                                               turn_timeout interval, node text) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  insert into towpath.profile as f (name, digest, manifest, limits, max_attempts, turn_timeout, registered_by, registered_at, updated_at)
  values (name, digest, manifest, limits, max_attempts, turn_timeout, node, towpath.now(), towpath.now())
  on conflict on constraint profile_pkey do update set digest = excluded.digest, manifest = excluded.manifest, limits = excluded.limits,
    max_attempts = excluded.max_attempts, turn_timeout = excluded.turn_timeout, registered_by = excluded.registered_by,
    updated_at = excluded.updated_at
  where (f.digest, f.manifest, f.limits, f.max_attempts, f.turn_timeout)
    is distinct from (excluded.digest, excluded.manifest, excluded.limits, excluded.max_attempts, excluded.turn_timeout)
$$;
comment on function towpath.profile_put(text, text, jsonb, jsonb, integer, interval, text) is
'Registers a backend, or what changed of it; health and enabled stay as they are.';
