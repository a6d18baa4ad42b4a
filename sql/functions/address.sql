create or replace function towpath.address(process_id text, kind text, content jsonb, idempotency_key text) returns text
language plpgsql volatile as $$
declare
  t      timestamptz := towpath.now();
  p      towpath.process;
  s      towpath.session;
  i      towpath.input;
  digest bytea;
  key    bytea := towpath.digest(idempotency_key);
begin
  if content is null or jsonb_typeof(content) <> 'object' then
    perform towpath.fail('TW400', format('%s content is not a JSON object', kind), 'for example {"text": "shorter, please"}');
  end if;
  if octet_length(content::text) > 1048576 then
    perform towpath.fail('TW413', format('content has %s bytes, the limit is 1048576', octet_length(content::text)));
  end if;
  if idempotency_key = '' then
    perform towpath.fail('TW400', 'idempotency_key is empty', 'leave it out, or pass null');
  end if;
  p := towpath.locked(process_id);
  if p.session_id is null then
    perform towpath.fail('TW409', format('process "%s" is no turn and takes no %s', p.id, kind));
  end if;
  digest := towpath.digest(jsonb_build_object('process', p.id, 'kind', kind, 'content', content));
  select * into i from towpath.input x where x.session_id = p.session_id and x.key_digest = key;
  if found then
    if i.digest <> digest then
      perform towpath.fail('TW40I', 'idempotency_key was used for another input', format('input "%s" has it', i.id));
    end if;
    return i.id;
  end if;
  if p.finalized_at is not null then
    perform towpath.fail('TW409', format('process "%s" is %s and takes no %s', p.id, p.status, kind), 'submit a new turn in its session');
  end if;
  update towpath.session set next_input = next_input + 1, updated_at = t where id = p.session_id returning * into s;
  insert into towpath.input (id, session_id, seq, process_no, kind, phase, payload, digest, key_digest, created_at, updated_at)
  values (towpath.new_id('i'), s.id, s.next_input - 1, p.no, address.kind, 'queued', content, digest, key, t, t)
  returning * into i;
  perform towpath.wake('towpath_control', p.id);
  return i.id;
end $$;
comment on function towpath.address(text, text, jsonb, text) is 'Stores one input for a running or queued turn and wakes its node.';

create or replace function towpath.lock(process_id text) returns towpath.process
language plpgsql volatile as $$
declare
  p towpath.process;
begin
  -- The session id never changes, so it is read before the lock that comes first in the lock order.
  perform 1 from towpath.session s
  where s.id = (select x.session_id from towpath.process x where x.id = lock.process_id) for no key update;
  select * into p from towpath.process x where x.id = lock.process_id for no key update;
  return p;
end $$;
comment on function towpath.lock(text) is 'Locks a process''s session, then the process, and returns the row; nulls if there is none.';

create or replace function towpath.locked(process_id text) returns towpath.process
language plpgsql volatile as $$
declare
  p towpath.process := towpath.lock(process_id);
begin
  if p.id is null then
    perform towpath.unknown(process_id);
  end if;
  return p;
end $$;
comment on function towpath.locked(text) is 'Locks a process''s session, then the process, and returns the row; an error if there is none.';
