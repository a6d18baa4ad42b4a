-- Text of providers, stored beside what is made of it: lz4 takes less time than writing the rest does. A server that was
-- built without it stores the entries as they come.
do $$
begin
  alter table towpath.journal alter column entries set compression lz4;
  alter table towpath.journal alter column entries set storage extended;
exception when feature_not_supported then
  null;
end $$;
