--- Memory as a program has it after some work: many small strings.
-- The caller keeps the table alive while it measures.
return function(megabytes)
  local held = {}
  for i = 1, megabytes * 1000 do
    held[i] = ("%08d"):format(i):rep(120)
  end
  return held
end
