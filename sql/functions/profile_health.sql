create or replace function towpath.profile_health(name text, health text, detail text default null) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
begin
  if health is null or health not in ('unknown', 'healthy', 'unhealthy') then
    perform towpath.fail('TW400', format('"%s" is not unknown, healthy or unhealthy', coalesce(health, '')));
  end if;
  update towpath.profile f set health = profile_health.health, health_detail = left(towpath.redact_text(detail), 2000), health_at = towpath.now()
  where f.name = profile_health.name;
  if not found then
    perform towpath.fail('TW404', format('unknown profile "%s"', coalesce(name, '')));
  end if;
end $$;
comment on function towpath.profile_health(text, text, text) is 'What was last seen of a backend. Registering it anew leaves this as it is.';
