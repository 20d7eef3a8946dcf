"""What a Redis does by itself, in one step, for one key: Lua (Redis 5 or later, Valkey). docs/redis.md has the bounds and why they hold.

The clock is Redis's own (TIME), so that those of the nodes do not matter. Times are whole microseconds: a double holds them exactly. Each script
touches one key, and each key dies when it says no more than its absence would.
"""

from __future__ import annotations

from hashlib import sha1

from msgspec import Struct

BACK_WITHIN = 30  # seconds in which units of a rate may come back: the longest lease, and time to spare

_NOW = """
local at = redis.call('TIME')
local now = at[1] * 1000000 + at[2]
local function whole(number) return string.format('%.0f', number) end
"""

# A rate is a token bucket as GCRA: the key holds the instant at which all that was granted is paid for, and how far units that came back have moved it
# towards now. Costs are rounded up, and all limits are reckoned with the same costs, so that nothing beyond `burst` fits. An instant further ahead than a
# full bucket comes from a clock that was put back.
_COST = """
local units, us, burst = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local function cost(number) return math.ceil(number * us / units) end
local full = cost(burst)
local paid, moved = string.match(redis.call('GET', KEYS[1]) or '0 0', '^(%d+) (%d+)$')
paid, moved = math.max(tonumber(paid), now), tonumber(moved)
local function keep(instant, shift)
  paid, moved = instant, moved + shift
  local life = paid - now + (moved > 0 and KEPT or 0)
  redis.call('SET', KEYS[1], whole(paid) .. ' ' .. whole(moved), 'PX', whole(math.ceil(life / 1000) + 1))
end
if paid > now + full then keep(now + full, paid - now - full) end
""".replace("KEPT", str(BACK_WITHIN * 1_000_000))

_TAKE_RATE = f"""{_NOW}{_COST}
local wanted, lease = math.min(tonumber(ARGV[1]), burst), tonumber(ARGV[5])
local free = now + full - paid
local granted = math.max(0, math.min(wanted, math.floor(free * units / us)))
if granted > 0 and cost(granted) > free then granted = granted - 1 end
if granted > 0 then
  keep(paid + cost(granted), 0)
  free = now + full - paid
end
local left = math.min(burst, math.floor(free * units / us))
-- Whoever got nothing comes back when there is something worth the way, and soon enough that the bucket does not run over meanwhile.
local wait = math.max(cost(1) - free, math.min(lease / 10, full / 2))
return {{granted, left, granted > 0 and lease or math.ceil(wait), now, paid + moved - now}}
"""

# Grants lie one behind the other up to `paid`. What of a grant lies before now has been paid for by the time that passed, spent or not: if that came back
# too, the bucket would hold more than `burst`. ARGV[5], ARGV[6]: when it was granted, and how far ahead of that it ended then.
_BACK_RATE = f"""{_NOW}{_COST}
local granted, ahead = tonumber(ARGV[5]), tonumber(ARGV[6])
if now - granted > {BACK_WITHIN * 1_000_000} then return 0 end
local back, ends = math.floor(tonumber(ARGV[1]) * us / units), granted + ahead - moved
local credit = math.min(back, ends - now, paid - now)
if credit > 0 then keep(paid - credit, credit) end
return credit
"""

# Who reads what was used needs names. All but the limit are in the key's hash already, so that they are written once, and when the limit is another.
# They come as one argument: of a client that has not logged in Redis takes ten at most, and then does not say that it should.
_NAMED = """
local function named(limit)
  if limit == ARGV[2] then return end
  local quota, window, key = string.match(ARGV[6], '^(.*)\\n(.-)\\n(.-)$')
  redis.call('HSET', KEYS[1], 'limit', ARGV[2], 'quota', quota, 'window', window, 'key', key)
end
"""

# A calendar quota is a hash: `used` units, and `over`, when the last lease ends; beside them its names. Begin and end of the period come from the node, which knows
# calendars; a node whose idea of the time lies outside of it is told the time and asks again.
_TAKE_CALENDAR = f"""{_NOW}{_NAMED}
local wanted, limit, begins, ends, lease = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if now < begins or now >= ends then return {{-1, 0, 0, now, 0}} end
local kept = redis.call('HMGET', KEYS[1], 'used', 'over', 'limit')
local used, over = tonumber(kept[1] or 0), tonumber(kept[2] or 0)
local granted = math.max(0, math.min(wanted, limit - used))
local life = math.min(lease, ends - now)
if granted > 0 then
  redis.call('HSET', KEYS[1], 'used', whole(used + granted), 'over', whole(math.max(over, now + life)))
  named(kept[3])
  redis.call('PEXPIRE', KEYS[1], whole(math.ceil((ends - now) / 1000) + 1))
elseif now < over then
  life = math.min(life, over - now)  -- a lease that runs may give units back
else
  life = ends - now
end
return {{granted, math.max(0, limit - used - granted), life, now, begins / 1000000}}
"""

# A rolling quota is a hash of slices of time: units are counted in the slice in which their lease ends, so that they were spent in it or before.
# A slice counts as long as any instant of it lies in the window.
_TAKE_ROLLING = f"""{_NOW}{_NAMED}
local wanted, limit, us, slice, lease = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local first = math.floor((now - us) / slice)
local kept = redis.call('HGETALL', KEYS[1])
local used, over, oldest, known = 0, 0, nil, nil
for index = 1, #kept, 2 do
  local units, place = tonumber(kept[index + 1]), tonumber(kept[index])
  if not place then
    if kept[index] == 'over' then over = units end
    if kept[index] == 'limit' then known = kept[index + 1] end
  elseif place < first or units == 0 then
    redis.call('HDEL', KEYS[1], kept[index])
  else
    used = used + units
    oldest = math.min(oldest or place, place)
  end
end
local granted = math.max(0, math.min(wanted, limit - used))
local place, life = math.floor((now + lease) / slice), lease
if granted > 0 then
  redis.call('HINCRBY', KEYS[1], whole(place), whole(granted))
  redis.call('HSET', KEYS[1], 'over', whole(math.max(over, now + lease)))
  named(known)
  redis.call('PEXPIRE', KEYS[1], whole(math.ceil(((place + 1) * slice + us - now) / 1000) + 1))
else
  life = (oldest or first) * slice + slice + us - now
  if now < over then life = math.min(life, over - now) end
end
return {{granted, math.max(0, limit - used - granted), math.max(life, 1000), now, place}}
"""

_BACK_QUOTA = """
local used = tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or 0)
local back = math.min(used, tonumber(ARGV[1]))
if back > 0 then redis.call('HINCRBY', KEYS[1], ARGV[2], string.format('%.0f', -back)) end
return back
"""


# Arguments as listed below. Those that take answer: granted (-1: another period), left, life in microseconds, now, and what they were counted in.


class Script(Struct, frozen=True):
    """A script and the name that Redis knows it by."""

    text: str
    sha: str


def _script(text: str) -> Script:
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


TAKE_RATE, BACK_RATE = _script(_TAKE_RATE), _script(_BACK_RATE)  # wanted, units, us, burst, lease · back, units, us, burst, granted, ahead
TAKE_CALENDAR, TAKE_ROLLING = _script(_TAKE_CALENDAR), _script(_TAKE_ROLLING)  # wanted, limit, begin, end, lease · wanted, limit, us, slice, lease; then names
BACK_QUOTA = _script(_BACK_QUOTA)  # back, field
