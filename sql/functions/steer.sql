create or replace function towpath.steer(process_id text, content jsonb, idempotency_key text default null) returns text
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select towpath.address(process_id, 'steer', content, idempotency_key)
$$;
comment on function towpath.steer(text, jsonb, text) is
'Says something to a turn that has not ended, and returns the input''s id. A running turn sees it at once; what it has not seen at its end becomes the session''s next turn, or is rejected, as late_steer says.';

create or replace function towpath.answer(process_id text, content jsonb, idempotency_key text default null) returns text
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select towpath.address(process_id, 'answer', content, idempotency_key)
$$;
comment on function towpath.answer(text, jsonb, text) is 'Answers what a running turn asked: an approval or a tool call.';
