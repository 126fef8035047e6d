-- SPDX-License-Identifier: MIT
-- What Sluice does inside Redis, each call in one atomic step. As a function library (Redis 7) each handler is
-- registered as sluice_NAME; as a script (Redis 6) the handler's name is the first argument.
--
-- Keys of channel NAME, whose first segment is FIRST (docs/REDIS.md):
--   sluice:{FIRST}:m:NAME       hash: epoch, offset, time, until, bytes, all that ever were in the stream, limits, tree, whether it is
--                               one, why it was begun, log, the epoch that it began with, run, the master that wrote last, and
--                               before, its forebears (see read_forebears)
--   sluice:{FIRST}:s:NAME       stream: one entry a message, id OFFSET-0; in that of a tree also those that stand for the messages
--                               of channels below it
--   sluice:{FIRST}:k:NAME#KEY   string: what a publish with that idempotency key was answered
--   sluice:{FIRST}:p:NAME       Pub/Sub channel of the envelopes
--   sluice:{FIRST}:n            Pub/Sub channel of names whose log was begun
-- and of revoked tokens:
--   sluice:{$tokens}:u          sorted set: 'token JTI' and 'subject SUB', by the time in ms until which it is kept
--   sluice:{$tokens}:b          hash, by the same: those that were issued after this time in ms are good
--   sluice:{$tokens}:r          Pub/Sub channel of the forms that src/core/revocation.h has
--   sluice:{$tokens}:z          stream of such forms, field `form`, as version 4 kept them

local VERSION = 6
-- Messages kept, for how long, how long a channel and a key are remembered, in ms, and bytes kept; nobody has said whether there are
-- events.
local LIMITS = '100 300000 3600000 120000 4194304'
local SIZE_MAX = 67108864
local FIELDS_MAX = 64 -- of an entry, names and values: far more than we write
local TRIM_EVERY = 32
local TREES_MAX = 8 -- above a channel
local ENTRY_BYTES = 64 -- counted for each besides what it holds
local SLACK_MS = 10000 -- that keys live longer, at most, so that not every publish sets their lives anew
local FOREBEARS = 8
local REVOKED = 'sluice:{$tokens}:u'
local REVOKED_BEFORE = 'sluice:{$tokens}:b'
local REVOKED_OLD = 'sluice:{$tokens}:z'
local REVOKED_MAX = 100000 -- as in src/auth/revoked.h
local REVOKED_PAGE = 1000
local LEASES_OF_EVENTS = 'sluice:{$channel}:l' -- see the end
local LIVES = 'sluice:{$channel}:e'
local ENDS = 'sluice:{$channel}:t'
local HEARD = 'sluice:{$channel}:w'

local IS_7 = (redis.REDIS_VERSION_NUM or 0) >= 0x00070000 -- with sharded Pub/Sub and NOMKSTREAM of XADD

local handlers = {}

-- Anybody can write to our keys. A number is believed when it is one that Lua writes in full again, so at most 14 digits.
local function whole(text)
    return text and #text <= 14 and string.find(text, '^%d+$') and tonumber(text)
end

-- As an argument of a command: Lua itself writes numbers as fractions, which takes five times as long.
local function digits(number)
    return string.format('%d', number)
end

local function is_epoch(text)
    return text and #text == 12 and not string.find(text, '[^0-9a-hjkmnp-tv-z]')
end

-- SipHash-2-4 of the name under the key of src/core/epoch.c; of the result only the low 32 bits are wanted.

local function add(ah, al, bh, bl)
    local low = al % 4294967296 + bl % 4294967296
    return bit.tobit(ah + bh + (low >= 4294967296 and 1 or 0)), bit.tobit(low)
end

local function rotate(h, l, n)
    return bit.bor(bit.lshift(h, n), bit.rshift(l, 32 - n)), bit.bor(bit.lshift(l, n), bit.rshift(h, 32 - n))
end

-- Of two of the four words, whose halves begin at a and b.
local function mix(v, a, b, n)
    v[a], v[a + 1] = add(v[a], v[a + 1], v[b], v[b + 1])
    v[b], v[b + 1] = rotate(v[b], v[b + 1], n)
    v[b], v[b + 1] = bit.bxor(v[b], v[a]), bit.bxor(v[b + 1], v[a + 1])
end

local function round(v)
    mix(v, 1, 3, 13)
    v[1], v[2] = v[2], v[1]
    mix(v, 5, 7, 16)
    mix(v, 1, 7, 21)
    mix(v, 5, 3, 17)
    v[5], v[6] = v[6], v[5]
end

local function word(text, at)
    local a, b, c, d = string.byte(text, at, at + 3)
    return bit.tobit(a + b * 256 + c * 65536 + d * 16777216)
end

local function siphash(text)
    local key = 'sluice-epoch-v1\0'
    local k0l, k0h, k1l, k1h = word(key, 1), word(key, 5), word(key, 9), word(key, 13)
    local v = {
        bit.bxor(k0h, 0x736f6d65), bit.bxor(k0l, 0x70736575), bit.bxor(k1h, 0x646f7261), bit.bxor(k1l, 0x6e646f6d),
        bit.bxor(k0h, 0x6c796765), bit.bxor(k0l, 0x6e657261), bit.bxor(k1h, 0x74656462), bit.bxor(k1l, 0x79746573),
    }
    local rest = #text % 8
    local padded = text .. string.rep('\0', 7 - rest) .. string.char(#text % 256)
    for at = 1, #padded, 8 do
        local low, high = word(padded, at), word(padded, at + 4)
        v[7], v[8] = bit.bxor(v[7], high), bit.bxor(v[8], low)
        round(v)
        round(v)
        v[1], v[2] = bit.bxor(v[1], high), bit.bxor(v[2], low)
    end
    v[6] = bit.bxor(v[6], 0xff)
    for _ = 1, 4 do
        round(v)
    end
    return bit.bxor(v[2], v[4], v[6], v[8])
end

local ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'

local function hash_name(name)
    local hash, text = siphash(name), ''
    for i = 0, 4 do
        local digit = bit.band(bit.rshift(hash, 5 * i), 31)
        text = text .. string.sub(ALPHABET, digit + 1, digit + 1)
    end
    return text
end

local run, run_ms = '', 0

-- The replication id of this master: another one after each start and each promotion, which take more than a millisecond. Empty
-- where the caller may not ask.
local function find_run(log)
    if run == '' or run_ms ~= log.now then
        local info = redis.pcall('INFO', 'replication')
        run = type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''
        run_ms = log.now
    end
    return run
end

-- A script has no random numbers of its own: the time, the name and the master tell epochs apart.
local function new_epoch(log)
    local random = redis.sha1hex(log.here .. ' ' .. log.clock[1] .. '.' .. log.clock[2] .. ' ' .. log.name)
    local text = log.name_part or hash_name(log.name)
    for i = 1, 13, 2 do
        local digit = tonumber(string.sub(random, i, i + 1), 16) % 32
        text = text .. string.sub(ALPHABET, digit + 1, digit + 1)
    end
    return text
end

-- The log.

-- Ends the call with that reply (see guard).
local function refuse(reply)
    error({ refused = reply }, 0)
end

local function fail(text)
    refuse(redis.error_reply('ERR sluice: ' .. text))
end

local BAD_NAME = 'a channel name is 1 to 255 bytes of A-Z a-z 0-9 - _ . ~ : @ ! $ \' ( ) * + , ; = in segments separated by /, none of them * or **'

-- Seconds and microseconds.
local function clock()
    return redis.call('TIME')
end

-- What was used last, by the channel's name, and the names by key: functions keep their locals, and making these again takes as long
-- as a command does. Of what is in Redis nothing is believed from one call to the next.
local KNOWN_MOST = 256
local known_logs, known_names, names_count, logs_count = {}, {}, 0, 0

-- What load_log finds has its place from the beginning: a table that grows is made again and again.
local function make_log(name)
    local prefix = 'sluice:{' .. string.match(name, '^[^/]+') .. '}:'
    return {
        name = name, prefix = prefix, clock = false, now = false,
        meta = prefix .. 'm:' .. name,
        stream = prefix .. 's:' .. name,
        feed = prefix .. 'p:' .. name,
        offset = false, epoch = false, is_bad = false, time = false, till = false, old_limits = false, limits = false, run = false,
        why = false, log = false, before = false, bytes = false, is_tree = false, here = false, name_part = false, keep = false,
        keep_ms = false, meta_ms = false, key_ms = false, keep_bytes = false, at = false, next = false,
        trees_text = false, trees = false, events = false,
    }
end

-- `time` is that of the call, as Redis says it, `now` the same in ms.
local function use_log(log, time, now)
    log.clock, log.now = time, now
    log.time, log.why, log.log, log.before, log.here, log.name_part, log.next = false, false, false, false, false, false, false
    return log
end

local function name_log(name, time, now)
    local log = known_logs[name]
    if not log then
        if logs_count == KNOWN_MOST then
            known_logs, logs_count = {}, 0
        end
        log = make_log(name)
        known_logs[name] = log
        logs_count = logs_count + 1
    end
    return use_log(log, time, now)
end

local function key_of(log, key)
    return log.prefix .. 'k:' .. log.name .. '#' .. key
end

-- A key is the channel's name, in a Cluster with its first segment in braces so that the call goes to where the channel's keys
-- are; or, with the others declared behind it so that it is safe while slots move, the key of its hash.
local function read_name(key)
    local name = string.match(key, '^sluice:{[^{}]*}:m:(.*)$') or string.gsub(key, '^{([^{}]*)}', '%1')
    local fenced = '/' .. name .. '/'
    if #name == 0 or #name > 255 or string.find(name, "[^%w%-_%.~:@!%$'%(%)%*%+,;=/]") or string.find(fenced, '//', 1, true)
        or string.find(fenced, '/./', 1, true) or string.find(fenced, '/../', 1, true)
        or string.find(fenced, '/*/', 1, true) or string.find(fenced, '/**/', 1, true) then
        fail(BAD_NAME)
    end
    if names_count == KNOWN_MOST then
        known_names, names_count = {}, 0
    end
    known_names[key] = name
    names_count = names_count + 1
    return name
end

local function open_log(key)
    local name = known_names[key] or read_name(key)
    local time = clock()
    return name_log(name, time, tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
end

local function refuse_type(key, kind)
    refuse(redis.error_reply('WRONGTYPE key ' .. key .. ' is not a ' .. kind))
end

local function error_of(answer)
    return type(answer) == 'table' and answer.err
end

-- The answer of a call, unless it is an error; which names the key where something else is at it.
local function check(answer, key, kind)
    if error_of(answer) then
        if string.find(answer.err, 'WRONGTYPE', 1, true) then
            refuse_type(key, kind)
        end
        refuse(answer)
    end
    return answer
end

-- Those that were read last: nearly all calls have the same few.
local known_limits, known_count = {}, 0

-- Numbers, which must not overflow when they are added to the time. Version 4 wrote no bytes: then they are not limited; version 5
-- nothing of events.
local function read_limits(text)
    local known = known_limits[text or '']
    if known then
        return known
    end
    local keep, keep_ms, meta_ms, key_ms, bytes, events = string.match(text or '', '^(%d+) (%d+) (%d+) (%d+) ?(%d*) ?([01]?)$')
    if keep and #keep <= 12 and #keep_ms <= 12 and #meta_ms <= 12 and #key_ms <= 12 and #bytes <= 13 then
        if known_count == 64 then
            known_limits, known_count = {}, 0
        end
        known_limits[text] = { tonumber(keep), tonumber(keep_ms), tonumber(meta_ms), tonumber(key_ms), tonumber(bytes) or math.huge,
            events }
        known_count = known_count + 1
        return known_limits[text]
    end
end

-- Words of EPOCH-OFFSET, the newest first: the messages that this log had under that epoch up to that offset are those that it has
-- now. Version 2 wrote no offset: then nobody knows.
local function read_forebears(text)
    local forebears = {}
    for epoch, offset in string.gmatch(string.sub(text, 1, 28 * FOREBEARS), '(%w+)%-?(%d*)') do
        if is_epoch(epoch) then
            forebears[#forebears + 1] = { epoch = epoch, shared = whole(offset) }
        end
    end
    return forebears
end

local function write_forebears(forebears)
    local words = {}
    for i = 1, math.min(#forebears, FOREBEARS) do
        words[i] = forebears[i].epoch .. (forebears[i].shared and '-' .. forebears[i].shared or '')
    end
    return table.concat(words, ' ')
end

-- How much of the log of that epoch this one has.
local function find_shared(log, epoch)
    for _, forebear in ipairs(read_forebears(log.before)) do
        if forebear.epoch == epoch then
            return forebear.shared
        end
    end
end

local BAD_LIMITS = 'limits must be whole numbers below 10^12: messages, ms for messages, channels and keys, bytes of messages, '
    .. 'and whether there are events'

-- What publishing mostly does without.
local function read_rest(log, time, why, begun, before)
    log.time = whole(time) or 0
    log.why = why == 'purged' and 'purged' or 'epoch'
    log.log = begun or ''
    log.before = before or ''
end

local function load_rest(log)
    read_rest(log, unpack(redis.call('HMGET', log.meta, 'time', 'why', 'log', 'before'), 1, 4))
end

local function set_limits(log, text)
    if log.limits ~= text then
        log.limits = text
        log.keep, log.keep_ms, log.meta_ms, log.key_ms, log.keep_bytes, log.events = unpack(read_limits(text))
        log.keep = log.keep_bytes > 0 and log.keep or 0
    end
end

-- `limits` have been checked. Of what others may have written to the hash, what is not as we write it counts as missing; without
-- epoch and offset the log is lost.
local function load_log(log, limits)
    local meta = check(redis.pcall('HMGET', log.meta, 'epoch', 'offset', 'until', 'limits', 'run', 'bytes', 'tree'), log.meta, 'hash')
    log.offset = whole(meta[2])
    log.epoch = log.offset and (meta[1] == log.epoch or is_epoch(meta[1])) and meta[1]
    log.is_bad = not log.epoch and (meta[1] or meta[2]) and true
    log.till = whole(meta[3]) or 0
    log.old_limits = meta[4]
    set_limits(log, limits or read_limits(meta[4]) and meta[4] or LIMITS)
    log.run = meta[5] or ''
    log.bytes = whole(meta[6]) or 0
    log.at = log.bytes > 0 and meta[6] or '0'
    log.is_tree = meta[7] == '1'
end

local function has_stream(log)
    local kind = redis.call('TYPE', log.stream).ok
    return kind == 'none' or kind == 'stream'
end

local function require_stream(log)
    if not has_stream(log) then
        refuse_type(log.stream, 'stream')
    end
end

-- For those who only look.
local function get_log(key, limits)
    local log = open_log(key or '')
    if limits and not read_limits(limits) then
        fail(BAD_LIMITS)
    end
    load_log(log, limits)
    load_rest(log)
    require_stream(log)
    return log
end

-- A log that is there, or false.
local function find_log(key)
    local log = get_log(key)
    if log.is_bad then
        refuse(redis.error_reply('BADLOG key ' .. log.meta .. ' does not hold what Sluice writes there'))
    end
    return log.epoch and log or false
end

local function publish_on(channel, bytes)
    if IS_7 then
        redis.call('SPUBLISH', channel, bytes)
    else
        redis.call('PUBLISH', channel, bytes)
    end
end

local function is_reserved(log)
    return string.find('/' .. log.name, '/$', 1, true)
end

-- What happens to channels that have events (docs/PRESENCE.md), in the slot of $channel:
--   sluice:{$channel}:e         hash: NAME, when its log was begun and when it was purged last, in microseconds; 0 when never
--   sluice:{$channel}:t         sorted set: NAME, by the time in ms when its log ends unless it is written to
--   sluice:{$channel}:w         Pub/Sub channel, in a Cluster: 'life1 WORD STAMP ENDS NAME'; every node that hears it hands it to
--                               `occupancy`, because a function does not reach from the slot of NAME to that of $channel

local function tell_event(event, name, now)
    local text = 'presence1 ' .. event .. ' ' .. string.format('%.0f', now) .. '\n{"channel":"' .. name .. '"}'
    publish_on('sluice:{$channel}:p:$channel', text)
    publish_on('sluice:{$channel}:p:$channel/' .. name, text)
end

-- Remembers a log, and tells what nobody has told yet. `event` is `created`, `purged`, or `known` of a log that is there already; it
-- happened at `stamp`. What is not `certain` may be heard of more than once: what is not newer than what is known is not news.
local function note_life(name, event, stamp, ends, now, certain)
    local born, purged = string.match(redis.call('HGET', LIVES, name) or '', '^(%d+) (%d+)$')
    born, purged = tonumber(born), tonumber(purged) or 0
    if event == 'purged' then
        if certain or stamp > purged then
            tell_event('purged', name, now)
            purged = stamp
        end
    elseif event == 'created' and (certain or not born) or born and stamp > born then
        -- Of the log before nobody has seen yet that it has ended.
        if born then
            tell_event('forgotten', name, now)
        end
        tell_event('created', name, now)
        born = stamp
    end
    born = born or stamp
    redis.call('HSET', LIVES, name, string.format('%.0f %.0f', born, purged))
    redis.call('ZADD', ENDS, string.format('%.0f', ends), name)
end

local function is_reserved(log)
    return string.find('/' .. log.name, '/$', 1, true)
end

local function stamp_of(log)
    return log.clock[1] * 1000000 + log.clock[2]
end

-- Whether a channel has events a node says with its limits. Of one of which none has said it they are told, as long as any node has
-- channels with events, or where that cannot be seen: nodes tell on what they have events for.
local function note_event(log, event)
    if log.events == '0' or is_reserved(log) then
        return
    end
    local found = redis.pcall('EXISTS', LEASES_OF_EVENTS)
    local is_elsewhere = type(found) == 'table' -- an error: in another slot
    if log.events ~= '1' and found == 0 then
        return
    end
    local stamp, ends = stamp_of(log), log.now + log.keep_ms + log.meta_ms
    if event == 'created' then
        redis.call('HSET', log.meta, 'born', digits(stamp))
    elseif event == 'known' then
        redis.call('HSETNX', log.meta, 'born', digits(stamp))
        stamp = tonumber(redis.call('HGET', log.meta, 'born')) or 0
    end
    if is_elsewhere then
        redis.call('PUBLISH', HEARD, string.format('life1 %s %.0f %.0f %s', event, stamp, ends, log.name))
    else
        note_life(log.name, event, stamp, ends, log.now, event ~= 'known')
    end
end

-- Begins a new log: what was kept under the old one goes.
local function begin(log, why)
    require_stream(log)
    local is_new = not log.epoch and not log.is_bad and why ~= 'purged'
    local epoch = new_epoch(log)
    redis.call('HSET', log.meta, 'epoch', epoch, 'offset', '0', 'time', '0', 'until', '0', 'bytes', '0', 'limits', log.limits,
        'run', log.here, 'why', why, 'log', epoch, 'before', '')
    redis.call('DEL', log.stream)
    redis.call('PEXPIRE', log.meta, log.keep_ms + log.meta_ms)
    log.epoch, log.log, log.offset, log.time, log.till, log.run, log.why = epoch, epoch, 0, 0, 0, log.here, why
    log.old_limits, log.before, log.bytes, log.at, log.next = log.limits, '', 0, '0', false
    publish_on(log.prefix .. 'n', log.name)
    if is_new then
        note_event(log, 'created')
    end
end

-- Whether there has to be a stream.
local function has_messages(log)
    return log.offset > 0 and log.till > log.now
end

local function is_evicted(log)
    return has_messages(log) and redis.call('EXISTS', log.stream) == 0
end

local function offset_of(entry)
    return tonumber(string.match(entry[1], '^%d+'))
end

local function field(entry, name)
    local fields = entry[2]
    for i = 1, #fields, 2 do
        if fields[i] == name then
            return fields[i + 1]
        end
    end
end

local function time_of(entry)
    return whole(field(entry, 'time')) or 0
end

-- For its age, or for the bytes of all that is newer and its own: `at` is how many were in the stream before it. The newest is
-- kept however large it is.
local function is_over(log, entry)
    local at = whole(field(entry, 'at'))
    return time_of(entry) + log.keep_ms <= log.now
        or at and log.bytes - at > log.keep_bytes and offset_of(entry) < log.offset
end

-- What an entry takes in an answer; nothing that we have written is larger than `data` may be, and a little.
local function weigh(entry)
    local fields, size = entry[2], 64
    for i = 1, #fields do
        size = size + #fields[i]
    end
    return #fields <= FIELDS_MAX and size <= SIZE_MAX + 65536 and size
end

-- The first offset that is kept; offset + 1 when there is none. Ages and bytes grow with offsets, so it can be searched for by
-- halves.
local function find_oldest(log)
    local low, high = math.max(1, log.offset - log.keep + 1), log.offset + 1
    local last = log.offset .. '-0'
    local first = low < high and redis.call('XRANGE', log.stream, low .. '-0', last, 'COUNT', 1)[1]
    if not first then
        return high
    end
    low = offset_of(first)
    if not is_over(log, first) then
        return low
    end
    while low + 1 < high do
        local middle = math.floor((low + high) / 2)
        local entry = redis.call('XRANGE', log.stream, middle .. '-0', last, 'COUNT', 1)[1]
        if entry and is_over(log, entry) then
            low = offset_of(entry)
        else
            high = middle
        end
    end
    return high
end

-- Whether the stream holds what the meta data says; keys may have been evicted, restored or written by others.
local function is_sound(log)
    if is_evicted(log) or not has_stream(log) then
        return false
    end
    local last = redis.call('XREVRANGE', log.stream, '+', '-', 'COUNT', 1)[1]
    return not last or offset_of(last) == log.offset
end

-- Which master writes.

-- Another one than wrote last, or the same one restarted: what the other had accepted may be lost.
local function is_elsewhere(log)
    return log.here ~= '' and log.run ~= log.here
end

-- The log goes on under a new epoch, so that no offset that was lost is given again under the old one. What is here is what both have:
-- nobody is told but who has seen more.
local function renew(log)
    local forebears = { { epoch = log.epoch, shared = log.offset } }
    if not log.before then
        load_rest(log)
    end
    for _, elder in ipairs(read_forebears(log.before)) do
        elder.shared = elder.shared and math.min(elder.shared, log.offset)
        forebears[#forebears + 1] = elder
    end
    log.epoch, log.run, log.before = new_epoch(log), log.here, write_forebears(forebears)
    redis.call('HSET', log.meta, 'epoch', log.epoch, 'run', log.run, 'before', log.before)
    publish_on(log.feed, table.concat({ 'sluice2 failover ', log.epoch, ' ', log.offset, ' ', log.now, ' 0 text 0 0 0 0 0 0\n' }))
end

-- A node may know of an epoch that was lost together with the word of it: it says which forebears that one had. Through those of
-- them that are known here, too, it and the others are forebears of this log.
local function learn(log, epoch, text)
    local theirs, shared = read_forebears(text), nil
    for _, forebear in ipairs(theirs) do
        local here = forebear.epoch == log.epoch and log.offset or find_shared(log, forebear.epoch)
        if here and forebear.shared then
            shared = math.max(shared or 0, math.min(here, forebear.shared))
        end
    end
    if not shared then
        return
    end
    local forebears = { { epoch = epoch, shared = shared } }
    for _, forebear in ipairs(theirs) do
        if forebear.shared and forebear.epoch ~= log.epoch and not find_shared(log, forebear.epoch) then
            forebears[#forebears + 1] = { epoch = forebear.epoch, shared = math.min(forebear.shared, shared) }
        end
    end
    log.before = write_forebears(forebears) .. ' ' .. log.before
    log.before = write_forebears(read_forebears(log.before))
    redis.call('HSET', log.meta, 'before', log.before)
end

-- Publishing.

-- RFC 3629.
local UTF8 = {
    '^[\194-\223][\128-\191]()', '^\224[\160-\191][\128-\191]()', '^[\225-\236\238\239][\128-\191][\128-\191]()',
    '^\237[\128-\159][\128-\191]()', '^\240[\144-\191][\128-\191][\128-\191]()',
    '^[\241-\243][\128-\191][\128-\191][\128-\191]()', '^\244[\128-\143][\128-\191][\128-\191]()',
}

local function is_utf8(text)
    local at = string.find(text, '[\128-\255]')
    while at do
        local behind
        for _, pattern in ipairs(UTF8) do
            behind = behind or string.match(text, pattern, at)
        end
        if not behind then
            return false
        end
        at = string.find(text, '[\128-\255]', behind)
    end
    return true
end

-- For error and open browsers call an EventSource's own handlers; the others Sluice sends itself.
local RESERVED = { reset = true, error = true, open = true, subscribed = true, expired = true }

-- What Sluice itself publishes, which bears a mark, has been checked.
local function check_message(options)
    local data, event = options.data, options.event
    if #data > SIZE_MAX or #event > 255 or string.find(event, '%c') then
        fail('data has at most 64 MiB, an event at most 255 bytes without control characters')
    end
    if RESERVED[event] then
        fail('the event ' .. event .. ' is Sluice\'s or the browser\'s own; choose another name')
    end
    if options.mark ~= '' then
        return
    end
    if options.type ~= 'binary' and not is_utf8(data) then
        fail('the data is not UTF-8; publish bytes with type binary')
    end
    if options.type == 'json' and not pcall(cjson.decode, data) then
        fail('the data is not JSON')
    end
    if not is_utf8(event .. options.producer .. options.mime .. options.conflate .. options.key) then
        fail('event, producer, mime, conflate and key must be UTF-8')
    end
end

local TYPES = { text = true, json = true, binary = true }

local function read_options(args)
    local options = { type = 'text', ttl = '0', producer = '', mime = '', conflate = '', store = 'yes', key = '', mark = '', part = '' }
    for i = 3, #args, 2 do
        local name, value = args[i], args[i + 1]
        if not options[name] and name ~= 'limits' and name ~= 'trees' or not value then
            fail('unknown option ' .. string.sub(name, 1, 40)
                .. ', or one without a value; there are key, ttl, type, producer, mime, conflate, store')
        end
        options[name] = value
    end
    if not TYPES[options.type] then
        fail('type must be text, json or binary')
    end
    if not string.match(options.ttl, '^%d%d?%d?%d?%d?%d?%d?%d?$') then
        fail('ttl must be a whole number of seconds')
    end
    if options.store ~= 'yes' and options.store ~= 'no' then
        fail('store must be yes or no')
    end
    if options.limits and not read_limits(options.limits) then
        fail(BAD_LIMITS)
    end
    for _, name in ipairs({ 'producer', 'mime', 'conflate', 'key', 'mark' }) do
        if #options[name] > 255 or string.find(options[name], '%c') then
            fail(name .. ' must be up to 255 bytes without control characters')
        end
    end
    options.data, options.event = args[1], args[2] or ''
    return options
end

-- The fields of an entry that not every message has. `channel` is that which it was published to, in the log of a tree above it.
local function list_optional(message, channel)
    local fields = {}
    for _, field in ipairs({
        { 'event', message.event }, { 'ttl', message.ttl ~= '0' and message.ttl or '' }, { 'producer', message.producer },
        { 'mime', message.mime }, { 'key', message.conflate }, { 'channel', channel or '' }, { 'mark', channel and '' or message.mark },
    }) do
        if field[2] ~= '' then
            fields[#fields + 1] = field[1]
            fields[#fields + 1] = field[2]
        end
    end
    return fields
end

-- `optional` are fields. Returns false when the stream was evicted.
local function append(log, message, optional)
    log.next = digits(log.offset + 1)
    if IS_7 and has_messages(log) then
        return redis.pcall('XADD', log.stream, 'NOMKSTREAM', 'MAXLEN', '~', digits(log.keep), log.next .. '-0', 'time', message.time,
            'at', log.at, 'type', message.type, 'data', message.data, unpack(optional))
    end
    return redis.pcall('XADD', log.stream, 'MAXLEN', '~', digits(log.keep), log.next .. '-0', 'time', message.time,
        'at', log.at, 'type', message.type, 'data', message.data, unpack(optional))
end

-- Now and then, what is over goes; in between readers pass over it. `size` is what the last message has added.
local function trim(log, size)
    local step = math.max(log.keep_bytes / 8, 1)
    if log.offset % TRIM_EVERY == 0 or math.floor(log.bytes / step) > math.floor((log.bytes - size) / step) then
        local first = redis.call('XRANGE', log.stream, '-', '+', 'COUNT', 1)[1]
        if first and is_over(log, first) then
            redis.call('XTRIM', log.stream, 'MINID', find_oldest(log) .. '-0')
        end
    end
end

-- Returns the error, if it is one.
local function keep(log, message, optional)
    local answer = append(log, message, optional)
    local err = error_of(answer) or ''
    -- Evicted, or the stream has gone further than the hash says: "equal or smaller", or "exhausted the last possible ID".
    if not answer or string.find(err, ' smaller ', 1, true) or string.find(err, 'exhausted', 1, true) then
        begin(log, 'epoch')
        answer = append(log, message, optional)
    end
    return error_of(answer) and answer
end

local function take_back(log)
    redis.call('XDEL', log.stream, (log.offset + 1) .. '-0')
    if log.offset > 0 then
        redis.call('XSETID', log.stream, log.offset .. '-0')
    else
        redis.call('DEL', log.stream)
    end
end

-- Into all of the logs or none. The first is the channel's own.
local function keep_in_all(logs, message)
    local optional = list_optional(message)
    for i, log in ipairs(logs) do
        if i == 2 then
            optional = list_optional(message, logs[1].name)
        end
        local failure = log.keep > 0 and keep(log, message, optional)
        if failure then
            for j = 1, i - 1 do
                if logs[j].keep > 0 then
                    take_back(logs[j])
                end
            end
            check(failure, log.stream, 'stream')
        end
    end
end

local function slack_of(log)
    return math.min(math.floor(log.keep_ms / 16), SLACK_MS)
end

local function outlive_hash(log)
    redis.call('PEXPIRE', log.meta, digits(log.keep_ms + slack_of(log) + log.meta_ms))
end

-- The keys live at least as long as the limits say from now on, and a little longer.
local function outlive(log)
    if log.keep > 0 then
        log.till = log.now + log.keep_ms + slack_of(log)
        redis.call('PEXPIRE', log.stream, digits(math.max(log.keep_ms + slack_of(log), 1)))
    else
        log.till = 0
    end
    outlive_hash(log)
end

-- Whether the keys' lives end too early, or far too late: the clock was set back, or the limits are other ones.
local function has_to_outlive(log)
    local till = log.now + log.keep_ms
    return log.till < till or log.till > till + slack_of(log) or log.old_limits ~= log.limits
end

-- The hash follows the stream.
local function advance(log, message, is_tree)
    local size = message.size
    log.offset = log.offset + 1
    log.next = log.next or digits(log.offset)
    if log.keep > 0 then
        log.bytes = log.bytes + size
        log.at = digits(log.bytes)
    end
    redis.call('HSET', log.meta, 'offset', log.next, 'time', message.time, 'bytes', log.at)
    if has_to_outlive(log) then
        outlive(log)
        redis.call('HSET', log.meta, 'until', digits(log.till), 'limits', log.limits)
        if log.old_limits ~= log.limits then
            note_event(log, 'known')
        end
    end
    if is_tree and not log.is_tree then
        redis.call('HSET', log.meta, 'tree', '1')
    end
    if log.keep > 0 then
        trim(log, size)
    end
end

-- An envelope behind epoch and offset.
local function write_rest(log, kind, message, channel)
    return string.format(' %d %s %s %d %d %d %d %d %d%s\n', log.now, message.ttl, message.type, #message.event, #message.producer,
        #message.mime, log.keep_ms, #message.conflate, #channel,
        kind == 'transient' and message.mark ~= '' and ' ' .. message.mark or '')
        .. message.event .. message.producer .. message.mime .. message.conflate .. channel .. message.data
end

-- Trees have the same envelope, but for epoch and offset, where they have the same limits.
local function tell(logs, kind, message)
    local rest
    for i, log in ipairs(logs) do
        if i < 3 or log.keep_ms ~= logs[i - 1].keep_ms then
            rest = write_rest(log, kind, message, i > 1 and logs[1].name or '')
        end
        publish_on(log.feed, 'sluice2 ' .. kind .. ' ' .. log.epoch .. ' ' .. log.next .. rest)
    end
end

-- Trees: the logs above a channel that have its messages too.

-- As a node names them: the length of each name, the part of an epoch that comes from it, and its limits.
local function parse_trees(log, text)
    local trees, named = {}, {}
    for len, part, limits in string.gmatch(text, '(%d+) (%w+) ([%d ]+)\n') do
        local name = string.sub(log.name, 1, tonumber(len))
        if #name == 0 or string.sub(log.name, #name + 1, #name + 1) ~= '/' or not read_limits(limits) or #trees == TREES_MAX
            or named[name] then
            fail('trees are at most ' .. TREES_MAX .. ' lines of LENGTH PART LIMITS, each of another length')
        end
        named[name] = true
        trees[#trees + 1] = { name = name, limits = limits, part = #part == 5 and part or false }
    end
    return trees
end

local function read_trees(log, text)
    if log.trees_text ~= text then
        log.trees = parse_trees(log, text)
        log.trees_text = text
    end
    local logs = {}
    for i, tree in ipairs(log.trees) do
        local above = name_log(tree.name, log.clock, log.now)
        load_log(above, tree.limits)
        above.name_part = tree.part
        logs[i] = above
    end
    return logs
end

-- Those that a node has said of that they are trees.
local function find_trees(log)
    local trees = {}
    for slash in string.gmatch(log.name, '()/') do
        local tree = name_log(string.sub(log.name, 1, slash - 1), log.clock, log.now)
        if redis.pcall('HGET', tree.meta, 'tree') == '1' then
            load_log(tree)
            trees[#trees + 1] = tree
        end
    end
    if #trees > TREES_MAX then
        fail('there are more than ' .. TREES_MAX .. ' trees above this channel')
    end
    return trees
end

-- What the publish with that key was answered before, as long as it is of this log.
local function recall(log, options)
    load_rest(log)
    local before = check(redis.pcall('GET', key_of(log, options.key)), key_of(log, options.key), 'string')
    local begun, offset, time, mark = string.match(before or '', '^(%w+)%-(%d+) (%d+) (.*)$')
    offset, time = whole(offset), whole(time)
    if log.epoch and begun == log.log and offset and (offset > 0 or options.store == 'no') and offset <= log.offset and time then
        return { log.epoch .. '-' .. offset, time, mark ~= '' and mark == options.mark and 0 or 1 }
    end
end

-- The part of an epoch that comes from the name takes long to work out here: a node says it. A hash that was copied or renamed from
-- another channel has an epoch by which no cursor of this one is found.
local function set_name_part(log, text)
    log.name_part = text and #text == 5 and text or nil
end

local function is_of_other_name(log)
    return log.name_part and string.sub(log.epoch, 1, 5) ~= log.name_part
end

-- As it has to be before anything is appended.
local function mend(log, here, is_kept)
    log.here = here
    -- Appending finds by itself that the stream was evicted.
    local has_to_look = not (IS_7 and is_kept and log.keep > 0)
    if not log.epoch or has_to_look and is_evicted(log) or is_of_other_name(log) or is_elsewhere(log) and not is_sound(log) then
        begin(log, 'epoch')
    elseif is_elsewhere(log) then
        renew(log)
    end
end

local USAGE = ' is missing: sluice_publish 1 CHANNEL DATA [EVENT [OPTION VALUE]...]'

-- Returns the id, the time, whether the idempotency key was known (0 or 1), and the ids in the logs of the trees.
function handlers.publish(keys, args)
    if not keys[1] then
        fail('the channel' .. USAGE)
    end
    local log = open_log(keys[1])
    if is_reserved(log) then
        fail('a segment of a name that begins with $ is the server\'s own: nobody publishes there')
    end
    if not args[1] then
        fail('the data' .. USAGE)
    end
    local message = read_options(args)
    check_message(message)
    load_log(log, message.limits)
    message.time = digits(log.now)
    message.size = #message.data + #message.event + #message.producer + #message.mime + #message.conflate + ENTRY_BYTES
    set_name_part(log, message.part)
    local before = message.key ~= '' and recall(log, message)
    if before then
        return before
    end
    local logs = message.trees and read_trees(log, message.trees) or find_trees(log)
    table.insert(logs, 1, log)
    local here, is_kept = find_run(log), message.store == 'yes'
    for _, each in ipairs(logs) do
        mend(each, here, is_kept)
    end
    if is_kept then
        keep_in_all(logs, message)
    end
    local reply, kind = {}, is_kept and 'message' or 'transient'
    for i, each in ipairs(logs) do
        if is_kept then
            advance(each, message, i > 1)
        else
            each.next = digits(each.offset)
            outlive_hash(each)
        end
        reply[i > 1 and i + 2 or 1] = each.epoch .. '-' .. each.next
    end
    tell(logs, kind, message)
    reply[2], reply[3] = log.now, 0
    if message.key ~= '' and log.key_ms > 0 then
        redis.call('SET', key_of(log, message.key), log.log .. '-' .. log.offset .. ' ' .. log.now .. ' ' .. message.mark,
            'PX', log.key_ms)
    end
    return reply
end

-- Reading.

-- Adds what an answer can carry, until `bytes` are reached. Returns what it takes now.
local function add_entries(entries, found, size, bytes)
    for _, entry in ipairs(found) do
        local more = weigh(entry)
        if more and size < bytes then
            entries[#entries + 1] = entry
        end
        size = size + (more or 0)
    end
    return size
end

-- Entries from..to, oldest first, until `most` or about `bytes` are reached.
local function read_forward(log, from, to, most, bytes)
    local entries, size, step = {}, 0, 4
    while #entries < most and size < bytes and from <= to do
        local found = redis.call('XRANGE', log.stream, from .. '-0', to .. '-0', 'COUNT', math.min(step, most - #entries))
        if #found == 0 then
            break
        end
        size = add_entries(entries, found, size, bytes)
        from = offset_of(found[#found]) + 1
        step = size < #entries * 4096 and 64 or 4
    end
    return entries
end

-- The newest entries from `from` on, oldest first.
local function read_tail(log, from, most, bytes)
    local entries, size, to = {}, 0, log.offset
    while #entries < most and size < bytes and from <= to do
        local found = redis.call('XREVRANGE', log.stream, to .. '-0', from .. '-0', 'COUNT', math.min(4, most - #entries))
        if #found == 0 then
            break
        end
        size = add_entries(entries, found, size, bytes)
        to = offset_of(found[#found]) - 1
    end
    local turned = {}
    for i = #entries, 1, -1 do
        turned[#turned + 1] = entries[i]
    end
    return turned
end

local function answer(log, oldest, entries)
    return { log.epoch, log.offset, oldest, log.now, log.why, write_forebears(read_forebears(log.before)), log.time, log.keep_ms,
        entries }
end

-- args: epoch known or '', offset known, the forebears of that epoch, limits, most, bytes, the part of an epoch that comes from the
-- name, and whether it is a tree (0 or 1).
-- Returns epoch, offset, oldest, now, why, forebears, last published, how long messages are kept, and the entries that follow what is
-- known (or the newest).
function handlers.open(keys, args)
    local log = get_log(keys[1], args[4])
    local epoch, known, most, bytes = args[1] or '', tonumber(args[2]) or 0, tonumber(args[5]) or 0, tonumber(args[6]) or 0
    log.here = find_run(log)
    set_name_part(log, args[7])
    if not log.epoch or not is_sound(log) or is_of_other_name(log) then
        begin(log, 'epoch')
    elseif is_elsewhere(log) or epoch == log.epoch and known > log.offset then
        renew(log)
    end
    if is_epoch(epoch) and epoch ~= log.epoch and not find_shared(log, epoch) then
        learn(log, epoch, args[3] or '')
    end
    if log.old_limits ~= log.limits then
        redis.call('HSET', log.meta, 'limits', log.limits)
        note_event(log, 'known')
    end
    if args[8] and log.is_tree ~= (args[8] == '1') then
        redis.call('HSET', log.meta, 'tree', args[8] == '1' and 1 or 0)
    end
    outlive_hash(log)
    local oldest, entries = find_oldest(log), {}
    local shared = epoch == log.epoch and known or find_shared(log, epoch)
    if shared then
        entries = read_forward(log, math.max(oldest, math.min(known, shared) + 1), log.offset, most, bytes)
    else
        entries = read_tail(log, oldest, most, bytes)
    end
    return answer(log, oldest, entries)
end

-- args: from, to, most, bytes. Returns as open does; false when there is no such channel.
function handlers.read(keys, args)
    local log = find_log(keys[1])
    if not log then
        return false
    end
    local oldest = find_oldest(log)
    local entries = read_forward(log, math.max(oldest, tonumber(args[1]) or 0), math.min(tonumber(args[2]) or 0, log.offset),
        tonumber(args[3]) or 0, tonumber(args[4]) or 0)
    return answer(log, oldest, entries)
end

-- Returns epoch, offset, oldest, bytes of memory, last published; false when there is no such channel.
function handlers.inspect(keys)
    local log = find_log(keys[1])
    if not log then
        return false
    end
    local bytes = redis.pcall('MEMORY', 'USAGE', log.stream)
    return { log.epoch, log.offset, find_oldest(log), type(bytes) == 'number' and bytes or 0, log.time }
end

-- Returns how many messages were dropped; false when there is no such channel.
function handlers.purge(keys)
    local log = get_log(keys[1])
    if not log.epoch and not log.is_bad then
        return false
    end
    local count = log.epoch and log.offset + 1 - find_oldest(log) or 0
    log.here = find_run(log)
    begin(log, 'purged')
    note_event(log, 'purged')
    publish_on(log.feed, table.concat({ 'sluice2 purged ', log.epoch, ' 0 ', log.now, ' 0 text 0 0 0 0 0 0\n' }))
    return { count }
end

-- What became of publishes whose answer was lost. args: the time in ms before which none was sent, then their marks.
-- Returns whether all of that time was seen (0 or 1), then for each mark 'EPOCH-OFFSET TIME' or ''.
function handlers.find(keys, args)
    local log = get_log(keys[1])
    local since, missing, found_at, at = tonumber(args[1]) or 0, 0, {}, {}
    for i = 2, #args do
        at[args[i]] = i
        found_at[i] = ''
        missing = missing + 1
    end
    found_at[1] = 1
    local to = log.epoch and log.offset or 0
    while missing > 0 and to > 0 do
        local found = redis.call('XREVRANGE', log.stream, to .. '-0', '-', 'COUNT', 64)
        if #found == 0 then
            found_at[1] = 0
            break
        end
        for _, entry in ipairs(found) do
            local i = at[field(entry, 'mark') or '']
            if i then
                found_at[i] = log.epoch .. '-' .. offset_of(entry) .. ' ' .. time_of(entry)
                missing = missing - 1
            end
            if (whole(field(entry, 'time')) or since) < since then
                return found_at
            end
        end
        to = offset_of(found[#found]) - 1
    end
    return found_at
end

-- Tokens.

-- Those that are over.
local function forget_revoked()
    local now_ms = clock()[1] * 1000
    local over = check(redis.pcall('ZRANGEBYSCORE', REVOKED, '-inf', now_ms, 'LIMIT', 0, REVOKED_PAGE), REVOKED, 'sorted set')
    if #over > 0 then
        redis.call('ZREM', REVOKED, unpack(over))
        check(redis.pcall('HDEL', REVOKED_BEFORE, unpack(over)), REVOKED_BEFORE, 'hash')
    end
end

-- Of two that mean the same the one that reaches further counts. Returns whether it is kept.
local function keep_revoked(who, till, before, most)
    local old = check(redis.pcall('ZSCORE', REVOKED, who), REVOKED, 'sorted set')
    if not old and redis.call('ZCARD', REVOKED) >= most then
        return false
    end
    local old_before = whole(check(redis.pcall('HGET', REVOKED_BEFORE, who), REVOKED_BEFORE, 'hash'))
    redis.call('HSET', REVOKED_BEFORE, who, math.max(before, old_before or 0))
    redis.call('ZADD', REVOKED, math.max(till, tonumber(old) or 0), who)
    return true
end

-- UNTIL, KIND TEXT and BEFORE of a form.
local function read_revoked(form)
    local till, kind, before, text = string.match(form or '', '^(%d+) (%l+) (%d+) (.+)$')
    till, before = whole(till), whole(before)
    if till and before and (kind == 'token' or kind == 'subject') then
        return till, kind .. ' ' .. text, before
    end
end

-- What version 4 kept.
local function adopt_revoked()
    while redis.call('TYPE', REVOKED_OLD).ok == 'stream' do
        local entries = redis.call('XRANGE', REVOKED_OLD, '-', '+', 'COUNT', REVOKED_PAGE)
        for _, entry in ipairs(entries) do
            local till, who, before = read_revoked(field(entry, 'form'))
            if till then
                keep_revoked(who, till, before, math.huge)
            end
            redis.call('XDEL', REVOKED_OLD, entry[1])
        end
        if #entries == 0 then
            redis.call('DEL', REVOKED_OLD)
        end
    end
end

-- args: the form. Returns 1, or 0 when as many are kept as may be.
function handlers.revoke(_, args)
    local till, who, before = read_revoked(args[1])
    if not till then
        fail('a revocation has the form UNTIL token|subject BEFORE TEXT')
    end
    adopt_revoked()
    forget_revoked()
    if not keep_revoked(who, till, before, REVOKED_MAX) then
        return 0
    end
    publish_on('sluice:{$tokens}:r', args[1])
    return 1
end

-- args: how many to pass over, how many are wanted. Returns forms, those that are kept longest first.
function handlers.revoked(_, args)
    adopt_revoked()
    local from = tonumber(args[1]) or 0
    local found = check(redis.pcall('ZREVRANGE', REVOKED, from, from + (tonumber(args[2]) or 0) - 1, 'WITHSCORES'),
        REVOKED, 'sorted set')
    local forms = {}
    for i = 1, #found, 2 do
        local kind, text = string.match(found[i], '^(%l+) (.*)$')
        -- Whose time is lost reaches as far as can be.
        local before = whole(check(redis.pcall('HGET', REVOKED_BEFORE, found[i]), REVOKED_BEFORE, 'hash')) or found[i + 1]
        forms[#forms + 1] = string.format('%s %s %s %s', found[i + 1], kind or '-', before, text or '-')
    end
    return forms
end

-- Presence (docs/PRESENCE.md). Of channel NAME, in the slot of FIRST:
--   sluice:{FIRST}:h:NAME   hash: PERSON, a record (see read_person)
--   sluice:{FIRST}:a:NAME   sorted set, all scores 0: the same names in order
--   sluice:{FIRST}:l:NAME   hash: LEASE, until when it is, how many are there without a name, and whether it is its last; #next, when the next event may be
--                           told, #sweep and #swept, how far those are taken out whose leases have lapsed, and which leases these are
--   sluice:{FIRST}:c:NAME   set: who has changed and is to be told of
-- A lease is a node's, its name NODE.NUMBER: one that has lapsed is never renewed, so that what hangs on it can be taken out. Events
-- are published on the Pub/Sub channel of NAME/$presence as 'presence1 EVENT TIME\nJSON'.
--
-- Of what happens to channels, in the slot of $channel, told on that and $channel/NAME:
--   sluice:{$channel}:o         hash: NAME, on how many nodes somebody is subscribed
--   sluice:{$channel}:l         hash: NODE, until when its lease is
--   sluice:{$channel}:b#NODE    set: the channels that are occupied there
--   sluice:{$channel}:g         set: such sets, renamed, of nodes whose leases have lapsed
-- and what note_life keeps.
--
-- After Redis was away for a while every lease has lapsed, also those of nodes that will be back in a moment. So a node says with each
-- call until when, by the clock here, it may take others out: not before it has been connected for the time of a lease, and not when
-- the call has been under way for long. Until then only those leases count as lapsed that have been given up or were a node's last, and
-- those that are older than what is kept here without being renewed.

local PACE_MS = 50 -- between messages to a reader, at least
local TOLD_BYTES = 131072 -- of members in one message
local SWEEP = 300 -- members looked at, or channels, in one call
local FORGET_MS = 120000 -- what nobody renews
local LEASE_MS = 15000 -- as in src/broker/redis/presence_desk.h; one that is shorter is a node's last

local function open_room(key)
    local log = open_log(key)
    local prefix = 'sluice:{' .. string.match(log.name, '^[^/]+') .. '}:'
    return {
        name = log.name, now = log.now, people = prefix .. 'h:' .. log.name, order = prefix .. 'a:' .. log.name,
        leases = prefix .. 'l:' .. log.name, changed = prefix .. 'c:' .. log.name, feed = log.feed .. '/$presence',
    }
end

-- 'TOLD SINCE LEASE,JOINED,TRANSPORT…\nINFO': whether readers know, since when, and by which leases.
local function read_person(room, person)
    local told, since, leases, info = string.match(redis.call('HGET', room.people, person) or '', '^([01]) (%d+)([^\n]*)\n(.*)$')
    local record = { told = told or '0', since = whole(since), info = info or '', entries = {}, was_there = told and true }
    for lease, joined, transport in string.gmatch(leases or '', '([%w%.]+),(%d+),(%w+)') do
        record.entries[#record.entries + 1] = { lease = lease, joined = joined, transport = transport }
    end
    return record
end

local function write_person(room, person, record)
    if #record.entries == 0 then
        redis.call('HDEL', room.people, person)
        redis.call('ZREM', room.order, person)
        return
    end
    local words = { record.told .. ' ' .. string.format('%.0f', record.since) }
    for _, entry in ipairs(record.entries) do
        words[#words + 1] = entry.lease .. ',' .. entry.joined .. ',' .. entry.transport
    end
    redis.call('HSET', room.people, person, table.concat(words, ' ') .. '\n' .. record.info)
    if not record.was_there then
        redis.call('ZADD', room.order, 0, person)
    end
end

local function node_of(lease)
    return string.match(lease, '^[^%.]+')
end

local function drop_entries(record, is_dropped)
    local kept = {}
    for _, entry in ipairs(record.entries) do
        if not is_dropped(entry) then
            kept[#kept + 1] = entry
        end
    end
    local count = #record.entries - #kept
    record.entries = kept
    return count
end

local function change_person(room, lease, kind, person, since, joined, transport, info)
    local record = read_person(room, person)
    local node = node_of(lease)
    drop_entries(record, function(entry) return node_of(entry.lease) == node end)
    local has_changed = not record.was_there or kind == '-' and #record.entries == 0
    if kind == '+' then
        record.entries[#record.entries + 1] = { lease = lease, joined = joined, transport = transport }
        record.since = math.min(record.since or whole(since), whole(since))
        if info ~= '' and info ~= record.info then
            record.info = info
            has_changed = true
        end
    end
    write_person(room, person, record)
    if has_changed then
        redis.call('SADD', room.changed, person)
    end
end

local function newest_entry(record)
    local newest = record.entries[1]
    for _, entry in ipairs(record.entries) do
        if tonumber(entry.joined) >= tonumber(newest.joined) then
            newest = entry
        end
    end
    return newest
end

local function format_person(person, record)
    local newest = newest_entry(record)
    local info = record.info ~= '' and ',"info":' .. record.info or ''
    return '{"name":' .. cjson.encode(person) .. info .. ',"since":' .. string.format('%.0f', record.since) .. ',"node":"'
        .. node_of(newest.lease) .. '","transport":"' .. newest.transport .. '"}'
end

-- Tells who has changed, each as he is now. Returns in how many ms there is more to tell; 0 when there is not.
local function tell_changed(room)
    local till = whole(redis.call('HGET', room.leases, '#next')) or 0
    if till > room.now and till <= room.now + 1000 then
        return redis.call('SCARD', room.changed) > 0 and till - room.now or 0
    end
    local found, size, told = { join = {}, update = {}, leave = {} }, 0, 0
    while size < TOLD_BYTES do
        local people = redis.call('SPOP', room.changed, 32)
        if #people == 0 then
            break
        end
        for _, person in ipairs(people) do
            local record = read_person(room, person)
            local event, text = 'leave', nil
            if record.was_there then
                event, text = record.told == '1' and 'update' or 'join', format_person(person, record)
                if record.told == '0' then
                    record.told = '1'
                    write_person(room, person, record)
                end
            else
                text = '{"name":' .. cjson.encode(person) .. '}'
            end
            local list = found[event]
            list[#list + 1] = text
            size = size + #text
        end
    end
    for event, list in pairs(found) do
        if #list > 0 then
            publish_on(room.feed, 'presence1 ' .. event .. ' ' .. room.now .. '\n{"members":[' .. table.concat(list, ',') .. ']}')
            told = told + 1
        end
    end
    if told > 0 then
        redis.call('HSET', room.leases, '#next', room.now + PACE_MS * told)
    end
    return redis.call('SCARD', room.changed) > 0 and PACE_MS * told or 0
end

-- Leases, and those of them that have lapsed.
local function read_leases(room)
    local live, lapsed, anonymous = {}, {}, 0
    local all = redis.call('HGETALL', room.leases)
    for i = 1, #all, 2 do
        local till, count, last = string.match(all[i + 1], '^(%d+) (%d+) ?(%l*)$')
        if till and whole(till) > room.now then
            live[all[i]] = true
            anonymous = anonymous + count
        elseif till then
            lapsed[#lapsed + 1] = { lease = all[i], till = whole(till), anonymous = count, is_last = last == 'last' }
        end
    end
    return live, lapsed, anonymous
end

-- Counts those that have lapsed as live, until the node may take others out, but for those whom somebody is taking out already.
-- Returns how many are there without a name.
local function spare_others(room, sweep_until, live, lapsed)
    local anonymous = 0
    if room.now <= (whole(sweep_until) or 0) then
        return 0
    end
    local swept = ' ' .. (redis.call('HGET', room.leases, '#swept') or '') .. ' '
    for i = #lapsed, 1, -1 do
        local spared = lapsed[i]
        if spared.till > room.now - FORGET_MS and not spared.is_last and not string.find(swept, ' ' .. spared.lease .. ' ', 1, true) then
            live[spared.lease] = true
            anonymous = anonymous + spared.anonymous
            table.remove(lapsed, i)
        end
    end
    return anonymous
end

-- Takes those out whose leases have lapsed, a slice of them. Returns whether there is more to do.
local function sweep_room(room, live, lapsed)
    if #lapsed == 0 then
        return false
    end
    local at = redis.call('HGET', room.leases, '#sweep')
    if not at then
        at = '-'
        local leases = {}
        for _, each in ipairs(lapsed) do
            leases[#leases + 1] = each.lease
        end
        redis.call('HSET', room.leases, '#swept', table.concat(leases, ' '))
    end
    local people = redis.call('ZRANGEBYLEX', room.order, at, '+', 'LIMIT', 0, SWEEP)
    for _, person in ipairs(people) do
        local record = read_person(room, person)
        if drop_entries(record, function(entry) return not live[entry.lease] end) > 0 or #record.entries == 0 then
            write_person(room, person, record)
            if #record.entries == 0 then
                redis.call('SADD', room.changed, person)
            end
        end
    end
    if #people == SWEEP then
        redis.call('HSET', room.leases, '#sweep', '(' .. people[#people])
        return true
    end
    for lease in string.gmatch(redis.call('HGET', room.leases, '#swept') or '', '%S+') do
        redis.call('HDEL', room.leases, lease)
    end
    redis.call('HDEL', room.leases, '#sweep', '#swept')
    return false
end

-- A node that begins a new lease tells everybody anew, some in each call: until it has, those who hang on its leases of before stay.
local function spare_own(room, lease, till, live, lapsed)
    for i = #lapsed, 1, -1 do
        if node_of(lapsed[i].lease) == node_of(lease) and lapsed[i].till > 0 then
            redis.call('HSET', room.leases, lapsed[i].lease, till .. ' 0')
            live[lapsed[i].lease] = true
            table.remove(lapsed, i)
        end
    end
end

-- args: the lease, or '' for who only wants to know, for how many ms, how many are there without a name, whether it is a new one, the
-- lease that it replaces or '', until when others may be taken out; then for each that has changed + or -, name, since, joined,
-- transport, info.
-- Returns whether the lease is known (where not, nothing was done), in how many ms to call again, where 0 is not before it is renewed,
-- and the time.
function handlers.presence(keys, args)
    local room = open_room(keys[1])
    local lease, before = args[1], args[5]
    local live, lapsed = read_leases(room)
    if lease ~= '' and args[4] ~= '1' and not live[lease] then
        return { 0, 0, room.now }
    end
    if lease ~= '' then
        local till = string.format('%.0f', room.now + tonumber(args[2]))
        if args[4] == '1' then
            spare_own(room, lease, till, live, lapsed)
        end
        redis.call('HSET', room.leases, lease, till .. ' ' .. args[3] .. (tonumber(args[2]) < LEASE_MS and ' last' or ''))
        live[lease] = true
    end
    if before ~= '' then
        redis.call('HSET', room.leases, before, '0 0')
        live[before] = nil
        lapsed[#lapsed + 1] = { lease = before, till = 0, anonymous = 0 }
    end
    spare_others(room, args[6], live, lapsed)
    for i = 7, #args, 6 do
        change_person(room, lease, args[i], args[i + 1], args[i + 2], args[i + 3], args[i + 4], args[i + 5])
    end
    local has_more = sweep_room(room, live, lapsed)
    local wait = tell_changed(room)
    for _, key in ipairs({ room.people, room.order, room.leases, room.changed }) do
        redis.call('PEXPIRE', key, FORGET_MS)
    end
    return { 1, has_more and 1 or wait, room.now }
end

local MEMBER_BYTES = 60 -- what JSON has around the values of one

-- args: the name to go on behind or '', how many, of how many bytes, until when others may be taken out. Returns how many there are,
-- how many without a name, the time, the name to go on behind or '' where there are no more; then of each name, since, node, transport,
-- info.
function handlers.roster(keys, args)
    local room = open_room(keys[1])
    local live, lapsed, anonymous = read_leases(room)
    local limit, bytes, size = tonumber(args[2]), tonumber(args[3]), 0
    anonymous = anonymous + spare_others(room, args[4], live, lapsed)
    if sweep_room(room, live, lapsed) or #lapsed > 0 then
        tell_changed(room)
    end
    local answer = { redis.call('ZCARD', room.order), anonymous, room.now, '' }
    local people = redis.call('ZRANGEBYLEX', room.order, args[1] == '' and '-' or '(' .. args[1], '+', 'LIMIT', 0, limit + 1)
    for i, person in ipairs(people) do
        if i > limit or size > bytes then
            answer[4] = people[i - 1]
            break
        end
        local record = read_person(room, person)
        drop_entries(record, function(entry) return not live[entry.lease] end)
        if #record.entries > 0 then
            local newest = newest_entry(record)
            for _, value in ipairs({ person, string.format('%.0f', record.since), node_of(newest.lease), newest.transport, record.info }) do
                answer[#answer + 1] = value
                size = size + #value
            end
            size = size + MEMBER_BYTES
        end
    end
    return answer
end

local OCCUPIED, BURIED = 'sluice:{$channel}:o', 'sluice:{$channel}:g'

local function vacate(name, now)
    if redis.call('HINCRBY', OCCUPIED, name, -1) <= 0 then
        redis.call('HDEL', OCCUPIED, name)
        tell_event('vacated', name, now)
    end
end

local function bury_lapsed(now)
    local all = redis.call('HGETALL', LEASES_OF_EVENTS)
    for i = 1, #all, 2 do
        if (whole(all[i + 1]) or 0) <= now then
            local key = 'sluice:{$channel}:b#' .. all[i]
            redis.call('HDEL', LEASES_OF_EVENTS, all[i])
            if redis.call('EXISTS', key) == 1 then
                local buried = key .. '.' .. string.format('%.0f', now)
                redis.call('RENAME', key, buried)
                redis.call('SADD', BURIED, buried)
            end
        end
    end
end

-- Returns whether there is more to do.
local function vacate_buried(now)
    local left = SWEEP
    for _, key in ipairs(redis.call('SMEMBERS', BURIED)) do
        local names = left > 0 and redis.call('SPOP', key, left) or {}
        for _, name in ipairs(names) do
            vacate(name, now)
        end
        left = left - #names
        if left > 0 then
            redis.call('SREM', BURIED, key)
        end
    end
    return left <= 0
end

local LOOK_MS = 500 -- at most so often for logs that have ended
local CLAIM_MS = 5000 -- while a node asks for a log that is in another slot
local KEEP_LIVES_MS = 86400000 -- when no node looks

local function forget_life(name, now)
    redis.call('HDEL', LIVES, name)
    redis.call('ZREM', ENDS, name)
    tell_event('forgotten', name, now)
end

-- Looks at those logs that may have ended, some of them. Returns in how many ms to look again, at most `most`, and adds to `elsewhere`
-- name and birth of those that have to be asked for in other slots.
local function find_ended(now, most, elsewhere)
    local due = redis.call('ZRANGEBYSCORE', ENDS, '-inf', now, 'LIMIT', 0, SWEEP)
    for _, name in ipairs(due) do
        local left = redis.pcall('PTTL', 'sluice:{' .. string.match(name, '^[^/]*') .. '}:m:' .. name)
        local next_ms = now + CLAIM_MS
        if type(left) == 'table' then
            elsewhere[#elsewhere + 1] = name
        elseif left == -2 then
            next_ms = nil
            forget_life(name, now)
        elseif left >= 0 then
            next_ms = now + left + 1
        end
        if next_ms then
            redis.call('ZADD', ENDS, string.format('%.0f', next_ms), name)
        end
    end
    redis.call('PEXPIRE', LIVES, KEEP_LIVES_MS)
    redis.call('PEXPIRE', ENDS, KEEP_LIVES_MS)
    if #due == SWEEP then
        return 0
    end
    local first = tonumber(redis.call('ZRANGE', ENDS, 0, 0, 'WITHSCORES')[2])
    return first and math.max(LOOK_MS, math.min(most, first - now + 1)) or most
end

local NEWS = { c = 'created', p = 'purged', k = 'known' }

-- What a node has heard of a log in another slot, or found there.
local function take_news(kind, text, now)
    local stamp, ends, name = string.match(text, '^(%d+) (%d+) (.+)$')
    stamp, ends = tonumber(stamp), tonumber(ends)
    if NEWS[kind] and name then
        note_life(name, NEWS[kind], stamp, ends, now, false)
    elseif kind == 'f' and name and string.match(redis.call('HGET', LIVES, name) or '', '^%d+') == string.format('%.0f', stamp) then
        forget_life(name, now)
    end
end

-- args: the node, for how many ms its lease is, whether it is a new one, until when others may be taken out; then + or -, and the
-- channel that is occupied there or not; c, p or k, and 'STAMP ENDS NAME' of what was heard on the channel HEARD or of a log that is
-- there; or f, and 'BORN 0 NAME' of one that is not there any more.
-- Returns whether the lease is known, in how many ms to call again, the time, and name and birth of each log that is to be asked for.
function handlers.occupancy(_, args)
    local time = clock()
    local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    local node, key, answer = args[1], 'sluice:{$channel}:b#' .. args[1], { 1, 0, now }
    if now <= (whole(args[4]) or 0) then
        bury_lapsed(now)
    end
    local has_more = vacate_buried(now)
    if args[3] ~= '1' and redis.call('HEXISTS', LEASES_OF_EVENTS, node) == 0 then
        return { 0, 0, now }
    end
    redis.call('HSET', LEASES_OF_EVENTS, node, string.format('%.0f', now + tonumber(args[2])))
    for i = 5, #args, 2 do
        local name = args[i + 1]
        if args[i] == '+' then
            if redis.call('SADD', key, name) == 1 and redis.call('HINCRBY', OCCUPIED, name, 1) == 1 then
                tell_event('occupied', name, now)
            end
        elseif args[i] ~= '-' then
            take_news(args[i], name, now)
        elseif redis.call('SREM', key, name) == 1 then
            vacate(name, now)
        end
    end
    local elsewhere = {}
    local wait = find_ended(now, math.floor(tonumber(args[2]) / 3), elsewhere)
    answer[2] = has_more and 0 or wait
    for _, name in ipairs(elsewhere) do
        answer[#answer + 1] = name
        answer[#answer + 1] = string.match(redis.call('HGET', LIVES, name) or '', '^%d+') or '0'
    end
    return answer
end

-- Returns when the log was begun, or '' when there is none, and when it ends.
function handlers.life(keys)
    local log = open_log(keys[1])
    local left = redis.call('PTTL', log.meta)
    if left == -2 then
        return { '', 0 }
    end
    local born = check(redis.pcall('HGET', log.meta, 'born'), log.meta, 'hash') or ''
    return { #born <= 16 and string.match(born, '^%d+$') or '0', log.now + (left < 0 and CLAIM_MS or left + 1) }
end

function handlers.version()
    return VERSION
end

-- The handler as Redis calls it: answers with what it refuses.
local function guard(handler)
    return function(keys, args)
        local is_done, answer = pcall(handler, keys, args)
        if is_done then
            return answer
        end
        return type(answer) == 'table' and answer.refused or error(answer, 0)
    end
end
