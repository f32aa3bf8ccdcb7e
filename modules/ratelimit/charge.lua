-- Charges one key under all of its policies, or under none.
--
-- KEYS  one hash per policy, then the key's ban, then its denials
-- ARGV   1 number of policies
--        2 cost: the least that is of use to the caller
--        3 want: what its callers wait for now, at least cost
--        4 demand: events per 1000 s it expects, for which it may get a lease; 0: none
--        5 share: a lease takes at most this fraction (1/share) of what is left
--        6 node: who asks
--        7 total: how much the node believes to have charged to this key so far; -1: unknown
--        8 seq: number of the batch of refunds below; 0: none
--        9 again: 1 if the batch may have been applied before
--       10 denials to add; 11 denials that bring a ban; 12 within µs; 13 length of the ban in µs
--       then per policy: limit, window in µs, slots, what the node counts itself
--       then per refund: when it was issued in µs, amount, its slot in each policy
--
-- All times are whole µs of this server's clock.
--
-- Returns granted, policy (from 0), remaining under it, wait, reset, time left
-- of the shortest slot, total, now, ban left in µs, then each policy's slot.

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local n = tonumber(ARGV[1])
local cost, want, demand, share = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local total_field, seq_field = 'n:' .. ARGV[6], 'q:' .. ARGV[6]
local expected, seq, again = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9] == '1'
local first_refund = 14 + 4 * n

-- lost is what the node charged and this server does not know: it lost data, or
-- the node had to admit without it. A key lives longer than what it counts, so a
-- key that is gone has lost all that the node still counts itself.
local function lost(empty, total, own)
  if empty then return own end
  return math.max(math.min(expected - total, own), 0)
end

local function int(x) return string.format('%.0f', x) end

-- banned adds the denials and returns how long the ban still lasts.
local function banned()
  local left = redis.call('PTTL', KEYS[n + 1])
  if left == -1 then return 31536000000000 end
  if left > 0 then return left * 1000 end
  local denials, threshold = tonumber(ARGV[10]), tonumber(ARGV[11])
  if denials == 0 or threshold == 0 then return 0 end
  local width = math.ceil(tonumber(ARGV[12]) / 12)
  local slot, sum, old = math.floor(now / width), denials, {}
  local h = redis.call('HGETALL', KEYS[n + 2])
  for j = 1, #h, 2 do
    if tonumber(h[j]) >= slot - 12 then sum = sum + tonumber(h[j + 1]) else old[#old + 1] = h[j] end
  end
  if sum >= threshold then
    local length = tonumber(ARGV[13])
    redis.call('DEL', KEYS[n + 2])
    redis.call('SET', KEYS[n + 1], '1', 'PX', math.ceil(length / 1000))
    return length
  end
  if #old > 0 then redis.call('HDEL', KEYS[n + 2], unpack(old)) end
  redis.call('HINCRBY', KEYS[n + 2], int(slot), denials)
  redis.call('PEXPIRE', KEYS[n + 2], math.ceil(14 * width / 1000))
  return 0
end
