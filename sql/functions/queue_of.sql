create or replace function towpath.queue_of(kind text) returns text
language sql immutable parallel safe as $$
  select case
    when kind = 'turn' then 'turns'
    when kind in ('start', 'stop', 'restart', 'health_check', 'sweep', 'wake', 'login') then 'lifecycle'
    when kind in ('gc', 'prune', 'scan_plugins', 'storage') then 'gc'
  end
$$;
comment on function towpath.queue_of(text) is 'The queue of each job kind that we know; null for a stranger''s.';

create or replace function towpath.job_of(class text) returns text
language sql immutable parallel safe as $$
  select case class when 'turn' then 'turn' when 'daemon' then 'start' end
$$;
comment on function towpath.job_of(text) is 'The job kind that executes a process of this class; null where somebody comes and claims it.';
