create or replace function towpath.unknown(process_id text, what text default 'process') returns void
language plpgsql stable as $$
declare
  g towpath.tombstone;
begin
  select * into g from towpath.tombstone x where x.kind = 'process' and x.id = process_id;
  if found then
    perform towpath.fail('TW410', format('process "%s" is no longer retained', g.id),
                         format('it was %s at %s and pruned at %s', g.status, g.finalized_at, g.pruned_at));
  end if;
  perform towpath.fail('TW404', format('unknown %s "%s"', what, coalesce(process_id, '')), 'towpath.processes lists them; `worker ps` too');
end $$;
comment on function towpath.unknown(text, text) is 'Says of an id that no process has whether one had it.';

create or replace function towpath.no_of(process_id text) returns bigint
language plpgsql stable as $$
declare
  n bigint;
begin
  select p.no into n from towpath.process p where p.id = process_id;
  if n is null then
    perform towpath.unknown(process_id);
  end if;
  return n;
end $$;
comment on function towpath.no_of(text) is 'The number of a process, or an error when there is none, or none any more.';

create or replace function towpath.check_fresh(process_id text, tenant text, project text, key bytea) returns void
language plpgsql stable as $$
declare
  g towpath.tombstone;
begin
  select * into g from towpath.tombstone x
  where x.kind = 'process' and x.id = process_id
     or key is not null and x.tenant = check_fresh.tenant and x.project = check_fresh.project and x.key_digest = key limit 1;
  if found then
    perform towpath.fail('TW410', case when g.id = process_id then format('process "%s" is no longer retained', g.id)
                                       else format('idempotency_key was used for process "%s", which is no longer retained', g.id) end,
                         format('it was %s at %s; take a new id or key for a new request', g.status, g.finalized_at));
  end if;
end $$;
comment on function towpath.check_fresh(text, text, text, bytea) is
'Refuses an id or key of a process that was pruned: a request that comes very late is not executed a second time. Call it after the insert, so that no prune slips in between.';
