create or replace function towpath.processes_list(filter jsonb default '{}', after text default null, max integer default 100)
returns table (place text, process towpath.processes)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  wrong text;
  k     text;
  v     jsonb;
  cond  text := '';
begin
  wrong := towpath.misfit(filter, '{"type": "object", "additionalProperties": false, "properties": {
    "status": {"enum": ["live", "ended", "any", "queued", "running", "waiting", "backoff", "completed", "failed", "cancelled", "abandoned"]},
    "class": {"enum": ["turn", "daemon", "external", "run", "operation"]},
    "waiting": {"type": "boolean"}, "cancelling": {"type": "boolean"}, "session": {"type": "string"}, "profile": {"type": "string"},
    "tenant": {"type": "string"}, "project": {"type": "string"}, "parent": {"type": "string"}, "definition": {"type": "string"},
    "kind": {"type": "string"}, "label": {"type": "string"}, "node": {"type": "string"}, "shared_with": {"type": "string"},
    "originator": {"type": "string"},
    "originated_by": {"type": "object", "required": ["session"], "additionalProperties": false,
                      "properties": {"session": {"type": "string"}, "frame": {"type": "string"}}},
    "caused_by": {"type": "object", "additionalProperties": false,
                  "properties": {"occurrence": {"type": "string"}, "subscription": {"type": "string"}}},
    "created_from": {"type": "string"}, "created_to": {"type": "string"}}}', 'filter');
  if wrong is not null then
    perform towpath.fail('TW400', wrong, 'see the comment of towpath.processes_list');
  end if;
  if max is null or max not between 1 and 1000 then
    perform towpath.fail('TW400', 'max is not from 1 to 1000');
  end if;
  -- Only the conditions that are asked for are in the statement, so that the planner can take their index.
  for k, v in select * from jsonb_each('{"status": "live"}' || filter) order by 1 loop
    cond := cond || ' and ' || case k
      when 'status' then case v #>> '{}' when 'live' then 'p.finalized_at is null' when 'ended' then 'p.finalized_at is not null' when 'any' then 'true'
                         else format('p.status = %L', v #>> '{}') end
      when 'waiting' then format('(p.status = ''waiting'') = %L', v)
      when 'cancelling' then format('(p.cancel_requested_at is not null) = %L', v)
      when 'shared_with' then format('p.no in (select s.process_no from towpath.share s where s.scope = %L)', v #>> '{}')
      when 'node' then format('p.no in (select l.process_no from towpath.lease l where l.node_id = %L)', v #>> '{}')
      when 'originated_by' then format('p.originator_session = %L', v ->> 'session')
                                || case when v ? 'frame' then format(' and p.originator_frame = %L', v ->> 'frame') else '' end
      when 'caused_by' then format('p.caused_by @> %L', v)
      when 'created_from' then format('p.created_at >= %L::timestamptz', v #>> '{}')
      when 'created_to' then format('p.created_at < %L::timestamptz', v #>> '{}')
      else format('p.%I = %L', case k when 'session' then 'session_id' when 'parent' then 'parent_id' else k end, v #>> '{}')
    end;
  end loop;
  if after is not null then
    if after !~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z .' then
      perform towpath.fail('TW400', 'after is not a place of this list', 'pass the place of the last row, or nothing');
    end if;
    cond := cond || format(' and (p.created_at, p.id) < (%L::timestamptz, %L)', left(after, 27), substr(after, 29));
  end if;
  return query execute
    'with page as materialized (select p.id, p.created_at from towpath.process p where true' || cond ||
    ' order by p.created_at desc, p.id desc limit ' || max || ')
     select to_char(p.created_at at time zone ''UTC'', ''YYYY-MM-DD"T"HH24:MI:SS.US"Z"'') || '' '' || p.id, v
     from page p join towpath.processes v using (id) order by p.created_at desc, p.id desc';
end $$;
comment on function towpath.processes_list(jsonb, text, integer) is
'Processes, newest first, a page at a time: go on after the place of the last row. filter, all keys optional: status (live by default; ended, any, or one of them), class, waiting, cancelling, session, profile, tenant, project, parent, definition, kind, label, node, shared_with (a scope, exactly), originator (a scope, exactly), originated_by {session, frame}, caused_by {occurrence, subscription}, created_from, created_to (excluded).';
