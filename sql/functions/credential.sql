create or replace function towpath.credential_put(target text, provider text, secret bytea, expires_at timestamptz) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t timestamptz := towpath.now();
begin
  if coalesce(length(target), 0) not between 1 and 200 or coalesce(length(provider), 0) not between 1 and 200 then
    perform towpath.fail('TW400', 'target or provider is not 1 to 200 characters');
  end if;
  if secret is null or length(secret) not between 33 and 65536 or get_byte(secret, 0) <> 1 then
    perform towpath.fail('TW400', 'secret is not encrypted as a credential''s', 'the worker seals it under its own key; nothing else is stored');
  end if;
  insert into towpath.credential as c (target, provider, secret, expires_at, created_at, renewed_at)
  values (target, provider, secret, expires_at, t, t)
  on conflict on constraint credential_pkey do update set secret = excluded.secret, expires_at = excluded.expires_at, renewed_at = t, refused = null;
end $$;
comment on function towpath.credential_put(text, text, bytea, timestamptz) is
'Keeps what a login or a renewal ended with, encrypted by the worker, in place of what there was.';

create or replace function towpath.credential_get(target text, provider text, renew boolean default false,
                                                  out secret bytea, out expires_at timestamptz, out renewed_at timestamptz, out refused text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  c towpath.credential;
begin
  if renew then
    select * into c from towpath.credential x where x.target = credential_get.target and x.provider = credential_get.provider for no key update;
  else
    select * into c from towpath.credential x where x.target = credential_get.target and x.provider = credential_get.provider;
  end if;
  if c.target is null then
    perform towpath.fail('TW404', format('nobody has logged in to %s for %s', provider, target), format('run: worker login %s', target));
  end if;
  secret := c.secret; expires_at := c.expires_at; renewed_at := c.renewed_at; refused := c.refused;
end $$;
comment on function towpath.credential_get(text, text, boolean) is
'What credential_put keeps. With renew the caller has it for itself until its transaction ends: a provider takes a refresh token once.';

create or replace function towpath.credential_refuse(target text, provider text, reason text) returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  with noted as (
    update towpath.credential c set refused = left(coalesce(nullif(credential_refuse.reason, ''), 'refused'), 1000)
    where c.target = credential_refuse.target and c.provider = credential_refuse.provider returning 1)
  select exists (select 1 from noted)
$$;
comment on function towpath.credential_refuse(text, text, text) is
'Notes that the provider renews a credential no more, so that nobody asks it again; the next credential_put takes the note away.';

create or replace function towpath.credential_drop(target text, provider text) returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  with gone as (
    delete from towpath.credential c where c.target = credential_drop.target and c.provider = credential_drop.provider returning 1)
  select exists (select 1 from gone)
$$;
comment on function towpath.credential_drop(text, text) is 'Forgets a credential. False when there is none. Logins under way for it end with login_release.';

create or replace view towpath.credentials as
  select c.target, c.provider, c.created_at, c.renewed_at, c.expires_at, c.refused, encode(substring(c.secret from 2 for 4), 'hex') as sealed_with
  from towpath.credential c;
comment on view towpath.credentials is 'What logins ended with, without the tokens; sealed_with names the key that they are encrypted with.';
