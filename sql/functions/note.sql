create or replace function towpath.note(process_no bigint, type text, data jsonb, fence bigint default null, replay_key bytea default null) returns bigint
language plpgsql as $$
declare
  at_seq bigint;
begin
  update towpath.process p set last_seq = p.last_seq + 1 where p.no = note.process_no returning p.last_seq into at_seq;
  perform towpath.log(note.process_no, at_seq, note.type, note.data, note.fence, note.replay_key);
  return at_seq;
end $$;
comment on function towpath.note(bigint, text, jsonb, bigint, bytea) is 'Appends one event of our own to a process whose row the caller has locked.';

create or replace function towpath.log(process_no bigint, seq bigint, type text, data jsonb, fence bigint default null, replay_key bytea default null)
returns void
language plpgsql as $$
begin
  insert into towpath.event (process_no, seq, type, data, fence, replay_key, at)
  values (log.process_no, log.seq, log.type, towpath.event_data(log.data::text), log.fence, log.replay_key, towpath.now());
end $$;
comment on function towpath.log(bigint, bigint, text, jsonb, bigint, bytea) is 'Stores one event of our own that the caller has counted already, in the UPDATE of the process that it tells of.';

create or replace function towpath.wake(channel text, process_id text) returns void
language plpgsql as $$
begin
  if coalesce(current_setting('towpath.notify', true), '') <> 'off' then
    perform pg_notify(channel, process_id);
  end if;
end $$;
comment on function towpath.wake(text, text) is 'NOTIFY unless towpath.notify is off. It only wakes; rows are the truth.';

create or replace function towpath.wake_readers(process_ids text) returns void
language plpgsql as $$
begin
  if coalesce(current_setting('towpath.notify', true), '') <> 'after' then
    perform towpath.wake('towpath_events', process_ids);
  end if;
end $$;
comment on function towpath.wake_readers(text) is
'wake on towpath_events by the calls that an executor makes all the time. A commit that notifies holds a lock of the whole server while it waits for the disk, so that none shares its flush: who has set towpath.notify to after does it when the commit is done.';
