-- The generic cell rate algorithm; follows charge.lua. There are no leases.
--
-- A policy's hash has the theoretical arrival time under `a`, and per node `n:`
-- the total charged and `q:` the last batch of refunds applied.

local function read(i)
  local at = 14 + 4 * (i - 1)
  local limit, window = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local p = {
    key = KEYS[i], limit = limit, window = window,
    step = limit > 0 and math.ceil(window / limit) or window,
  }
  local h = redis.call('HMGET', p.key, 'a', total_field, seq_field)
  p.arrival = math.max(tonumber(h[1] or 0), now)
  p.total = tonumber(h[2] or 0)
  p.seq = h[3] and tonumber(h[3])
  -- A clock that was set back must not refuse for longer than a full window.
  p.arrival = math.min(p.arrival, now + p.step * limit)
  local missing = lost(not h[1], p.total, tonumber(ARGV[at + 3]))
  if missing > 0 then
    p.arrival = p.arrival + missing * p.step
    p.changed = true
  end
  return p
end

local function refund(p)
  if seq == 0 or (p.seq and p.seq >= seq) or (again and not p.seq) then return end
  for at = first_refund, #ARGV, 2 + n do
    p.arrival = math.max(p.arrival - tonumber(ARGV[at + 1]) * p.step, now)
  end
  p.seq_write = seq
  p.changed = true
end

local function save(p)
  local fields = { 'a', int(p.arrival), total_field, int(p.total) }
  if p.seq_write then
    fields[#fields + 1] = seq_field
    fields[#fields + 1] = int(p.seq_write)
  end
  redis.call('HSET', p.key, unpack(fields))
  redis.call('PEXPIRE', p.key, math.ceil((p.arrival - now + p.window) / 1000))
end

local ps = {}
local available, tight, total = nil, 1, math.max(expected, 0)
for i = 1, n do
  local p = read(i)
  ps[i] = p
  refund(p)
  local left = math.floor((now + p.step * p.limit - p.arrival) / p.step)
  if not available or left < available then available, tight = left, i end
  if p.total > total then total = p.total end
end

local ban = banned()
local granted, wait_left = 0, 0
if ban == 0 and cost <= available then
  granted = math.max(math.min(available, want), 0)
elseif ban == 0 then
  for i = 1, n do
    local p = ps[i]
    local w = p.arrival + p.step * cost - now - p.step * p.limit
    if w > wait_left then wait_left, tight = w, i end
  end
end
total = total + granted

local p = ps[tight]
local reply = { granted, tight - 1, math.max(available - granted, 0), wait_left, math.min(p.arrival - now, p.step), p.step, total, now, ban }
for i = 1, n do
  p = ps[i]
  if granted > 0 then
    p.arrival = p.arrival + granted * p.step
    p.changed = true
  end
  if p.changed then
    p.total = total
    save(p)
  end
  reply[#reply + 1] = 0
end
return reply
