create or replace function towpath.store_delta(p_session text, p_base bigint, p_keys text[], p_vals bytea[]) returns towpath.session
language plpgsql as $$
declare
  s     towpath.session;
  delta bytea;
begin
  if cardinality(p_keys) is distinct from cardinality(p_vals) or cardinality(p_keys) is null then
    perform towpath.fail('TW400', 'keys and values differ in number');
  end if;
  select * into s from towpath.session x where x.id = p_session;
  if s.version is distinct from p_base then
    perform towpath.fail('TW40V', format('session "%s" is at version %s, not %s', s.id, s.version, coalesce(p_base::text, 'null')), 'read it again');
  end if;
  s.version := s.version + 1;
  if cardinality(p_keys) = 0 then
    return s;
  end if;
  if exists (select 1 from unnest(p_keys, p_vals) d(key, val) where key is null or val is null or octet_length(key) not between 1 and 512) then
    perform towpath.fail('TW400', 'a key is not 1 to 512 bytes long, or a value is missing', 'an empty value deletes its key');
  end if;
  if exists (select 1 from unnest(p_vals) d(val) where octet_length(val) > 1048576) then
    perform towpath.fail('TW413', 'a value is above 1048576 bytes', 'store large content elsewhere and keep a reference');
  end if;
  if (select count(distinct key) from unnest(p_keys) d(key)) < cardinality(p_keys) then
    perform towpath.fail('TW400', 'a key comes twice');
  end if;
  select sha256(coalesce(s.digest, '') || string_agg(sha256(convert_to(d.key, 'UTF8')) || sha256(d.val), '' order by d.ord))
  into delta from unnest(p_keys, p_vals) with ordinality d(key, val, ord);
  delete from towpath.session_kv kv using unnest(p_keys, p_vals) d(key, val)
  where kv.session_id = s.id and kv.key = d.key and length(d.val) = 0;
  insert into towpath.session_kv as kv (session_id, key, value, version)
  select s.id, d.key, d.val, s.version from unnest(p_keys, p_vals) d(key, val) where length(d.val) > 0
  on conflict on constraint session_kv_pkey do update set value = excluded.value, version = excluded.version;
  s.digest := coalesce(delta, s.digest);
  return s;
end $$;
comment on function towpath.store_delta(text, bigint, text[], bytea[]) is
'Moves the keys of a locked session''s snapshot from version p_base to the next: changed ones only, an empty value deletes its key. Returns the session with its new version and digest, which the caller stores.';

create or replace function towpath.apply_delta(p_session text, p_base bigint, p_keys text[], p_vals bytea[]) returns towpath.session
language plpgsql as $$
declare
  s towpath.session := towpath.store_delta(p_session, p_base, p_keys, p_vals);
begin
  update towpath.session x set version = s.version, digest = s.digest, updated_at = towpath.now() where x.id = s.id;
  return s;
end $$;
comment on function towpath.apply_delta(text, bigint, text[], bytea[]) is 'Moves a locked session''s snapshot from version p_base to the next.';

create or replace function towpath.put_receipt(p_no bigint, p_boundary text, p_sequence integer, p_session towpath.session, p_inputs text[], p_fence bigint)
returns void
language plpgsql as $$
begin
  update towpath.input i set boundary_seq = p_sequence where i.id = any(p_inputs) and i.phase = 'applied';
  insert into towpath.receipt (process_no, seq, boundary, session_id, session_version, input_ids, digest, fence, at)
  values (p_no, p_sequence, p_boundary, p_session.id, p_session.version, p_inputs, coalesce(p_session.digest, ''), p_fence, towpath.now());
end $$;
comment on function towpath.put_receipt(bigint, text, integer, towpath.session, text[], bigint) is
'Writes the proof that a boundary was applied, and notes it on the inputs that it took in.';

create or replace function towpath.next_receipt(p_no bigint) returns integer
language plpgsql stable as $$
begin
  return (select coalesce(max(r.seq), 0) + 1 from towpath.receipt r where r.process_no = p_no);
end $$;
comment on function towpath.next_receipt(bigint) is 'Number of the next boundary of a locked process.';

create or replace function towpath.atomic_apply(
  process_no bigint, fence bigint, boundary text, sequence integer, contributors text[], base_version bigint,
  keys text[] default '{}', vals bytea[] default '{}', session text default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t      timestamptz := towpath.now();
  p      towpath.process := towpath.owned(process_no, fence);
  s      towpath.session;
  due    integer := towpath.next_receipt(p.no);
  staged text[];
begin
  if boundary is null or boundary not in ('run_start', 'checkpoint') then
    perform towpath.fail('TW400', format('"%s" is not run_start or checkpoint', coalesce(boundary, '')), 'the end of a run is finish');
  end if;
  if p.session_id is null then
    perform towpath.fail('TW409', format('process "%s" has no session', p.id));
  end if;
  if session <> p.session_id then
    perform towpath.fail('TW409', format('process "%s" belongs to session "%s", not "%s"', p.id, p.session_id, session), 'a session has one name');
  end if;
  if sequence is distinct from due then
    perform towpath.fail('TW409', case when sequence < due then format('process "%s" has receipt %s', p.id, sequence)
                                       else format('process "%s" is at boundary %s, not %s', p.id, due, coalesce(sequence::text, 'null')) end,
                         'what it says has been applied; read the session and go on from there');
  end if;
  select coalesce(array_agg(i.id order by i.seq), '{}') into staged from towpath.input i where i.process_no = p.no and i.phase = 'staged';
  if contributors is distinct from staged then
    perform towpath.fail('TW409', format('contributors are %s, staged are %s', coalesce(contributors, '{}'), staged),
                         'name every staged input of the process, in order of acceptance, and no other');
  end if;
  s := towpath.apply_delta(p.session_id, base_version, keys, vals);
  update towpath.input i set phase = 'applied', updated_at = t where i.id = any(staged);
  perform towpath.put_receipt(p.no, boundary, sequence, s, staged, fence);
  update towpath.input i set phase = 'consumed', updated_at = t, finalized_at = t
  where i.id = any(staged) and i.policy ->> 'consume' = 'apply';
  perform towpath.note(p.no, 'process.boundary', jsonb_build_object('boundary', boundary, 'sequence', sequence, 'version', s.version,
                                                                    'inputs', to_jsonb(staged)));
  perform towpath.wake('towpath_events', p.id);
  return s.version;
end $$;
comment on function towpath.atomic_apply(bigint, bigint, text, integer, text[], bigint, text[], bytea[], text) is
'The owner of a process crosses a boundary of its session: snapshot (by compare-and-swap from base_version), receipt and inputs change together or not at all. contributors: exactly the staged inputs of the process, in order. sequence: 1, 2, 3 … per process; one that was applied is an error. Returns the new version.';

create or replace function towpath.receipts(process_id text)
returns table (seq integer, boundary text, session text, version bigint, inputs text[], digest bytea, at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return query select r.seq, r.boundary, r.session_id, r.session_version, r.input_ids, r.digest, r.at from towpath.receipt r
               where r.process_no = towpath.no_of(process_id) order by r.seq;
end $$;
comment on function towpath.receipts(text) is 'The boundaries that a process has crossed.';
