create or replace function towpath.plugin_put(
  name text, digest text, bytes bytea, manifest jsonb, limits jsonb, max_attempts integer, turn_timeout interval, who text,
  again boolean default false, out taken boolean, out present text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_variable
declare
  t timestamptz := towpath.now();
  f towpath.profile;
begin
  if name is null or name !~ '^[a-z0-9][a-z0-9._-]{0,62}$' then
    perform towpath.fail('TW400', format('"%s" is not the name of a profile', coalesce(name, '')),
      'lower-case letters, digits, dots, dashes and underscores, at most 63');
  end if;
  if bytes is null or octet_length(bytes) not between 8 and 16777216 then
    perform towpath.fail('TW413', format('the module has %s bytes', coalesce(octet_length(bytes), 0)), 'at least 8, at most 16777216');
  end if;
  if encode(sha256(bytes), 'hex') is distinct from digest then
    perform towpath.fail('TW400', 'the digest is not that of the module', 'pass its SHA-256 in hexadecimal');
  end if;
  insert into towpath.profile as f (name, digest, manifest, limits, max_attempts, turn_timeout, registered_by, registered_at, updated_at)
  values (name, digest, manifest, limits, max_attempts, turn_timeout, who, t, t) on conflict do nothing;
  select * into f from towpath.profile x where x.name = plugin_put.name for no key update;
  if not again and (f.digest <> digest or f.removed_at is not null)
     and exists (select 1 from towpath.plugin v where v.profile = name and v.digest = plugin_put.digest) then
    taken := false; present := case when f.removed_at is null then f.digest else '' end; return;
  end if;
  -- Young again, and locked: no prune takes it before its plugin is there.
  insert into towpath.module as m (digest, bytes, added_at) values (digest, bytes, t)
  on conflict on constraint module_pkey do update set added_at = excluded.added_at;
  update towpath.plugin v set superseded_at = t where v.profile = name and v.digest <> plugin_put.digest and v.superseded_at is null;
  insert into towpath.plugin as v (profile, digest, manifest, added_by, added_at) values (name, digest, manifest, who, t)
  on conflict on constraint plugin_pkey do update set manifest = excluded.manifest, superseded_at = null,
    added_by = case when v.superseded_at is null then v.added_by else excluded.added_by end,
    added_at = case when v.superseded_at is null then v.added_at else excluded.added_at end;
  update towpath.profile x set digest = plugin_put.digest, manifest = plugin_put.manifest, limits = plugin_put.limits,
    max_attempts = plugin_put.max_attempts, turn_timeout = plugin_put.turn_timeout, registered_by = who, updated_at = t,
    enabled = x.enabled or x.removed_at is not null, removed_at = null, removed_by = null
  where x.name = plugin_put.name;
  taken := true; present := digest;
  perform towpath.wake('towpath_plugin', name);
end $$;
comment on function towpath.plugin_put(text, text, bytea, jsonb, jsonb, integer, interval, text, boolean) is
'Makes a module the present one of a profile, on all nodes. One that was superseded or removed before is taken only with again: taken is false, and present names what is served instead, if anything.';

create or replace function towpath.plugin_describe(name text, digest text, limits jsonb, max_attempts integer, turn_timeout interval, who text) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  update towpath.profile f set limits = plugin_describe.limits, max_attempts = plugin_describe.max_attempts,
    turn_timeout = plugin_describe.turn_timeout, registered_by = who, updated_at = towpath.now()
  where f.name = plugin_describe.name and f.digest = plugin_describe.digest and (f.limits, f.max_attempts, f.turn_timeout)
    is distinct from (plugin_describe.limits, plugin_describe.max_attempts, plugin_describe.turn_timeout)
$$;
comment on function towpath.plugin_describe(text, text, jsonb, integer, interval, text) is
'What the permits of a node say of the present module of a profile: the limits that submit and claim look at. Without effect for another module.';

create or replace function towpath.plugin_remove(name text, who text, digest text default null) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update towpath.profile f set enabled = false, removed_at = towpath.now(), removed_by = coalesce(nullif(who, ''), session_user), updated_at = towpath.now()
  where f.name = plugin_remove.name and f.removed_at is null and f.digest = coalesce(plugin_remove.digest, f.digest);
  if found then
    perform towpath.wake('towpath_plugin', name);
    return true;
  end if;
  if digest is null and not exists (select 1 from towpath.profile f where f.name = plugin_remove.name) then
    perform towpath.fail('TW404', format('unknown profile "%s"', coalesce(name, '')));
  end if;
  return false;
end $$;
comment on function towpath.plugin_remove(text, text, text) is
'Serves a profile no more: new turns are refused, running ones end as they would. With a digest only while that is the present one. Returns whether anything changed.';

create or replace function towpath.plugins()
returns table (name text, digest text, manifest jsonb, limits jsonb, enabled boolean, removed_at timestamptz, removed_by text,
               added_by text, added_at timestamptz, superseded text[], permits text, permits_by text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select f.name, f.digest, f.manifest, f.limits, f.enabled, f.removed_at, f.removed_by, v.added_by, v.added_at,
         array(select o.digest from towpath.plugin o where o.profile = f.name and o.superseded_at is not null order by o.superseded_at desc),
         p.body, p.changed_by
  from towpath.profile f
  left join towpath.plugin v on v.profile = f.name and v.superseded_at is null
  left join towpath.permit p on p.profile = f.name
  order by f.name
$$;
comment on function towpath.plugins() is 'What every node is to serve, with the permits of nodes that have no file for it; superseded digests newest first.';

create or replace function towpath.plugin_module(digest text) returns bytea
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select m.bytes from towpath.module m where m.digest = plugin_module.digest
$$;
comment on function towpath.plugin_module(text) is 'A module''s bytes, or null when they are gone. Whoever runs them compares their SHA-256.';

create or replace function towpath.permit(profile text, body text, who text default null) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if profile is null or profile !~ '^[a-z0-9][a-z0-9._-]{0,62}$' then
    perform towpath.fail('TW400', format('"%s" is not the name of a profile', coalesce(profile, '')));
  end if;
  if octet_length(body) > 262144 then
    perform towpath.fail('TW413', format('the permits have %s bytes, the limit is 262144', octet_length(body)));
  end if;
  if body is null then
    delete from towpath.permit p where p.profile = permit.profile;
  else
    insert into towpath.permit as p (profile, body, changed_by, changed_at)
    values (profile, body, coalesce(nullif(who, ''), session_user), towpath.now())
    on conflict on constraint permit_pkey do update set body = excluded.body, changed_by = excluded.changed_by, changed_at = excluded.changed_at;
  end if;
  perform towpath.wake('towpath_plugin', profile);
end $$;
comment on function towpath.permit(text, text, text) is
'Permits a profile what a permit file says, on every node without a file of its own for it; null takes that back. Nodes refuse a text that is wrong, and log it.';

create or replace function towpath.permits() returns table (profile text, body text, changed_by text, changed_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select p.profile, p.body, p.changed_by, p.changed_at from towpath.permit p order by p.profile
$$;
comment on function towpath.permits() is 'Permits that were given by SQL.';

create or replace function towpath.unpinned_modules() returns setof text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select m.digest from towpath.module m
  where m.added_at < towpath.now() - interval '1 day'
    and not exists (select 1 from towpath.plugin v where v.digest = m.digest and v.superseded_at is null)
    -- A turn that began before its module was superseded replays on it; its journal outlives it by a day.
    and not exists (
      select 1 from towpath.plugin v join towpath.process p on p.profile = v.profile
      where v.digest = m.digest and p.class = 'turn' and p.created_at < v.superseded_at + interval '1 hour'
        and (p.finalized_at is null or p.finalized_at > towpath.now() - interval '25 hours'))
$$;
comment on function towpath.unpinned_modules() is
'Modules that no profile is at present and that no turn could still be replayed on: a turn pins what it began with until a day after its end.';

create or replace function towpath.plugin_note(profile text, node text, levels text[], lines text[]) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into towpath.plugin_log (profile, node, level, line, at)
  select profile, node, l.level, left(towpath.redact_text(l.line), 2000), towpath.now() from unnest(levels, lines) l(level, line);
  delete from towpath.plugin_log x where x.profile = plugin_note.profile
    and x.id <= (select o.id from towpath.plugin_log o where o.profile = plugin_note.profile order by o.id desc offset 500 limit 1);
end $$;
comment on function towpath.plugin_note(text, text, text[], text[]) is 'A node says what became of a profile, or what its guests warned of. The last 500 lines of a profile are kept.';

create or replace function towpath.plugin_lines(profile text, after bigint default 0, max integer default 500)
returns table (id bigint, at timestamptz, node text, level text, line text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select * from (
    select x.id, x.at, x.node, x.level, x.line from towpath.plugin_log x
    where x.profile = plugin_lines.profile and x.id > after order by x.id desc limit least(max, 500)) newest
  order by newest.id
$$;
comment on function towpath.plugin_lines(text, bigint, integer) is 'The newest lines about a profile, in order.';

create or replace function towpath.journalled(profile text, max integer) returns setof text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select p.id from towpath.process p
  where p.class = 'turn' and p.profile = journalled.profile and p.status = 'completed'
    and p.finalized_at > towpath.now() - interval '1 day'
    and exists (select 1 from towpath.journal j where j.process_no = p.no and j.first_n = 0)
  order by p.finalized_at desc limit least(max, 1000)
$$;
comment on function towpath.journalled(text, integer) is 'The newest completed turns of a profile whose recorded calls are still there: what a new module is tried on.';
