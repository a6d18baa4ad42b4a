create or replace function towpath.guard_phase() returns trigger
language plpgsql as $$
declare
  -- One expression, and no CHECK nor WHEN: Postgres reads those anew for each statement, this once a transaction.
  refused text := case
    when old.finalized_at is not null
         and (old.finalized_at is distinct from new.finalized_at or old.boundary_seq is distinct from new.boundary_seq
              or old.outcome_ref is not null and old.outcome_ref is distinct from new.outcome_ref)
      then format('has ended as %s', old.phase)
    when old.phase <> new.phase and not case old.phase
         when 'queued'  then new.phase in ('staged', 'applied', 'consumed', 'superseded', 'coalesced', 'rejected', 'abandoned')
         when 'staged'  then new.phase in ('queued', 'applied', 'consumed', 'superseded', 'rejected', 'abandoned')
         -- What a receipt names has been applied for good.
         when 'applied' then new.phase = 'consumed' or new.phase = 'queued' and old.boundary_seq is null
         else false
       end then format('cannot go from %s to %s', old.phase, new.phase)
  end;
begin
  if refused is not null then
    perform towpath.fail('TW409', format('input "%s" %s', old.id, refused));
  end if;
  -- Terminal means ended; a command has its place in its run; what a boundary names was applied; only a process stages and applies.
  if not (case new.phase
            when 'queued' then true when 'staged' then new.process_no is not null when 'applied' then new.process_no is not null
            when 'consumed' then true when 'superseded' then true when 'coalesced' then true when 'rejected' then true
            when 'abandoned' then true else false end
          and (new.phase in ('queued', 'staged', 'applied')) = (new.finalized_at is null)
          and (new.run_no is null) = (new.run_seq is null)
          and (new.boundary_seq is null or new.process_no is not null and new.phase in ('applied', 'consumed'))) then
    raise exception using errcode = 'check_violation', schema = 'towpath', table = 'input', constraint = 'lifecycle',
      message = format('input "%s": %s is not a phase with what belongs to it (lifecycle)', new.id, new.phase);
  end if;
  if old.phase <> new.phase then
    new.history := old.history
      || jsonb_strip_nulls(jsonb_build_object('at', towpath.now(), 'from', old.phase, 'to', new.phase, 'reason', new.reason));
  end if;
  return new;
end $$;
comment on function towpath.guard_phase() is
'An input ends once. Refuses a phase that does not follow the one before or lacks what belongs to it, and records the others.';

create or replace trigger towpath_phase before insert or update of phase, finalized_at, process_no, run_no, run_seq, boundary_seq, outcome_ref
  on towpath.input for each row execute function towpath.guard_phase();
create or replace trigger towpath_fixed before update of id, session_id, seq, kind, payload, payload_sha, content_bytes, created_at on towpath.input
  for each statement execute function towpath.refuse_change('what an input says does not change');
create or replace trigger towpath_policy before update of policy, topic, source, durability on towpath.input
  for each row when (old.policy <> '{}') execute function towpath.refuse_change('what was decided about an input does not change');

create or replace function towpath.store_payload() returns trigger
language plpgsql as $$
declare
  said text := new.payload::text;
begin
  new.payload_sha := sha256(convert_to(said, 'UTF8'));
  if octet_length(said) > 65536 then
    insert into towpath.input_content (input_id, body) values (new.id, new.payload);
    new.content_bytes := octet_length(said);
    new.payload := '{}';
  end if;
  return new;
end $$;
comment on function towpath.store_payload() is 'Moves a payload above 64 KiB out of the row before anybody is told that it was accepted.';

create or replace trigger towpath_payload before insert on towpath.input for each row execute function towpath.store_payload();

create or replace function towpath.content_of(i towpath.input) returns jsonb
language plpgsql stable as $$ -- plpgsql keeps its plan
begin
  return case when i.content_bytes is null then i.payload
              else (select c.body from towpath.input_content c where c.input_id = i.id) end;
end $$;
comment on function towpath.content_of(towpath.input) is 'What an input says, wherever it is kept.';
