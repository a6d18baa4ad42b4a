create or replace function towpath.scope(who jsonb) returns text
language sql immutable parallel safe as $$
  select case
    when who ? 'frame' then format('session:%s/frame:%s', who ->> 'session', who ->> 'frame')
    when who ? 'session' then 'session:' || (who ->> 'session')
    when who ? 'host' then 'host:' || (who ->> 'host')
    else 'host'
  end
$$;
comment on function towpath.scope(jsonb) is 'Text of a scope: {"host"}, {"session"} or {"session", "frame"}; host for nothing.';

create or replace function towpath.check_scope(scope text) returns void
language plpgsql immutable as $$
begin
  if scope is null or scope !~ '^(host|host:.+|session:.+)$' or length(scope) > 500 or scope ~ '[[:cntrl:]]' then
    perform towpath.fail('TW400', format('"%s" is not a scope', coalesce(left(scope, 100), '')), 'for example session:s, session:s/frame:f, or host');
  end if;
end $$;
comment on function towpath.check_scope(text) is 'Refuses what is not a scope.';
