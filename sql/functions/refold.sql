create or replace function towpath.refold(process_no bigint) returns setof text
language plpgsql stable as $$
declare
  p     towpath.process;
  e     towpath.event;
  state text;
  ends  jsonb;
  n     integer := 0;
  asked boolean := false;
  given boolean := false;
begin
  select * into p from towpath.process x where x.no = refold.process_no;
  for e in select * from towpath.event x where x.process_no = p.no and starts_with(x.type, 'process.') order by x.seq loop
    case e.type
    when 'process.queued', 'process.resumed' then state := 'queued';
    when 'process.started' then state := 'running'; n := coalesce((e.data ->> 'attempt')::int, n);
    when 'process.requeued' then state := case when e.data ? 'delay_ms' then 'backoff' else 'queued' end;
    when 'process.waiting' then state := 'waiting';
    when 'process.resolved' then state := case when e.data ->> 'decision' = 'retry' then 'queued' else state end;
    when 'process.cancel_requested' then asked := true;
    when 'process.abandon_requested' then given := true;
    when 'process.completed', 'process.failed', 'process.cancelled', 'process.abandoned' then
      state := substr(e.type, 9); ends := e.data;
    else null;
    end case;
  end loop;
  if state is distinct from p.status then
    return next format('status is %s, the log says %s', p.status, state);
  end if;
  if n <> p.attempt then
    return next format('attempt is %s, the log says %s', p.attempt, n);
  end if;
  if asked <> (p.cancel_requested_at is not null) or given <> (p.abandon_request is not null) then
    return next format('cancel asked %s, abandon asked %s, the log says %s and %s', p.cancel_requested_at is not null, p.abandon_request is not null, asked, given);
  end if;
  if ends - '{kind,writer,authority}'::text[] is distinct from p.outcome - '{kind,writer,authority}'::text[]
     or ends ->> 'kind' is distinct from coalesce(p.failure_kind, p.outcome ->> 'kind')
     or ends ->> 'writer' is distinct from coalesce(p.abandon_writer, p.outcome ->> 'writer') then
    return next format('outcome is %s, the log says %s', p.outcome, ends);
  end if;
end $$;
comment on function towpath.refold(bigint) is 'Where a process''s row differs from what its log adds up to; nothing when they agree.';
