create or replace function towpath.check_login(kind text, key bytea, target text, provider text, redirect_uri text) returns void
language plpgsql immutable as $$
begin
  if kind is null or kind not in ('browser', 'device') then
    perform towpath.fail('TW400', format('kind "%s" is not browser or device', coalesce(left(kind, 100), '')));
  end if;
  if key is null or length(key) <> 32 then
    perform towpath.fail('TW400', 'key is not 32 bytes', 'an HMAC-SHA-256 of the state or device code');
  end if;
  if coalesce(length(target), 0) not between 1 and 200 or coalesce(length(provider), 0) not between 1 and 200 or length(redirect_uri) > 2000 then
    perform towpath.fail('TW400', 'target or provider is not 1 to 200 characters, or redirect_uri above 2000');
  end if;
  if (kind = 'browser') <> (redirect_uri is not null) then
    perform towpath.fail('TW400', 'a browser flow has a redirect_uri, a device flow has none');
  end if;
end $$;
comment on function towpath.check_login(text, bytea, text, text, text) is 'Refuses what names no login flow.';

create or replace function towpath.login_admit(kind text, key bytea, target text, provider text, redirect_uri text, secret bytea,
                                               ttl interval default '10 minutes', capacity integer default 1024) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t timestamptz;
  f towpath.login_flow;
begin
  perform towpath.check_login(kind, key, target, provider, redirect_uri);
  if secret is null or length(secret) not between 33 and 65536 or get_byte(secret, 0) <> 1 then
    perform towpath.fail('TW400', 'secret is not encrypted as a login flow''s', 'the worker seals it under its own key; nothing else is stored');
  end if;
  if ttl is null or ttl < '1 second' or ttl > '1 hour' then
    perform towpath.fail('TW400', 'ttl is not from 1 second to 1 hour');
  end if;
  if capacity is null or capacity not between 1 and 100000 then
    perform towpath.fail('TW400', 'capacity is not from 1 to 100000');
  end if;
  -- One admission at a time, on all nodes: a count is worth nothing else.
  perform pg_advisory_xact_lock(hashtextextended('towpath login_admit', 0));
  perform towpath.login_expire();
  t := towpath.now();
  select * into f from towpath.login_flow x where x.kind = login_admit.kind and x.key = login_admit.key;
  if found then
    if f.spent_at is not null then
      perform towpath.fail('TW409', 'the login flow was consumed', 'begin another one');
    end if;
    perform towpath.match_login(f, target, provider, redirect_uri);
    return false;
  end if;
  if (select count(*) from towpath.login_flow x where x.spent_at is null) >= capacity then
    perform towpath.fail('TW429', format('%s login flows are under way already', capacity), 'they end by themselves; try again in a while');
  end if;
  insert into towpath.login_flow (kind, key, target, provider, redirect_uri, secret, created_at, expires_at)
  values (kind, key, target, provider, redirect_uri, secret, t, t + ttl);
  return true;
end $$;
comment on function towpath.login_admit(text, bytea, text, text, text, bytea, interval, integer) is
'Records that a login has begun, under a capacity over all nodes; what has expired is removed first. False when it is recorded already, and then stays as it is. One that was consumed is not admitted again.';

create or replace function towpath.match_login(f towpath.login_flow, target text, provider text, redirect_uri text) returns void
language plpgsql immutable as $$
declare
  other text := case when f.provider <> match_login.provider then 'provider'
                     when f.target <> match_login.target then 'target'
                     when f.redirect_uri is distinct from match_login.redirect_uri then 'redirect_uri' end;
begin
  if other is not null then
    raise exception using errcode = 'TW409', column = other, message = format('the login flow has another %s', other), hint = 'it stays as it is';
  end if;
end $$;
comment on function towpath.match_login(towpath.login_flow, text, text, text) is 'Refuses another target, provider or redirect_uri than the flow''s, naming it as the error''s column.';

create or replace function towpath.live_login(kind text, key bytea) returns towpath.login_flow
language plpgsql as $$
declare
  f towpath.login_flow;
begin
  select * into f from towpath.login_flow x where x.kind = live_login.kind and x.key = live_login.key for no key update;
  if f.spent_at is not null then
    perform towpath.fail('TW409', 'the login flow was consumed', 'whoever was first has it; begin another one');
  elsif not found or f.expires_at <= towpath.now() then
    perform towpath.fail('TW404', 'no such login flow, or it has expired', 'begin another one');
  end if;
  return f;
end $$;
comment on function towpath.live_login(text, bytea) is 'Locks a login flow that is under way.';

create or replace function towpath.login_poll(key bytea, holder text, hold interval default '30 seconds', out target text, out provider text, out secret bytea,
                                              out expires_at timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  f towpath.login_flow;
begin
  if coalesce(length(holder), 0) not between 1 and 200 or hold is null or hold < '1 second' or hold > '10 minutes' then
    perform towpath.fail('TW400', 'holder is not 1 to 200 characters, or hold not from 1 second to 10 minutes');
  end if;
  f := towpath.live_login('device', key);
  if f.poller <> holder and f.poll_until > towpath.now() then
    perform towpath.fail('TW409', format('"%s" is polling the login flow', f.poller), 'one at a time: providers punish the second');
  end if;
  update towpath.login_flow x set poller = holder, poll_until = towpath.now() + hold where x.kind = 'device' and x.key = f.key;
  target := f.target; provider := f.provider; secret := f.secret; expires_at := f.expires_at;
end $$;
comment on function towpath.login_poll(bytea, text, interval) is
'Takes a device flow to poll its provider: for one holder at a time, as long as the hold lasts; the same holder again extends it.';

create or replace function towpath.login_offer(key bytea, verification_url text, user_code text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  f towpath.login_flow;
begin
  if coalesce(length(verification_url), 0) not between 1 and 2000 or coalesce(length(user_code), 0) not between 1 and 100 then
    perform towpath.fail('TW400', 'verification_url is not 1 to 2000 characters, or user_code not 1 to 100');
  end if;
  f := towpath.live_login('device', key);
  update towpath.login_flow x set verification_url = login_offer.verification_url, user_code = login_offer.user_code where x.kind = 'device' and x.key = f.key;
end $$;
comment on function towpath.login_offer(bytea, text, text) is
'Shows, in view login_flows, where the person who logs in goes and the code to type in there.';

create or replace function towpath.login_unpoll(key bytea, holder text) returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  with freed as (update towpath.login_flow x set poller = null, poll_until = null
                 where x.kind = 'device' and x.key = login_unpoll.key and x.poller = login_unpoll.holder returning 1)
  select exists (select 1 from freed)
$$;
comment on function towpath.login_unpoll(bytea, text) is 'Lets others poll a device flow; false when another holds it.';

create or replace function towpath.login_consume(kind text, key bytea, target text, provider text, redirect_uri text default null, holder text default null)
returns bytea
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  f towpath.login_flow;
begin
  perform towpath.check_login(kind, key, target, provider, redirect_uri);
  f := towpath.live_login(kind, key);
  perform towpath.match_login(f, target, provider, redirect_uri);
  if f.poller is distinct from holder and f.poll_until > towpath.now() then
    perform towpath.fail('TW409', format('"%s" is polling the login flow', f.poller), 'whoever polls it consumes it');
  end if;
  update towpath.login_flow x set secret = null, spent_at = towpath.now(), poller = null, poll_until = null where x.kind = f.kind and x.key = f.key;
  return f.secret;
end $$;
comment on function towpath.login_consume(text, bytea, text, text, text, text) is
'Ends a login flow and returns its secret, to one caller ever. What does not match leaves it as it is; so does a transaction that is rolled back.';

create or replace function towpath.login_release(target text, provider text) returns integer
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  update towpath.login l set outcome = 'cancelled', ended_at = towpath.now(), detail = 'the credential was given up' from towpath.login_flow f
  where f.kind = 'device' and f.key = l.flow and l.target = login_release.target and f.provider = login_release.provider and l.outcome is null;
  with gone as (
    update towpath.login_flow x set secret = null, spent_at = towpath.now(), poller = null, poll_until = null
    where x.target = login_release.target and x.provider = login_release.provider and x.spent_at is null returning 1)
  select count(*)::int from gone
$$;
comment on function towpath.login_release(text, text) is 'Ends all login flows for a credential that is given up, and returns how many there were.';

create or replace function towpath.login_expire() returns integer
language sql volatile as $$
  select towpath.login_lapse();
  with old as (
    select x.kind, x.key from towpath.login_flow x where x.expires_at <= towpath.now() order by x.kind, x.key for update skip locked
  ), gone as (
    delete from towpath.login_flow x using old where x.kind = old.kind and x.key = old.key returning 1
  ) select count(*)::int from gone
$$;
comment on function towpath.login_expire() is 'Removes login flows that have expired, consumed or not, and returns how many.';

create or replace view towpath.login_flows as
  select f.kind, encode(f.key, 'hex') as key, f.target, f.provider, f.redirect_uri, f.created_at, f.expires_at,
         f.poller, f.poll_until, encode(substring(f.secret from 2 for 4), 'hex') as sealed_with, f.spent_at,
         f.verification_url, f.user_code
  from towpath.login_flow f;
comment on view towpath.login_flows is 'Logins under way, without their secrets: a device''s with where to go and the code to type in; sealed_with names the key that they are encrypted with.';
