create or replace function towpath.enter_session(p_session text, p_profile text, p_tenant text, p_project text) returns towpath.session
language plpgsql as $$
declare
  t timestamptz := towpath.now();
  s towpath.session;
begin
  if p_session is null or p_session = '' or length(p_session) > 200 or p_session ~ '[#[:cntrl:]]' then
    perform towpath.fail('TW400', 'session is not a name', 'a string of 1 to 200 characters without # and control characters');
  end if;
  select * into s from towpath.session where id = p_session for no key update;
  if not found then
    insert into towpath.session (id, tenant, project, profile, created_at, updated_at)
    values (p_session, coalesce(p_tenant, 'default'), coalesce(p_project, 'default'), p_profile, t, t)
    on conflict do nothing;
    select * into s from towpath.session where id = p_session for no key update;
  end if;
  if s.profile <> p_profile then
    perform towpath.fail('TW409', format('session "%s" belongs to profile "%s"', s.id, s.profile),
                         'a session keeps its profile for life: use another session');
  end if;
  if s.tenant <> coalesce(p_tenant, s.tenant) or s.project <> coalesce(p_project, s.project) then
    perform towpath.fail('TW409', format('session "%s" belongs to tenant "%s", project "%s"', s.id, s.tenant, s.project),
                         'a session keeps both for life: use another session');
  end if;
  return s;
end $$;
comment on function towpath.enter_session(text, text, text, text) is
'Locks a session, opening it if there is none; refuses another profile, tenant or project than its own.';

create or replace function towpath.check_open(s towpath.session, what text) returns void
language plpgsql as $$
begin
  if s.quarantine is not null then
    perform towpath.fail('TW423', format('session "%s" is quarantined: %s', s.id, s.quarantine), 'an operator releases it with towpath.release_quarantine');
  end if;
  if s.runtime_state in ('retired', 'stopped', 'destroyed') then
    perform towpath.fail('TW409', format('session "%s" is %s and accepts no %s', s.id, s.runtime_state, what));
  end if;
  if s.storage in ('evicting', 'evicted') then
    perform towpath.check_storage(s);
  end if;
end $$;
comment on function towpath.check_open(towpath.session, text) is 'Refuses new work where a session takes none.';

create or replace function towpath.check_profile(p_profile text) returns void
language plpgsql as $$
begin
  if not exists (select 1 from towpath.profile f where f.name = p_profile and f.enabled) then
    perform towpath.fail('TW404', format('profile "%s" was removed', p_profile), format('by %s: add it again with `worker plugin add`', f.removed_by))
    from towpath.profile f where f.name = p_profile and f.removed_at is not null;
    perform towpath.fail('TW404', format('unknown profile "%s"', p_profile),
      coalesce('known profiles: ' || (select string_agg(name, ', ' order by name) from towpath.profile where enabled),
               'no worker has registered any profile yet: start one with a plugins folder'));
  end if;
end $$;
comment on function towpath.check_profile(text) is 'Refuses a backend that is not registered or not enabled; nothing ever falls back to another one.';

create or replace function towpath.check_payload(payload jsonb, what text, idempotency_key text) returns void
language plpgsql immutable as $$
begin
  if payload is null or jsonb_typeof(payload) <> 'object' then
    perform towpath.fail('TW400', format('%s is not a JSON object', what), 'for example {"text": "hello"}');
  end if;
  if octet_length(payload::text) > 1048576 then
    perform towpath.fail('TW413', format('%s has %s bytes, the limit is 1048576', what, octet_length(payload::text)),
                         'store large content elsewhere and pass a reference');
  end if;
  if idempotency_key = '' or octet_length(idempotency_key) > 1048576 then
    perform towpath.fail('TW400', 'idempotency_key is empty or above 1 MiB', 'leave it out, or pass null');
  end if;
end $$;
comment on function towpath.check_payload(jsonb, text, text) is 'Refuses what no input may carry.';

create or replace function towpath.known_input(p_session text, p_key bytea, p_digest bytea) returns towpath.input
language plpgsql stable as $$
declare
  i towpath.input;
begin
  select * into i from towpath.input x where x.session_id = p_session and x.key_digest = p_key;
  if found and i.digest <> p_digest then
    perform towpath.fail('TW40I', 'idempotency_key was used for another input', format('input "%s" has it', i.id));
  end if;
  return i;
end $$;
comment on function towpath.known_input(text, bytea, bytea) is
'The input that a locked session has under a key, or null; an error when it was another request.';
