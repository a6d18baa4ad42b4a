create or replace function towpath.check_spec(name text, spec jsonb) returns void
language plpgsql stable as $$
declare
  wrong text;
  k     text;
  v     jsonb;
begin
  if name is null or name !~ '^[a-z0-9][a-z0-9_-]{0,62}$' then
    perform towpath.fail('TW400', format('"%s" is not the name of a daemon', left(coalesce(name, ''), 100)),
                         '1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit: files are named after it');
  end if;
  wrong := towpath.misfit(spec, '{"type": "object", "additionalProperties": false, "required": ["command"], "properties": {
    "command": {"type": "string"}, "args": {"type": "array", "items": {"type": "string"}}, "dir": {"type": "string"},
    "env": {"type": "object", "additionalProperties": {"type": "string"}},
    "port": {"type": "integer"}, "port_flag": {"type": "string"}, "port_fixed": {"type": "boolean"},
    "health_url": {"type": "string"}, "health_cmd": {"type": "array", "items": {"type": "string"}}, "remote": {"type": "boolean"},
    "interval_s": {"type": "number"}, "timeout_s": {"type": "number"}, "failures": {"type": "integer"}, "ready_s": {"type": "number"},
    "restart": {"enum": ["always", "on_failure", "never"]}, "restarts": {"type": "integer"},
    "backoff_s": {"type": "number"}, "stable_s": {"type": "number"}, "grace_s": {"type": "number"},
    "outlives": {"type": "boolean"}, "session": {"type": "string"}, "log_bytes": {"type": "integer"}}}', 'spec');
  if wrong is not null then
    perform towpath.fail('TW400', wrong, 'see the comment of towpath.spec_put');
  end if;
  if octet_length(spec::text) > 65536 then
    perform towpath.fail('TW413', 'spec is above 64 KiB');
  end if;
  for k, v in select * from jsonb_each(spec) loop
    if k in ('command', 'dir', 'port_flag', 'health_url', 'session') and v #>> '{}' = '' then
      perform towpath.fail('TW400', format('spec.%s is empty', k), 'leave it out');
    end if;
    if (case k
       when 'port' then v::numeric not between 1 and 65535
       when 'restarts' then v::numeric not between 0 and 999
       when 'failures' then v::numeric not between 1 and 1000
       when 'log_bytes' then v::numeric not between 4096 and 1073741824
       when 'interval_s' then v::numeric not between 0.05 and 3600
       when 'timeout_s' then v::numeric not between 0.01 and 600
       when 'backoff_s' then v::numeric not between 0.1 and 86400
       when 'ready_s' then v::numeric not between 0.1 and 86400
       when 'stable_s' then v::numeric not between 0 and 604800
       when 'grace_s' then v::numeric not between 0 and 3600
       end) then
      perform towpath.fail('TW400', format('spec.%s is out of range: %s', k, v),
        'port 1-65535, restarts 0-999, failures 1-1000, log_bytes 4096-1073741824, interval_s 0.05-3600, timeout_s 0.01-600, backoff_s 0.1-86400, ready_s 0.1-86400, stable_s 0-604800, grace_s 0-3600');
    end if;
  end loop;
  for k in select * from jsonb_object_keys(spec -> 'env') loop
    if k !~ '^[A-Za-z_][A-Za-z0-9_]*$' or starts_with(k, 'TOWPATH_') then
      perform towpath.fail('TW400', format('spec.env: "%s" is not the name of a variable', left(k, 100)), 'letters, digits and _, and not beginning with TOWPATH_');
    end if;
  end loop;
  if spec ? 'dir' and not starts_with(spec ->> 'dir', '/') then
    perform towpath.fail('TW400', 'spec.dir is not an absolute path');
  end if;
  if spec ->> 'command' ~ '/' and not starts_with(spec ->> 'command', '/') then
    perform towpath.fail('TW400', 'spec.command is neither a name nor an absolute path', 'a name is looked for in the PATH of the worker');
  end if;
  if spec ? 'health_url' and spec ? 'health_cmd' or spec -> 'health_cmd' = '[]' then
    perform towpath.fail('TW400', 'spec has two ways to check health, or an empty one', 'give health_url or health_cmd');
  end if;
  if spec ? 'health_url' and spec ->> 'health_url' !~ '^/'
     and spec ->> 'health_url' !~ '^https?://[^/@[:space:]]+(/[^[:space:]]*)?$' then
    perform towpath.fail('TW400', 'spec.health_url is not a URL', 'a path on its own port such as "/health", or http://127.0.0.1:8080/health');
  end if;
  if spec ->> 'health_url' ~ '^http' and not coalesce((spec ->> 'remote')::boolean, false)
     and spec ->> 'health_url' !~ '^https?://(127(\.[0-9]{1,3}){3}|localhost|\[::1\])(:[0-9]{1,5})?(/|$)' then
    perform towpath.fail('TW403', 'spec.health_url is on another machine', 'set "remote": true if its answer is to count as this daemon''s health');
  end if;
  if (spec ->> 'health_url' ~ '^/' or spec ? 'port_fixed' or spec ? 'port_flag') and not towpath.has_port(spec) then
    perform towpath.fail('TW400', 'spec has a port to use, but none to give to the daemon', 'set port, port_flag, or {port} in args or env');
  end if;
  if coalesce((spec ->> 'port_fixed')::boolean, false) and not spec ? 'port' then
    perform towpath.fail('TW400', 'spec.port_fixed needs spec.port');
  end if;
  if coalesce((spec ->> 'timeout_s')::numeric, 2) > coalesce((spec ->> 'ready_s')::numeric, 30) then
    perform towpath.fail('TW400', 'spec.timeout_s is above spec.ready_s: no check could end in time');
  end if;
end $$;
comment on function towpath.check_spec(text, jsonb) is 'Refuses a daemon''s name or spec that could not be kept running.';

create or replace function towpath.has_port(spec jsonb) returns boolean
language sql immutable as $$
  select spec ?| '{port,port_flag}' or coalesce(spec -> 'args', '[]') @? '$[*] ? (@ like_regex "[{]port[}]")'
         or coalesce(spec -> 'env', '{}') @? '$.* ? (@ like_regex "[{]port[}]")'
$$;
comment on function towpath.has_port(jsonb) is 'Whether a daemon of this spec gets a port.';

create or replace function towpath.spec_put(name text, spec jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
begin
  perform towpath.check_spec(name, spec);
  insert into towpath.daemon as d (name, spec, created_at, updated_at) values (spec_put.name, spec_put.spec, towpath.now(), towpath.now())
  on conflict on constraint daemon_pkey do update set spec = excluded.spec, updated_at = excluded.updated_at where d.spec <> excluded.spec;
end $$;
comment on function towpath.spec_put(text, jsonb) is
'Registers a daemon by name, or changes it from its next start by a person. spec: command (a name, or an absolute path), args, dir, env; port (wanted), port_flag (args that end with it and the port), port_fixed (no other port will do), {port} in args and env; health_url (a path on its port, or a URL; remote: also of another machine) or health_cmd, every interval_s (5), each within timeout_s (2), failures (3) in a row are unhealthy; ready_s (30) to become healthy first; restart always (default), on_failure or never, restarts (5) in a row, backoff_s (60) at most between them, forgiven after stable_s (60); grace_s (10) from SIGTERM to SIGKILL; outlives: it lives on when its worker dies (default: with a port it does); session: its owner; log_bytes (1 MiB) kept of each output.';

create or replace function towpath.spec_delete(name text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  d towpath.daemon;
begin
  select * into d from towpath.daemon x where x.name = spec_delete.name for update;
  if exists (select from towpath.process p where p.id = d.process_id and p.finalized_at is null) then
    perform towpath.fail('TW409', format('daemon "%s" is not stopped', name), 'stop it first');
  end if;
  delete from towpath.daemon x where x.name = spec_delete.name;
  return found;
end $$;
comment on function towpath.spec_delete(text) is 'Forgets a daemon that does not run; false when there was none. Its processes stay.';

create or replace function towpath.specs() returns table (name text, spec jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select d.name, d.spec from towpath.daemon d order by d.name
$$;
comment on function towpath.specs() is 'The registered daemons with their specs, for operators.';
