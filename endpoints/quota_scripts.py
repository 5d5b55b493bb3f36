"""The quota's scripts: what Redis does in one step, for all workers.

A quota's state lies under these keys, in this order (`KEYS[1]` to `KEYS[6]`):

    window   sorted set: answered calls, "<any>:<count>", scored with when they leave the window
    flight   sorted set: leases of calls under way, scored with when they run out
    counts   hash: how many calls each lease is of
    known    whether the past is known
    since    since when this Redis remembers; one for all quotas
    pace     hash: `next`, when the next call may go; `gap` between two; and of a limit that was
             learned: `learned` itself, `good` (the most that was taken without a refusal), `step`,
             `changed`, `wait` and `patience` (in windows), `hold` (until when nothing goes)

Times are Redis's own, in ms.
"""

from typing import Final

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_COUNT: Final = """
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', flight, '-inf', now)) do
    local left = redis.call('HGET', counts, dead) or 0
    redis.call('ZADD', window, now + window_ms, dead .. ':' .. left)
    redis.call('ZREM', flight, dead)
    redis.call('HDEL', counts, dead)
end
-- Those that leave in this very millisecond stay: the clock is cut to whole ones.
redis.call('ZREMRANGEBYSCORE', window, '-inf', '(' .. now)
local flying, used = 0, 0
for _, count in ipairs(redis.call('HVALS', counts)) do flying = flying + count end
for _, member in ipairs(redis.call('ZRANGE', window, 0, -1)) do
    used = used + tonumber(string.match(member, ':(%d+)$'))
end
"""

# lease, want, lease ms, per window, window ms, at once, keep s, recheck ms, ahead ms, share
# -> {count, ms until it is worth asking again, ms until the first may go, us between two,
#     whether as many are under way as may be at once}
TAKE: Final = f"""
local window, flight, counts, known, pace = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6]
local lease, want, lease_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local per_window, window_ms, at_once = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local keep, recheck_ms, ahead_ms = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
local share = tonumber(ARGV[10])
{_NOW}
local since = redis.call('SET', KEYS[5], now, 'NX', 'GET') or now
if redis.call('EXISTS', known) == 0 then
    if now - since <= 2 * window_ms then return {{-1, 0, 0, 0, 0}} end
    redis.call('SET', known, 1, 'EX', keep)
end
local paced = redis.call('HMGET', pace, 'next', 'learned', 'changed', 'wait', 'step', 'hold')
local next, hold = tonumber(paced[1] or 0), tonumber(paced[6] or 0)
if hold > now then return {{0, hold - now, 0, 0, 0}} end
{_COUNT}
local most = per_window
if paced[2] then
    local learned, step = tonumber(paced[2]), tonumber(paced[5])
    if used + flying >= 0.9 * learned and now - paced[3] >= paced[4] * window_ms then
        -- It was taken in full for a while, and nothing was refused: perhaps it is more again.
        redis.call('HSET', pace, 'good', learned, 'learned', learned + step, 'step', 2 * step,
            'changed', now, 'wait', 1)
        learned = learned + step
    end
    if learned >= per_window then
        redis.call('HDEL', pace, 'learned', 'good', 'changed', 'wait', 'step', 'patience')
    end
    most = math.min(learned, per_window)
end

local gap = window_ms / (most * share)
-- What of the last window was not used may go at once; but once the window is full, none does.
next = math.max(next, now - window_ms)
local left = most - used - flying
if left <= 0 then next = math.max(next, now) end
local soon = math.floor((now + ahead_ms - next) / gap) + 1
local free = math.min(want, left, at_once - flying, soon)
for i = 1, 4 do redis.call('EXPIRE', KEYS[i], keep) end
if free > 0 then
    redis.call('ZADD', flight, now + lease_ms, lease)
    redis.call('HSET', counts, lease, free)
    redis.call('EXPIRE', flight, keep)
    redis.call('EXPIRE', counts, keep)
else
    free = 0
end
local first = next
next = next + free * gap
redis.call('HSET', pace, 'next', string.format('%.3f', next), 'gap', gap)
redis.call('EXPIRE', pace, keep)
local function taken(wait, crowded)
    return {{free, math.max(wait, 0), math.floor(first - now), math.floor(gap * 1000), crowded}}
end
if free > 0 and free == at_once - flying then return taken(0, 1) end
if free == want then return taken(0, 0) end
local oldest = redis.call('ZRANGE', window, 0, 0, 'WITHSCORES')
if left <= free and oldest[2] then return taken(oldest[2] - now + 1, 0) end
if soon <= free then return taken(math.ceil(next - now - ahead_ms / 2), 0) end
return taken(recheck_ms, 0)
"""

# lease, answered, unused, window ms, keep s
GIVE_BACK: Final = f"""
local window, flight, counts, pace = KEYS[1], KEYS[2], KEYS[3], KEYS[6]
local lease, answered, unused = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local held = tonumber(redis.call('HGET', counts, lease) or 0)
if held == 0 then return end
answered = math.min(answered, held)
unused = math.min(unused, held - answered)
if answered > 0 then
    {_NOW}
    redis.call('ZADD', window, now + tonumber(ARGV[4]), lease .. ':' .. held .. ':' .. answered)
    redis.call('EXPIRE', window, ARGV[5])
end
if unused > 0 then
    local gap = tonumber(redis.call('HGET', pace, 'gap') or 0)
    redis.call('HINCRBYFLOAT', pace, 'next', -unused * gap)
end
local left = held - answered - unused
if left == 0 then
    redis.call('HDEL', counts, lease)
    redis.call('ZREM', flight, lease)
else
    redis.call('HSET', counts, lease, left)
end
"""

# lease, lease ms, held, keep s. A beat says what it holds, too: whoever lost that (a flush, a lease
# that ran out) learns it again.
EXTEND: Final = f"""
local flight, counts = KEYS[2], KEYS[3]
{_NOW}
redis.call('ZADD', flight, now + tonumber(ARGV[2]), ARGV[1])
redis.call('HSET', counts, ARGV[1], ARGV[3])
redis.call('EXPIRE', flight, ARGV[4])
redis.call('EXPIRE', counts, ARGV[4])
"""

# per window, window ms, keep s, hold ms, apart ms, step, patience, most patience
# -> the limit that was learned, and whether it is news
REFUSED: Final = f"""
local window, flight, counts, pace = KEYS[1], KEYS[2], KEYS[3], KEYS[6]
local per_window, window_ms, keep = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local step, patience = tonumber(ARGV[6]), tonumber(ARGV[7])
{_NOW}
local paced = redis.call('HMGET', pace, 'learned', 'good', 'changed', 'patience')
local learned, good = tonumber(paced[1] or per_window), tonumber(paced[2] or per_window)
redis.call('HSET', pace, 'hold', now + tonumber(ARGV[4]))
redis.call('EXPIRE', pace, keep)
-- Of calls that were under way together each may be refused: it is one piece of news.
if paced[3] and now - paced[3] < tonumber(ARGV[5]) then return {{learned, 0}} end
{_COUNT}
local most = math.min(learned, per_window)
-- It came while little of the limit was used, so the limit is not what it tells of.
if used + flying < most / 2 then return {{learned, 0}} end
if paced[1] and learned > good then
    learned = good
    patience = math.min(2 * tonumber(paced[4]), tonumber(ARGV[8]))
else
    learned = math.max(1, math.floor(math.min(used + flying, most) / 2))
end
redis.call('HSET', pace, 'learned', learned, 'good', learned, 'step', step, 'changed', now,
    'wait', patience, 'patience', patience)
return {{learned, 1}}
"""

# -> 1 if nothing may go just now
HELD: Final = f"""
{_NOW}
return tonumber(redis.call('HGET', KEYS[6], 'hold') or 0) > now and 1 or 0
"""

# keep s, learned or 0, step, patience, then pairs of (ms until it leaves the window, count)
RESTORE: Final = f"""
local window, known, pace = KEYS[1], KEYS[4], KEYS[6]
if redis.call('EXISTS', known) == 1 then return end
{_NOW}
for i = 5, #ARGV, 2 do
    redis.call('ZADD', window, now + ARGV[i], 'restored' .. i .. ':' .. ARGV[i + 1])
end
redis.call('SET', known, 1, 'EX', ARGV[1])
redis.call('EXPIRE', window, ARGV[1])
if tonumber(ARGV[2]) > 0 then
    redis.call('HSET', pace, 'learned', ARGV[2], 'good', ARGV[2], 'step', ARGV[3], 'changed', now,
        'wait', ARGV[4], 'patience', ARGV[4])
    redis.call('EXPIRE', pace, ARGV[1])
end
"""

# As TAKE counts, but nothing is changed. -> {used, flying, learned or 0}
USAGE: Final = f"""
local window, flight, counts, pace = KEYS[1], KEYS[2], KEYS[3], KEYS[6]
{_NOW}
local flying, used = 0, 0
for _, lease in ipairs(redis.call('ZRANGEBYSCORE', flight, now, '+inf')) do
    flying = flying + (redis.call('HGET', counts, lease) or 0)
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', window, now, '+inf')) do
    used = used + tonumber(string.match(member, ':(%d+)$'))
end
return {{used, flying, tonumber(redis.call('HGET', pace, 'learned') or 0)}}
"""
