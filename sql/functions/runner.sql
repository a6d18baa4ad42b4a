create or replace function towpath.node_describe(id text, incarnation uuid, metadata jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
begin
  perform towpath.check_payload(metadata, 'metadata', null);
  if octet_length(metadata::text) > 65536 then
    perform towpath.fail('TW413', 'metadata is above 64 KiB');
  end if;
  update towpath.node n set metadata = towpath.redact(node_describe.metadata), seen_at = towpath.now()
  where n.id = node_describe.id and n.incarnation = node_describe.incarnation;
  if not found then
    perform towpath.fail('TW409', format('node "%s" has no incarnation %s', id, incarnation), 'node_start comes first; two workers of one name push each other out');
  end if;
end $$;
comment on function towpath.node_describe(text, uuid, jsonb) is 'What a node says about itself for people; what looks like a credential is left out.';

create or replace function towpath.runner_job_put(run text, idempotency_key text, spec jsonb, out id text, out duplicate boolean)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  r       towpath.process;
  j       towpath.runner_job;
  request bytea;
begin
  perform towpath.check_payload(spec, 'spec', idempotency_key);
  if idempotency_key is null then
    perform towpath.fail('TW400', 'idempotency_key is missing', 'what is started outside must not be started twice');
  end if;
  r := towpath.locked_run(run);
  request := towpath.digest(spec);
  select * into j from towpath.runner_job x where x.run_no = r.no and x.key_digest = towpath.digest(idempotency_key);
  duplicate := found;
  if not found then
    perform towpath.check_run(r);
    insert into towpath.runner_job (id, run_no, seq, key_digest, digest, spec, created_at)
    select towpath.new_id('j'), r.no, coalesce(max(x.seq), 0) + 1, towpath.digest(idempotency_key), request, towpath.redact(runner_job_put.spec), towpath.now()
    from towpath.runner_job x where x.run_no = r.no
    returning * into j;
  elsif j.digest <> request then
    perform towpath.fail('TW40I', 'idempotency_key was used for another runner job', format('runner job "%s" has it', j.id));
  end if;
  id := j.id;
end $$;
comment on function towpath.runner_job_put(text, text, jsonb) is
'Records what is about to be started outside to work on a run, once per run and key. The same key and spec give the same row, another spec an error.';

create or replace function towpath.runner_jobs(run text, after integer default 0, max integer default 100)
returns table (id text, seq integer, spec jsonb, created_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  n bigint;
begin
  select p.no into n from towpath.process p where p.id = run and p.class = 'run';
  if n is null then
    perform towpath.unknown(run, 'run');
  end if;
  if max is null or max not between 1 and 1000 then
    perform towpath.fail('TW400', 'max is not between 1 and 1000');
  end if;
  return query select j.id, j.seq, j.spec, j.created_at from towpath.runner_job j
               where j.run_no = n and j.seq > coalesce(after, 0) order by j.seq limit max;
end $$;
comment on function towpath.runner_jobs(text, integer, integer) is 'The runner jobs of a run after a sequence number, oldest first.';
