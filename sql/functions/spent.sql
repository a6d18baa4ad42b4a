create or replace function towpath.spent(session text) returns numeric
language sql stable as $$
  select coalesce(sum(coalesce(u.input_tokens, 0) + coalesce(u.output_tokens, 0)), 0) from towpath.usage u where u.session_id = spent.session
$$;
comment on function towpath.spent(text) is 'What the turns of a session have cost, as far as it is known.';

create or replace function towpath.spent(profile text, per text) returns numeric
language sql stable as $$
  select coalesce(sum(coalesce(u.input_tokens, 0) + coalesce(u.output_tokens, 0)), 0) from towpath.usage u
  where u.profile = spent.profile and u.at >= date_trunc(per, towpath.now(), 'UTC')
$$;
comment on function towpath.spent(text, text) is 'What the turns of a profile have cost in this UTC day or month, as far as it is known.';

create or replace view towpath.gates as
  select f.name as profile, g.account, g.capacity,
         (select count(*) from towpath.lease l join towpath.process p on p.no = l.process_no where p.profile = f.name and p.class = 'turn') as running,
         case when g.held_until > towpath.now() then g.held_until end as held_until, case when g.held_until > towpath.now() then g.held_for end as held_for,
         case when g.held_until > towpath.now() then g.held_by end as held_by,
         g.budget, g.per, case when g.budget is not null then towpath.spent(f.name, g.per) end as used,
         (select count(*) from towpath.process p where p.status = 'waiting' and p.wait ->> 'kind' = 'budget' and p.profile = f.name) as paused
  from towpath.profile f left join towpath.gate g on g.profile = f.name;
comment on view towpath.gates is
'What holds back the turns of each profile: its provider''s hold, capacity over all nodes, budget; running now, and paused for a budget of the profile or of their session.';
