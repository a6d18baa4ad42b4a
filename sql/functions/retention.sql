create or replace view towpath.retentions as
  select r.tenant, r.profile, r.processes, r.sessions, r.tombstones, r.usage, r.storage, r.updated_at from towpath.retention r;
comment on view towpath.retentions is
'How long things are kept. The narrowest row that says something decides: tenant and profile, then tenant, then profile, then the row of all.';

create or replace function towpath.keep(what text, tenant text, profile text) returns interval
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
  return (select k.kept from towpath.retention r
          cross join lateral (select case what when 'processes' then r.processes when 'sessions' then r.sessions
                                when 'tombstones' then r.tombstones when 'usage' then r.usage when 'storage' then r.storage end as kept) k
          where r.tenant in (keep.tenant, '') and r.profile in (coalesce(keep.profile, ''), '') and k.kept is not null
          order by r.tenant = '', r.profile = '' limit 1);
end $$;
comment on function towpath.keep(text, text, text) is 'How long something of a tenant and profile is kept; null, when no row says so, is for ever.';

create or replace function towpath.retention_put(policy jsonb, tenant text default '', profile text default '') returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  wrong text := towpath.misfit(policy, '{"type": "object", "additionalProperties": false, "properties": {
    "processes": {"type": ["string", "null"]}, "sessions": {"type": ["string", "null"]}, "tombstones": {"type": ["string", "null"]},
    "usage": {"type": ["string", "null"]}, "storage": {"type": ["string", "null"]}}}', 'policy');
  k text;
  v text;
  least text;
begin
  if wrong is not null then
    perform towpath.fail('TW400', wrong, 'keys are processes, sessions, tombstones, usage, storage; values like "30 days", "forever", or null');
  end if;
  if tenant is null or profile is null or length(tenant) > 200 or length(profile) > 200 then
    perform towpath.fail('TW400', 'tenant or profile is missing or above 200 characters', 'the empty text stands for all');
  end if;
  policy := replace(policy::text, '"forever"', '"1000 years"')::jsonb;
  for k, v in select * from jsonb_each_text(policy) where value is not null loop
    least := case k when 'usage' then '1 day' when 'tombstones' then '0' else '1 minute' end;
    begin
      if v::interval < least::interval then
        perform towpath.fail('TW400', format('policy.%s is below %s', k, least));
      end if;
    exception when data_exception then
      perform towpath.fail('TW400', format('policy.%s is not a time', k), 'for example "30 days", "12 hours" or "forever"');
    end;
  end loop;
  insert into towpath.retention as r (tenant, profile, updated_at) values (tenant, profile, towpath.now()) on conflict do nothing;
  update towpath.retention r set updated_at = towpath.now(),
    processes = case when policy ? 'processes' then (policy ->> 'processes')::interval else r.processes end,
    sessions = case when policy ? 'sessions' then (policy ->> 'sessions')::interval else r.sessions end,
    tombstones = case when policy ? 'tombstones' then (policy ->> 'tombstones')::interval else r.tombstones end,
    usage = case when policy ? 'usage' then (policy ->> 'usage')::interval else r.usage end,
    storage = case when policy ? 'storage' then (policy ->> 'storage')::interval else r.storage end
  where r.tenant = retention_put.tenant and r.profile = retention_put.profile;
  delete from towpath.retention r where (r.tenant, r.profile) = (retention_put.tenant, retention_put.profile) and (r.tenant, r.profile) <> ('', '')
    and coalesce(r.processes, r.sessions, r.tombstones, r.usage, r.storage) is null;
end $$;
comment on function towpath.retention_put(jsonb, text, text) is
'Says how long things of a tenant, a profile or (both empty) all are kept: {"processes", "sessions", "tombstones", "usage", "storage"}, each a time such as "30 days" or "forever". What is left out stays; null is as the next wider row says, and for all, for ever.';
