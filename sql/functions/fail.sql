create or replace function towpath.fail(code text, message text, hint text default '') returns void
language plpgsql as $$
begin
  raise exception using errcode = code, message = message, hint = hint;
end $$;
comment on function towpath.fail(text, text, text) is 'Raises one of our errors; the codes are listed in the package documentation of sql.';
