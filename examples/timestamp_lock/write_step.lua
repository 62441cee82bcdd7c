-- What a resource does that refuses old tokens. KEYS: steps, greatest token, refused. ARGV: token, step.
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[2]) or '0') then
    redis.call('INCR', KEYS[3])
    return 0
end
redis.call('SET', KEYS[2], ARGV[1])
return redis.call('RPUSH', KEYS[1], ARGV[2])
