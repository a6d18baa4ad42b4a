create or replace function towpath.fall_back(p towpath.process, kind text) returns jsonb
language plpgsql as $$
declare
  input   jsonb := (select towpath.content_of(i) from towpath.input i where i.process_no = p.no and i.kind = 'turn');
  profile text := p.spec ->> 'fallback';
  next    text;
  session text;
begin
  if profile is null then
    return '{}';
  end if;
  -- What else the input says is in the words of one profile.
  if input ?| '{text,messages}' then
    input := (select jsonb_object_agg(e.key, e.value) from jsonb_each(input) e where e.key in ('text', 'messages'));
  end if;
  begin
    next := (select a.process_id from towpath.accept_turn(profile, input, null, 'fallback of ' || p.id,
      p.spec - '{fallback,scheduled_at,in_doubt}'::text[] || jsonb_build_object('tenant', p.tenant, 'project', p.project, 'priority', p.priority)) a);
  exception when sqlstate 'TW400' or sqlstate 'TW404' or sqlstate 'TW409' or sqlstate 'TW40I' then
    perform towpath.note(p.no, 'process.fallback', jsonb_build_object('profile', profile, 'kind', kind, 'refused', sqlerrm));
    return '{}';
  end;
  session := (select x.session_id from towpath.process x where x.id = next);
  update towpath.session s set metadata = s.metadata || jsonb_build_object('fallback_of', p.session_id) where s.id = session;
  perform towpath.note(p.no, 'process.fallback', jsonb_build_object('profile', profile, 'kind', kind, 'session', session, 'process', next));
  return jsonb_build_object('fallback', jsonb_build_object('profile', profile, 'session', session, 'process', next));
end $$;
comment on function towpath.fall_back(towpath.process, text) is
'Goes on with another profile, as the submitter of a locked turn asked: a turn with the same words in a new session of that profile, whose metadata names the old one. It begins anew, without what was said before. Returns what the outcome says of it.';
