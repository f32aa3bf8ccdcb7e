-- The sliding window; follows charge.lua.
--
-- A policy's hash has the count of each slot under the slot's number, `b` the
-- time of its first charge, and per node `n:` the total charged and `q:` the
-- last batch of refunds applied.

-- read returns a policy's state. count[1] is the oldest slot that may share a
-- window with now, count[last] the present one.
local function read(i)
  local at = 14 + 4 * (i - 1)
  local p = {
    key = KEYS[i], limit = tonumber(ARGV[at]), slots = tonumber(ARGV[at + 2]),
    own = tonumber(ARGV[at + 3]), count = {}, sum = 0, born = now, total = 0,
    write = {}, drop = {}, others = {},
  }
  p.width = math.ceil(tonumber(ARGV[at + 1]) / p.slots)
  p.last = p.slots + 1
  p.first = math.floor(now / p.width) - p.slots
  for s = 1, p.last do p.count[s] = 0 end
  local h = redis.call('HGETALL', p.key)
  p.empty = #h == 0
  for j = 1, #h, 2 do
    local f, v = h[j], tonumber(h[j + 1])
    local s = string.match(f, '^%d+$') and tonumber(f) - p.first + 1
    if s and s > p.last then
      -- The clock was set back: what it counted later than now counts now.
      p.drop[#p.drop + 1] = f
      p.count[p.last] = p.count[p.last] + v
      p.sum = p.sum + v
      p.write[p.last] = true
    elseif s and s >= 1 then
      p.count[s] = p.count[s] + v
      p.sum = p.sum + v
    elseif s then
      p.drop[#p.drop + 1] = f
    elseif f == 'b' then p.born = v
    elseif f == total_field then p.total = v
    elseif f == seq_field then p.seq = v
    else p.others[#p.others + 1] = f end
  end
  return p
end

local function add(p, s, amount)
  p.count[s] = p.count[s] + amount
  p.sum = p.sum + amount
  p.write[s] = true
  p.changed = true
end

-- refund takes back what was never spent, once, and only from the counts that
-- the charge went to.
local function refund(p, i)
  if seq == 0 or (p.seq and p.seq >= seq) or (again and not p.seq) then return end
  for at = first_refund, #ARGV, 2 + n do
    local s = tonumber(ARGV[at + 1 + i]) - p.first + 1
    if s >= 1 and s <= p.last and tonumber(ARGV[at]) >= p.born then
      local amount = math.min(p.count[s], tonumber(ARGV[at + 1]))
      if amount > 0 then add(p, s, -amount) end
    end
  end
  p.seq_write = seq
  p.changed = true
end

-- left_at is the time until a slot leaves the window.
local function left_at(p, s) return (p.first + s + p.slots) * p.width - now end

-- wait is the time until cost fits, by the counts as they are.
local function wait(p)
  local left = p.sum
  for s = 1, p.last do
    left = left - p.count[s]
    if left + cost <= p.limit then return left_at(p, s) end
  end
  return left_at(p, p.last)
end

local function reset(p)
  for s = 1, p.last do
    if p.count[s] > 0 then return left_at(p, s) end
  end
  return 0
end

local function save(p)
  local fields = { total_field, int(p.total) }
  for s in pairs(p.write) do
    local f = int(p.first + s - 1)
    if p.count[s] > 0 then
      fields[#fields + 1] = f
      fields[#fields + 1] = int(p.count[s])
    else
      p.drop[#p.drop + 1] = f
    end
  end
  if p.empty then
    fields[#fields + 1] = 'b'
    fields[#fields + 1] = int(now)
  end
  if p.seq_write then
    fields[#fields + 1] = seq_field
    fields[#fields + 1] = int(p.seq_write)
  end
  -- Nodes come and go with restarts; what they left here only serves repairs.
  if #p.others > 64 then
    for _, f in ipairs(p.others) do p.drop[#p.drop + 1] = f end
  end
  if #p.drop > 0 then redis.call('HDEL', p.key, unpack(p.drop)) end
  redis.call('HSET', p.key, unpack(fields))
  redis.call('PEXPIRE', p.key, math.ceil((p.slots + 2) * p.width / 1000))
end

local ps = {}
local available, tight, rem, total = nil, 1, nil, math.max(expected, 0)
for i = 1, n do
  local p = read(i)
  ps[i] = p
  local missing = lost(p.empty, p.total, p.own)
  if missing > 0 then add(p, p.last, missing) end
  refund(p, i)
  local left = p.limit - p.sum
  if not available or left < available then available, tight = left, i end
  local slot_left = (p.first + p.last) * p.width - now
  if not rem or slot_left < rem then rem = slot_left end
  if p.total > total then total = p.total end
end

local ban = banned()
local granted, wait_left = 0, 0
if ban == 0 and cost <= available then
  granted = math.max(math.min(available, want), 0)
  local more = demand * rem / 1000000000
  if more >= 2 then
    more = math.floor(more + math.sqrt(more))
  elseif more >= 0.5 and demand >= 4000 then
    -- One in advance is likely to be spent. If not, it goes back with a call that
    -- is made anyway: with a demand of 4/s there is one before settleAfter.
    more = want + 1
  end
  granted = math.max(granted, math.min(math.floor(more), math.floor(available / share)))
elseif ban == 0 then
  for i = 1, n do
    local p = ps[i]
    if p.limit - p.sum < cost then
      local w = wait(p)
      if w > wait_left then wait_left, tight = w, i end
    end
  end
end
total = total + granted

local reply = { granted, tight - 1, math.max(available - granted, 0), wait_left, reset(ps[tight]), rem, total, now, ban }
for i = 1, n do
  local p = ps[i]
  if granted > 0 then add(p, p.last, granted) end
  if p.changed then
    p.total = total
    save(p)
  end
  reply[#reply + 1] = p.first + p.slots
end
return reply
