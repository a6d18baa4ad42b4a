create or replace function towpath.guard_storage() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not coalesce(case old.storage when 'none' then new.storage = 'provisioned' when 'provisioned' then new.storage = 'evicting'
                                   when 'evicting' then new.storage = 'evicted' end, false) then
    perform towpath.fail('TW409', format('storage of session "%s" cannot go from %s to %s', old.id, old.storage, new.storage));
  end if;
  return new;
end $$;
comment on function towpath.guard_storage() is 'Storage is provisioned once and evicted once; what is evicted never comes back.';
create or replace trigger towpath_storage before update of storage on towpath.session
  for each row when (old.storage is distinct from new.storage) execute function towpath.guard_storage();

create or replace function towpath.locked_storage(session text) returns towpath.session
language plpgsql as $$
declare
  s towpath.session;
begin
  select * into s from towpath.session x where x.id = locked_storage.session for no key update;
  if not found then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')));
  end if;
  return s;
end $$;
comment on function towpath.locked_storage(text) is 'Locks a session, for its storage.';

create or replace function towpath.check_storage(s towpath.session) returns void
language plpgsql as $$
begin
  if s.storage in ('evicting', 'evicted') then
    perform towpath.fail('TW41E', format('storage of session "%s" was evicted', s.id),
      coalesce((select x.reason from towpath.storage x where x.session_id = s.id) || ': ', '') || 'open another session');
  end if;
end $$;
comment on function towpath.check_storage(towpath.session) is 'Refuses work in a session whose files are gone or going.';

create or replace function towpath.job_for_storage(session text, action text, more jsonb default '{}') returns bigint
language sql volatile as $$
  insert into :river.river_job (kind, queue, args, max_attempts, tags)
  values ('storage', towpath.queue_of('storage'), jsonb_build_object('action', action, 'session', session) || more, 25, towpath.tags(session, null)) returning id
$$;
comment on function towpath.job_for_storage(text, text, jsonb) is 'A River job that does something to the files of a session, on a node that has them.';

create or replace function towpath.storage_create(session text, options jsonb default '{}') returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  wrong text := towpath.misfit(options, '{"type": "object", "additionalProperties": false, "properties": {
    "kind": {"enum": ["dir", "pvc"]}, "quota": {"type": "integer"}, "ttl_s": {"type": "number"}}}', 'options');
  s towpath.session;
  kinds text[];
begin
  if wrong is not null then
    perform towpath.fail('TW400', wrong, 'options are kind (dir, pvc), quota (bytes), ttl_s (seconds)');
  end if;
  if (options ->> 'quota')::numeric not between 1 and 9e18 or (options ->> 'ttl_s')::numeric not between 1 and 1e9 then
    perform towpath.fail('TW400', 'quota or ttl_s is out of range', 'quota is a number of bytes, ttl_s of seconds, both from 1');
  end if;
  s := towpath.locked_storage(session);
  perform towpath.check_storage(s);
  if s.storage = 'provisioned' then
    return null;
  end if;
  select array_agg(distinct case when r.id like 'pvc:%' then 'pvc' else 'dir' end) into kinds
  from towpath.node n, unnest(n.roots) r(id) where n.stopped_at is null;
  if kinds is null then
    perform towpath.fail('TW409', 'no node has a storage root', 'start one with TOWPATH_STORAGE, or TOWPATH_PVC_NAMESPACE');
  end if;
  if options ->> 'kind' <> all(kinds) then
    perform towpath.fail('TW409', format('no node has storage of kind %s', options ->> 'kind'),
      format('start one with %s', case options ->> 'kind' when 'dir' then 'TOWPATH_STORAGE' else 'TOWPATH_PVC_NAMESPACE' end));
  end if;
  return towpath.job_for_storage(s.id, 'create', jsonb_build_object('kind', case when 'dir' = any(kinds) then 'dir' else 'pvc' end) || options);
end $$;
comment on function towpath.storage_create(text, jsonb) is
'Asks for storage of a session and returns the River job that makes it; null when it is there. options: kind (dir, a directory of a node; pvc, a PersistentVolumeClaim of a Kubernetes cluster; without one dir, where a node has a root for it), quota in bytes, at most the TOWPATH_STORAGE_QUOTA of the node that makes it, ttl_s. A session whose turn starts a child on a node with a storage root gets a directory by itself.';

create or replace function towpath.storage_put(session text, kind text, root text, shared boolean, name text, quota bigint default null,
                                               ttl interval default null) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t timestamptz := towpath.now();
  s towpath.session := towpath.locked_storage(session);
  x towpath.storage;
begin
  perform towpath.check_storage(s);
  if s.storage = 'none' then
    insert into towpath.storage (session_id, kind, root, shared, name, quota, expires_at, created_at)
    values (s.id, kind, root, shared, name, quota, t + ttl, t);
    update towpath.session y set storage = 'provisioned', updated_at = t where y.id = s.id;
    return 'provisioned';
  end if;
  select * into x from towpath.storage y where y.session_id = s.id;
  if (x.kind, x.root, x.name) is distinct from (storage_put.kind, storage_put.root, storage_put.name) then
    perform towpath.fail('TW409', format('storage of session "%s" is %s %s in root %s', s.id, x.kind, x.name, x.root), 'it was made elsewhere first');
  end if;
  return s.storage;
end $$;
comment on function towpath.storage_put(text, text, text, boolean, text, bigint, interval) is
'A node has made storage for a session. Again, the same is answered; another place is an error, and what was made there is an orphan. ttl: until it is to go.';

create or replace function towpath.storage_summary(session text) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  s towpath.session;
begin
  select * into s from towpath.session x where x.id = storage_summary.session;
  if not found then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')));
  end if;
  return jsonb_strip_nulls(jsonb_build_object('session', s.id, 'state', s.storage) || coalesce((
    select jsonb_build_object('kind', x.kind, 'root', x.root, 'shared', x.shared, 'name', x.name, 'quota', x.quota, 'bytes', x.bytes, 'files', x.files,
      'sha256', encode(x.sha256, 'hex'), 'refreshed_at', x.refreshed_at, 'expires_at', coalesce(x.expires_at, s.updated_at + towpath.keep('storage', s.tenant, s.profile)),
      'reason', x.reason, 'trouble', x.trouble, 'created_at', x.created_at, 'evicting_at', x.evicting_at, 'evicted_at', x.evicted_at)
    from towpath.storage x where x.session_id = s.id), '{}'));
end $$;
comment on function towpath.storage_summary(text) is
'Storage of a session: {"state" (none, provisioned, evicting, evicted), "kind", "root", "name", "quota", "bytes", "files", "sha256", "expires_at", …}; sizes as of refreshed_at.';

create or replace function towpath.storage_refresh(session text) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  s towpath.session := towpath.locked_storage(session);
begin
  perform towpath.check_storage(s);
  if s.storage = 'none' then
    perform towpath.fail('TW409', format('session "%s" has no storage', s.id), 'towpath.storage_create makes it');
  end if;
  return towpath.job_for_storage(s.id, 'refresh');
end $$;
comment on function towpath.storage_refresh(text) is 'Has a node that has a session''s files measure them, and returns the River job.';

create or replace function towpath.storage_measured(session text, bytes bigint, files bigint, sha256 bytea) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  s towpath.session := towpath.locked_storage(session);
begin
  update towpath.storage x set bytes = storage_measured.bytes, files = storage_measured.files, sha256 = storage_measured.sha256, refreshed_at = towpath.now()
  where x.session_id = s.id and s.storage = 'provisioned';
  return found;
end $$;
comment on function towpath.storage_measured(text, bigint, bigint, bytea) is
'A node has measured a session''s files. False, and nothing, for what is being evicted meanwhile: a refresh brings nothing back.';

create or replace function towpath.storage_delete(session text, reason text default 'deleted by request') returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t timestamptz := towpath.now();
  s towpath.session := towpath.locked_storage(session);
begin
  if coalesce(reason, '') = '' then
    perform towpath.fail('TW400', 'reason is missing', 'say why; whoever submits to the session hears it');
  end if;
  if s.storage = 'provisioned' then
    if s.active_process is not null then
      perform towpath.fail('TW409', format('session "%s" has work: process "%s"', s.id, s.active_process), 'wait for its end, or cancel it');
    end if;
    update towpath.storage x set evicting_at = t, reason = left(towpath.redact_text(storage_delete.reason), 500) where x.session_id = s.id;
    update towpath.session x set storage = 'evicting', updated_at = t where x.id = s.id;
    perform towpath.gc_now();
    return 'evicting';
  end if;
  return s.storage;
end $$;
comment on function towpath.storage_delete(text, text) is
'Has the files of a session removed, and returns its storage''s state: no turn is taken from now, gc does the rest. Refused while the session has work.';

create or replace function towpath.storage_due(roots text[], max integer default 1000) returns table (session text, kind text, root text, name text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t   timestamptz := towpath.now();
  ids text[];
begin
  -- What is locked is looked at again as it is then; who holds a lock is at work there. In any order: who skips what is locked
  -- waits for nobody, and a sort would judge all of them for each batch.
  select array_agg(d.id) into ids from (
    select y.id from towpath.storage x join towpath.session y on y.id = x.session_id
    where x.evicting_at is null and x.root = any(roots) and y.storage = 'provisioned' and y.active_process is null
      and (y.runtime_state = 'destroyed' or coalesce(x.expires_at, y.updated_at + towpath.keep('storage', y.tenant, y.profile)) <= t)
    limit max for no key update of y skip locked) d;
  update towpath.storage x set evicting_at = t, reason = case s.runtime_state when 'destroyed' then 'session destroyed' else 'expired' end
  from towpath.session s where x.session_id = any(ids) and s.id = x.session_id;
  update towpath.session s set storage = 'evicting', updated_at = t where s.id = any(ids);
  return query select x.session_id, x.kind, x.root, x.name from towpath.storage x
               where x.root = any(roots) and x.evicting_at is not null and x.evicted_at is null order by x.evicting_at, x.session_id limit max;
end $$;
comment on function towpath.storage_due(text[], integer) is
'Marks what has expired in these roots, or is of a destroyed session, as evicting, unless its session has work, and returns all whose files are to be removed.';

create or replace function towpath.storage_gone(sessions text[], troubles text[]) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  gone bigint;
begin
  perform 1 from towpath.session s where s.id = any(sessions) order by s.id for no key update;
  update towpath.storage x set trouble = left(o.trouble, 2000), evicted_at = case when o.trouble is null then towpath.now() end
  from unnest(sessions, troubles) o(session, trouble) where x.session_id = o.session and x.evicting_at is not null and x.evicted_at is null;
  update towpath.session s set storage = 'evicted', updated_at = towpath.now() from towpath.storage x
  where s.id = any(sessions) and x.session_id = s.id and x.evicted_at is not null and s.storage = 'evicting';
  get diagnostics gone = row_count;
  return gone;
end $$;
comment on function towpath.storage_gone(text[], text[]) is
'The files of these sessions are removed, or, where there is a trouble, could not be: the next gc tries these again. Returns how many are evicted by this.';

create or replace function towpath.storage_known(root text, names text[]) returns setof text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select x.name from towpath.storage x where x.root = storage_known.root and x.name = any(names) and x.evicted_at is null
$$;
comment on function towpath.storage_known(text, text[]) is 'Which of these names in a root belong to a session; the others are nobody''s.';

create or replace function towpath.node_roots(id text, incarnation uuid, roots text[]) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  update towpath.node n set roots = node_roots.roots where n.id = node_roots.id and n.incarnation = node_roots.incarnation
$$;
comment on function towpath.node_roots(text, uuid, text[]) is 'A node says which storage roots it has: turns of sessions in them may run there. The namespace of a cluster is pvc: and its uid.';

create or replace function towpath.gc_now() returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  job bigint;
begin
  insert into :river.river_job (kind, queue, args, max_attempts) values ('gc', towpath.queue_of('gc'), '{}', 1) returning id into job;
  return job;
end $$;
comment on function towpath.gc_now() is 'Asks every node to collect what nobody needs any more, and returns the River job of the first, whose output is its report.';

create or replace function towpath.gc_report(node text, report jsonb) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  id text;
begin
  id := towpath.begin_process('external', 'externally_owned', '{}', jsonb_build_object('kind', 'gc', 'label', node,
    'originator', jsonb_build_object('host', node), 'event_types', '{"gc.report": {"type": "object"}}'::jsonb));
  perform towpath.append_event(id, 'gc.report', report);
  perform towpath.complete_by('external_owner', id, 'completed', report, 'end');
  return id;
end $$;
comment on function towpath.gc_report(text, jsonb) is 'Puts on record what a node has collected: a process of kind gc that has ended, with event gc.report. Prune takes it as any other.';
