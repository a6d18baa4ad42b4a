create or replace function towpath.new_id(prefix text) returns text
language sql volatile parallel safe as $$
  select prefix || '_' || lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0')
         || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 14)
$$;
comment on function towpath.new_id(text) is 'A time-ordered id: the prefix and a version 7 UUID in hex.';
