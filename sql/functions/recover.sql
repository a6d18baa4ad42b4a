create or replace function towpath.damage(p_session text) returns text
language sql stable as $$
  select string_agg(what, '; ' order by what) from (
    select format('input "%s" has lost its content', i.id) as what
    from towpath.input i where i.session_id = p_session and i.finalized_at is null and i.content_bytes is not null and towpath.content_of(i) is null
    union all
    select format('input "%s" is not what was accepted', i.id)
    from towpath.input i where i.session_id = p_session and i.finalized_at is null
      and i.payload_sha <> sha256(convert_to(towpath.content_of(i)::text, 'UTF8'))
    union all
    select format('input "%s" is open in a session that is %s', i.id, s.runtime_state)
    from towpath.input i join towpath.session s on s.id = i.session_id
    where i.session_id = p_session and i.finalized_at is null and s.runtime_state in ('stopped', 'destroyed')
      and not exists (select 1 from towpath.process p where p.no = i.process_no and p.cancel_requested_at is not null)
    union all
    select format('receipt %s of process %s is for version %s, the snapshot is at %s', r.seq, r.process_no, r.session_version, s.version)
    from towpath.receipt r join towpath.session s on s.id = r.session_id where r.session_id = p_session and r.session_version > s.version
    union all
    select format('key "%s" has version %s, the snapshot is at %s', kv.key, kv.version, s.version)
    from towpath.session_kv kv join towpath.session s on s.id = kv.session_id where kv.session_id = p_session and kv.version > s.version
    union all
    select format('input "%s" names receipt %s, which does not name it', i.id, i.boundary_seq)
    from towpath.input i where i.session_id = p_session and i.boundary_seq is not null and not exists (
      select 1 from towpath.receipt r where r.process_no = i.process_no and r.seq = i.boundary_seq and i.id = any(r.input_ids))
  ) d
$$;
comment on function towpath.damage(text) is 'What is wrong with a session''s rows, or null: what no function of ours writes.';

create or replace function towpath.recover(session text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t     timestamptz := towpath.now();
  s     towpath.session;
  wrong text;
  i     towpath.input;
  done  integer := 0;
begin
  select * into s from towpath.session x where x.id = recover.session for no key update;
  if not found then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')));
  end if;
  if s.quarantine is not null then
    return 'quarantined';
  end if;
  wrong := towpath.damage(s.id);
  if wrong is not null then
    update towpath.session x set quarantine = left(wrong, 2000), updated_at = t where x.id = s.id;
    return 'quarantined';
  end if;
  perform 1 from towpath.process p where p.session_id = s.id and p.finalized_at is null order by p.no for no key update;
  -- What somebody executes is his, and what a journal can replay is the next owner's.
  for i in select x.* from towpath.input x
           where x.session_id = s.id and x.finalized_at is null
             and not exists (select 1 from towpath.lease l where l.process_no = x.process_no and l.expires_at > t)
             and not exists (select 1 from towpath.journal j where j.process_no = x.process_no)
           order by x.seq loop
    if i.phase = 'applied' and i.boundary_seq is not null then
      update towpath.input x set phase = 'consumed', updated_at = t, finalized_at = t where x.id = i.id;
    elsif i.phase in ('staged', 'applied') or i.durability = 'ephemeral' and i.kind <> 'turn' then
      update towpath.input x set phase = 'queued', updated_at = t where x.id = i.id and x.phase <> 'queued';
      update towpath.input x set phase = 'abandoned', reason = 'ephemeral', updated_at = t, finalized_at = t
      where x.id = i.id and x.durability = 'ephemeral' and x.kind <> 'turn';
    else
      continue;
    end if;
    done := done + 1;
  end loop;
  return case when done = 0 then 'sound' else 'recovered' end;
end $$;
comment on function towpath.recover(text) is
'Brings the inputs of a session to what its receipts prove: applied with a receipt is consumed, without one queued again; ephemeral ones are dropped. A session with damaged rows is quarantined as it is. Returns sound, recovered or quarantined.';

create or replace function towpath.recover_all(max integer default 1000, out sound bigint, out recovered bigint, out quarantined bigint)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  c record;
begin
  sound := 0; recovered := 0; quarantined := 0;
  for c in select x.id from towpath.session x
           where x.quarantine is null and exists (select 1 from towpath.input i where i.session_id = x.id and i.finalized_at is null)
           order by x.id limit max loop
    case towpath.recover(c.id) when 'sound' then sound := sound + 1; when 'recovered' then recovered := recovered + 1; else quarantined := quarantined + 1; end case;
  end loop;
end $$;
comment on function towpath.recover_all(integer) is 'Recovers every session with open inputs, in id order; a damaged one does not stop the others.';

create or replace function towpath.release_quarantine(session text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  wrong text;
begin
  perform 1 from towpath.session x where x.id = release_quarantine.session for no key update;
  if not found then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')));
  end if;
  wrong := towpath.damage(session);
  if wrong is not null then
    perform towpath.fail('TW409', format('session "%s" is still damaged: %s', session, left(wrong, 1000)), 'repair the rows first');
  end if;
  update towpath.session x set quarantine = null, updated_at = towpath.now() where x.id = release_quarantine.session and x.quarantine is not null;
  return towpath.recover(session);
end $$;
comment on function towpath.release_quarantine(text) is 'An operator has repaired a quarantined session: it is recovered and works again, or refused with what is still wrong.';
