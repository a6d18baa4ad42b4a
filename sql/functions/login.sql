create or replace function towpath.login_start(profile text, ttl interval default '15 minutes') returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t   timestamptz := towpath.now();
  job bigint := nextval(':river.river_job_id_seq');
  l   towpath.login;
begin
  if ttl is null or ttl < '1 second' or ttl > '1 hour' then
    perform towpath.fail('TW400', 'ttl is not from 1 second to 1 hour');
  end if;
  if not exists (select 1 from towpath.profile x where x.name = login_start.profile) then
    perform towpath.fail('TW404', format('no profile "%s"', coalesce(left(profile, 200), '')), 'towpath.profiles lists those that workers have served');
  end if;
  perform towpath.login_expire();
  loop
    insert into towpath.login as x (id, target, asked_at, expires_at, river_job_id)
    values (towpath.new_id('l'), profile, t, t + ttl, job) on conflict (target) where outcome is null do nothing
    returning * into l;
    exit when found;
    select * into l from towpath.login x where x.target = profile and x.outcome is null for key share;
    if found then
      return l.id;
    end if;
  end loop;
  insert into :river.river_job (id, kind, queue, args, max_attempts, tags)
  values (job, 'login', towpath.queue_of('login'), jsonb_build_object('login_id', l.id), 25, towpath.tags(profile, null));
  return l.id;
end $$;
comment on function towpath.login_start(text, interval) is
'Asks for a login of a profile by device code, and returns its id in view logins: a node writes there where to go and the code to type in, and how it ended. The one that is under way already, if there is one.';

create or replace function towpath.open_login(id text) returns towpath.login
language plpgsql as $$
declare
  l towpath.login;
begin
  select * into l from towpath.login x where x.id = open_login.id for no key update;
  if not found then
    perform towpath.fail('TW404', format('no login "%s"', coalesce(left(id, 200), '')), 'begin another one');
  elsif l.outcome is not null then
    perform towpath.fail('TW409', format('the login has ended: %s', l.outcome), 'begin another one');
  elsif l.expires_at <= towpath.now() then
    perform towpath.fail('TW404', 'the login has expired', 'begin another one');
  end if;
  return l;
end $$;
comment on function towpath.open_login(text) is 'Locks a login that is under way.';

create or replace function towpath.login_offered(id text, key bytea, provider text, secret bytea, verification_url text, user_code text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  l towpath.login := towpath.open_login(id);
begin
  if l.flow is not null then
    perform towpath.fail('TW409', 'the login has its code already', 'whoever was first has shown it');
  end if;
  perform towpath.login_admit('device', key, l.target, provider, null, secret, greatest(l.expires_at - towpath.now(), '1 second'));
  perform towpath.login_offer(key, verification_url, user_code);
  update towpath.login x set flow = key, detail = null where x.id = l.id;
end $$;
comment on function towpath.login_offered(text, bytea, text, bytea, text, text) is
'The provider has given a device code: begins the login''s flow, and shows where the person goes and what to type in there.';

create or replace function towpath.login_note(id text, detail text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  l towpath.login := towpath.open_login(id);
begin
  update towpath.login x set detail = nullif(left(login_note.detail, 1000), '') where x.id = l.id;
end $$;
comment on function towpath.login_note(text, text) is 'Says what is in the way of a login that goes on; null when it is no more.';

create or replace function towpath.login_done(id text, holder text, secret bytea, expires_at timestamptz) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  l    towpath.login := towpath.open_login(id);
  issuer text := (select f.provider from towpath.login_flow f where f.kind = 'device' and f.key = l.flow);
begin
  -- Whoever ends the flow has the tokens: all of it, or nothing.
  perform towpath.login_consume('device', l.flow, l.target, issuer, null, holder);
  perform towpath.credential_put(l.target, issuer, secret, expires_at);
  update towpath.login x set outcome = 'done', ended_at = towpath.now(), detail = null where x.id = l.id;
end $$;
comment on function towpath.login_done(text, text, bytea, timestamptz) is
'Ends a login well: its flow is consumed by who polls it, and its tokens are kept, at once.';

create or replace function towpath.login_end(id text, outcome text, detail text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  l towpath.login;
begin
  if outcome is null or outcome not in ('denied', 'expired', 'cancelled', 'failed') then
    perform towpath.fail('TW400', 'outcome is not denied, expired, cancelled or failed');
  end if;
  select * into l from towpath.login x where x.id = login_end.id and x.outcome is null for no key update;
  if not found then
    return false;
  end if;
  update towpath.login_flow x set secret = null, spent_at = towpath.now(), poller = null, poll_until = null
  where x.kind = 'device' and x.key = l.flow and x.spent_at is null;
  update towpath.login x set outcome = login_end.outcome, detail = nullif(left(login_end.detail, 1000), ''), ended_at = towpath.now() where x.id = l.id;
  return true;
end $$;
comment on function towpath.login_end(text, text, text) is 'Ends a login without tokens, and its flow; false when it has ended.';

create or replace function towpath.login_cancel(profile text, reason text default null) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  l towpath.login;
begin
  select * into l from towpath.login x where x.target = login_cancel.profile and x.outcome is null for no key update;
  if not found then
    return false;
  end if;
  perform towpath.login_end(l.id, 'cancelled', coalesce(reason, 'somebody cancelled it'));
  perform towpath.end_job(l.river_job_id, 'cancelled');
  return true;
end $$;
comment on function towpath.login_cancel(text, text) is 'Ends the login of a profile that is under way; false when there is none. What a login before it ended with stays.';

create or replace function towpath.login_lapse() returns integer
language plpgsql volatile as $$
declare
  t timestamptz := towpath.now();
  l towpath.login;
  n integer := 0;
begin
  delete from towpath.login x where x.ended_at <= t - interval '1 day';
  for l in
    select * from towpath.login x where x.outcome is null
      and (x.expires_at <= t or not exists (select 1 from :river.river_job j where j.id = x.river_job_id and j.finalized_at is null))
    order by x.id for no key update skip locked
  loop
    perform towpath.login_end(l.id, case when l.expires_at <= t then 'expired' else 'cancelled' end,
                              coalesce(l.detail, case when l.expires_at <= t then 'nobody typed in the code in time' else 'its River job has ended' end));
    n := n + 1;
  end loop;
  return n;
end $$;
comment on function towpath.login_lapse() is 'Ends logins that have expired or whose job is gone, and returns how many; removes those that ended long ago.';

create or replace view towpath.logins as
  select l.id, l.target as profile,
         coalesce(l.outcome, case when l.flow is not null then 'offered' else 'asked' end) as state,
         l.detail, f.provider, f.verification_url, f.user_code, l.asked_at, l.expires_at, l.ended_at, l.river_job_id, encode(l.flow, 'hex') as flow
  from towpath.login l left join towpath.login_flow f on f.kind = 'device' and f.key = l.flow;
comment on view towpath.logins is
'Logins that were asked for. state: asked, offered (a person goes to verification_url and types in user_code, before expires_at), done, denied, expired, cancelled, failed. flow is its key in login_flows.';
