create or replace function towpath.session_list(filter jsonb default '{}', after text default null, max integer default 50)
returns table (place text, id text, tenant text, project text, profile text, title text, metadata jsonb, state text, active_process text, active_run text,
               last_process text, last_status text, last_failure text, quarantine text, version bigint, change_no bigint, unread boolean,
               created_at timestamptz, updated_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  wrong text := towpath.misfit(filter, '{"type": "object", "additionalProperties": false, "properties": {
    "tenant": {"type": "string"}, "project": {"type": "string"}, "profile": {"type": "string"}, "reader": {"type": "string"},
    "show": {"enum": ["default", "live", "unread", "all"]}, "state": {"enum": ["idle", "running", "retired", "stopping", "stopped", "destroyed"]}}}', 'filter');
  who   text := filter ->> 'reader';
  cond  text := '';
  k     text;
  v     text;
begin
  if wrong is not null then
    perform towpath.fail('TW400', wrong, 'filters are tenant, project, profile, state, reader, show (default, live, unread, all)');
  end if;
  if max is null or max not between 1 and 1000 then
    perform towpath.fail('TW400', 'max is not between 1 and 1000');
  end if;
  if filter ->> 'show' = 'unread' and who is null then
    perform towpath.fail('TW400', 'filter.show unread needs a reader', 'for example {"show": "unread", "reader": "alice"}');
  end if;
  for k, v in select * from jsonb_each_text('{"show": "default"}' || filter) order by 1 loop
    cond := cond || case
      when k = 'reader' or k = 'show' and v = 'all' then ''
      when k = 'show' then format(' and (%s)', concat_ws(' or ',
        case when v <> 'unread' then 'v.active_process is not null or v.active_run is not null' end,
        case when v <> 'live' and who is not null then 'v.change_no > coalesce(c.position, 0)' end))
      else format(' and v.%I = %L', k, v)
    end;
  end loop;
  if after is not null then
    if after !~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z .' then
      perform towpath.fail('TW400', 'after is not a place of this list', 'pass the place of the last row, or nothing');
    end if;
    cond := cond || format(' and (v.created_at, v.id) < (%L::timestamptz, %L)', left(after, 27), substr(after, 29));
  end if;
  return query execute format(
    'select to_char(v.created_at at time zone ''UTC'', ''YYYY-MM-DD"T"HH24:MI:SS.US"Z"'') || '' '' || v.id,
       v.id, v.tenant, v.project, v.profile, v.title, v.metadata, v.state, v.active_process, v.active_run,
       v.last_process, v.last_status, v.last_failure, v.quarantine, v.version, v.change_no,
       case when %1$L is not null then v.change_no > coalesce(c.position, 0) end, v.created_at, v.updated_at
     from towpath.sessions v left join towpath.cursor c on c.reader = %1$L and c.stream = ''session:'' || v.id
     where true%2$s order by v.created_at desc, v.id desc limit %3$s', who, cond, max);
end $$;
comment on function towpath.session_list(jsonb, text, integer) is
'Sessions, newest first, by the time they were opened: an order that no change disturbs, so pages neither lose nor repeat one. filter: tenant, project, profile, state, reader, show: default (live, or unread by the reader), live, unread, all. after: the place of the last row of the page before.';

create or replace function towpath.session_summary(session text, reader text default null)
returns table (id text, tenant text, project text, profile text, title text, metadata jsonb, state text, active_process text, active_run text,
               last_process text, last_status text, last_failure text, quarantine text, version bigint, change_no bigint, unread boolean,
               created_at timestamptz, updated_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return query
  select v.id, v.tenant, v.project, v.profile, v.title, v.metadata, v.state, v.active_process, v.active_run,
         v.last_process, v.last_status, v.last_failure, v.quarantine, v.version, v.change_no,
         case when session_summary.reader is not null then v.change_no > coalesce(c.position, 0) end, v.created_at, v.updated_at
  from towpath.sessions v
  left join towpath.cursor c on c.reader = session_summary.reader and c.stream = 'session:' || v.id
  where v.id = session_summary.session;
  if not found then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')));
  end if;
end $$;
comment on function towpath.session_summary(text, text) is 'One session, and whether a reader has seen its newest change.';
