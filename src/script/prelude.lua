-- What scripts see instead of the stock globals.
--
-- Lua 5.1 has no read-only tables. A table that scripts may read is hidden behind an empty one, its
-- face, whose metatable shows the contents and refuses writes; whatever could get around a
-- metatable (rawset, setmetatable, table.insert) is wrapped and asks `shown` first. No contents ever
-- reach a script.
--
-- The chunk gets the functions of the engine, the version of the server as text and as number, and
-- returns the globals and how libraries are entered.

local engine, version, version_number, pattern_max, string_max = ...

local error, getmetatable, next, pairs, pcall, rawget, rawset, select, setmetatable, tonumber, tostring, type, unpack, xpcall
  = error, getmetatable, next, pairs, pcall, rawget, rawset, select, setmetatable, tonumber, tostring, type, unpack, xpcall
local concat = table.concat
local deep, settle = engine.deep, engine.settle

local READ_ONLY = "Attempt to modify a readonly table"
local ARGUMENTS_MAX = 8000

-- What getmetatable shows of faces that have none as far as scripts know.
local NONE = {}

-- Of each face, its contents.
local shown = {}

local function refuse()
  error(READ_ONLY, 2)
end

-- The face of `contents`, and its metatable, which getmetatable shows as `shown_metatable`.
local function freeze(contents, shown_metatable)
  for key, value in pairs(contents) do
    if type(value) == "table" and not shown[value] then
      contents[key] = freeze(value)
    end
  end
  local face = {}
  shown[face] = contents
  local metatable = { __index = contents, __newindex = refuse, __metatable = shown_metatable or NONE }
  return setmetatable(face, metatable), metatable
end

local function missing(_, name)
  if type(name) ~= "string" and type(name) ~= "number" then
    error("Second argument to luaProtectedTableError must be a string or number", 2)
  end
  error("Script attempted to access nonexistent global variable '" .. name .. "'", 2)
end

-- Errors. A function of the engine raises a userdata; whoever catches one sees what it stands for.
-- Some cannot be caught: they are raised again.

local function caught(ok, ...)
  if ok then
    return ok, ...
  end
  local failure = ...
  local value, fatal = settle(failure)
  if fatal then
    error(failure, 0)
  end
  return false, value
end

-- pcall gives the text of an error that is a reply, not the table.
local function caught_text(ok, ...)
  if ok then
    return ok, ...
  end
  local _, value = caught(ok, ...)
  if type(value) == "table" then
    local text = rawget(value, "err")
    if type(text) == "string" or type(text) == "number" then
      return false, text
    end
  end
  return false, value
end

local base = {
  _VERSION = _VERSION,
  assert = assert,
  error = error,
  gcinfo = gcinfo,
  ipairs = ipairs,
  rawequal = rawequal,
  select = select,
  tonumber = tonumber,
  tostring = tostring,
  type = type,
}

function base.getmetatable(...)
  local metatable = getmetatable(...)
  if metatable == NONE then
    return nil
  end
  return metatable
end

function base.pcall(...)
  return caught_text(pcall(...))
end

function base.xpcall(f, handler)
  return caught(xpcall(f, function(failure)
    local value, fatal = settle(failure)
    if fatal then
      return failure
    end
    return handler(value)
  end))
end

function base.next(t, key)
  return next(shown[t] or t, key)
end

function base.pairs(t)
  if shown[t] then
    return base.next, t, nil
  end
  return pairs(t)
end

function base.rawget(t, key)
  return rawget(shown[t] or t, key)
end

function base.rawset(t, key, value)
  if shown[t] then
    error(READ_ONLY, 0)
  end
  return rawset(t, key, value)
end

function base.setmetatable(t, metatable)
  if shown[t] then
    error(READ_ONLY, 0)
  end
  return setmetatable(t, metatable)
end

-- The stock one computes the number of results in an int, which overflows.
function base.unpack(list, first, last)
  if first == nil and last == nil then
    return unpack(list)
  end
  local from, to = tonumber(first) or 1, tonumber(last) or #list
  if not (from >= -2147483648 and to <= 2147483647 and to - from < ARGUMENTS_MAX) then
    error("too many results to unpack", 2)
  end
  return unpack(list, from, to)
end

local COLLECTS = { collect = true, count = true, step = true }
local IGNORED = { stop = true, restart = true, setpause = true, setstepmul = true }
local collectgarbage = collectgarbage

-- The collector is everybody's: scripts cannot stop or slow it.
function base.collectgarbage(option, argument)
  if option == nil or COLLECTS[option] then
    return collectgarbage(option, argument)
  elseif IGNORED[option] then
    return 0
  end
  error("bad argument #1 to 'collectgarbage' (invalid option '" .. tostring(option) .. "')", 2)
end

-- Libraries. As in Redis, a native function that refuses names no place.

local insert = table.insert
function table.insert(t, ...)
  if shown[t] then
    error(READ_ONLY, 0)
  end
  return insert(t, ...)
end

-- Matching recurses natively once for each item of the pattern, and in gsub for each callback. What is not small
-- is measured first: a match that takes too long could not be ended.
local find, gmatch, gsub, match, rep = string.find, string.gmatch, string.gsub, string.match, string.rep
local bearable, position = engine.bearable, engine.position
local SPECIAL = "[%^%$%*%+%?%.%(%[%%%-]"

local function check(text, pattern, search, init)
  if type(pattern) ~= "string" then
    return
  end
  if type(text) == "number" then
    text = tostring(text)
  end
  local size = type(text) == "string" and #text or 0
  local small = size == 0 or size <= 32 and #pattern <= 6 or size <= 100 and #pattern <= 4
  if #pattern > pattern_max or not small and not bearable(text, pattern, search, tonumber(init) or 1) then
    error("pattern too complex", 3)
  end
end

-- The stock one compares at every place.
local function find_plain(text, pattern, init)
  if type(text) ~= "string" or type(pattern) ~= "string" or #text * #pattern < 1e8 then
    return find(text, pattern, init, true)
  end
  local first = position(text, pattern, tonumber(init) or 1)
  if first then
    return first, first + #pattern - 1
  end
  return nil
end

function string.find(text, pattern, init, plain)
  if plain or type(pattern) == "string" and #pattern > 4 and not find(pattern, SPECIAL) then
    return find_plain(text, pattern, init)
  end
  check(text, pattern, "first", init)
  return find(text, pattern, init)
end

function string.match(text, pattern, init)
  check(text, pattern, "first", init)
  return match(text, pattern, init)
end

function string.gmatch(text, pattern)
  check(text, pattern, "each")
  return gmatch(text, pattern)
end
string.gfind = string.gmatch

function string.gsub(text, pattern, with, max)
  check(text, pattern, "all")
  if type(with) ~= "string" then
    deep()
  end
  return gsub(text, pattern, with, max)
end

function string.rep(text, count)
  if text == "" then
    return text
  end
  if type(text) == "string" and type(count) == "number" and #text * count > string_max then
    error("resulting string too large", 2)
  end
  return rep(text, count)
end

-- A coroutine starts with a native call depth of zero, so nesting them is bounded by the stack.
local resume, wrap = coroutine.resume, coroutine.wrap
function coroutine.resume(thread, ...)
  deep()
  return caught(resume(thread, ...))
end

function coroutine.wrap(f)
  local wrapped = wrap(f)
  return function(...)
    deep()
    return wrapped(...)
  end
end

math.random, math.randomseed = engine.random, engine.randomseed
local libraries = { os = freeze({ clock = os.clock }) }
for _, name in pairs({ "string", "table", "math", "coroutine", "cjson", "cmsgpack", "struct", "bit" }) do
  if _G[name] then
    libraries[name] = freeze(_G[name])
  end
end
getmetatable("").__metatable = freeze({ __index = libraries.string })

-- The server's own functions.

local function with_log(api)
  api.log = engine.log
  api.LOG_DEBUG, api.LOG_VERBOSE, api.LOG_NOTICE, api.LOG_WARNING = 0, 1, 2, 3
  api.REDIS_VERSION, api.REDIS_VERSION_NUM = version, version_number
  return api
end

local function calls()
  return with_log({
    call = engine.call,
    pcall = engine.pcall,
    setresp = engine.setresp,
    sha1hex = engine.sha1hex,
    error_reply = engine.error_reply,
    status_reply = engine.status_reply,
    set_repl = engine.set_repl,
    REPL_NONE = 0,
    REPL_AOF = 1,
    REPL_SLAVE = 2,
    REPL_REPLICA = 2,
    REPL_ALL = 3,
    acl_check_cmd = engine.acl_check_cmd,
  })
end

local eval_api = calls()
function eval_api.breakpoint()
  return false
end
function eval_api.debug() end
function eval_api.replicate_commands()
  return true
end

-- The globals of scripts or of functions: the face, its contents and its metatable.
local function globals(api, json)
  local contents = { redis = api, server = api }
  for _, part in pairs({ base, libraries }) do
    for name, value in pairs(part) do
      contents[name] = value
    end
  end
  contents.cjson = json
  local face, metatable = freeze(contents, (freeze({ __index = missing })))
  contents._G = face
  function contents.loadstring(text, name)
    return engine.compile(face, text, name)
  end
  function contents.load(reader, name)
    if type(reader) ~= "function" then
      local found = reader == nil and "no value" or type(reader)
      error("bad argument #1 to 'load' (function expected, got " .. found .. ")", 2)
    end
    local parts, count = {}, 0
    while true do
      local part = reader()
      if part == nil or part == "" then
        return engine.compile(face, concat(parts), name or "=(load)")
      elseif type(part) ~= "string" then
        return nil, "reader function must return a string"
      end
      count = count + 1
      parts[count] = part
    end
  end
  setmetatable(contents, { __index = missing })
  return face, contents, metatable
end

-- While a library loads, its globals are these.
local function loading()
  local api = with_log({ register_function = engine.register_function })
  setmetatable(api, { __index = missing })
  api = freeze(api)
  return setmetatable({ redis = api, server = api }, { __index = missing })
end

local eval_face, eval_contents = globals((freeze(eval_api)), libraries.cjson)
local library_face, library_contents, library_metatable = globals((freeze(calls())), (freeze(function_cjson)))
local loading_contents = loading()

local entry = { script_globals = eval_face, script_contents = eval_contents, library_globals = library_face }

function entry.library(f)
  library_metatable.__index = loading_contents
  local ok, failure = pcall(f)
  library_metatable.__index = library_contents
  if ok then
    return true, nil
  end
  return false, (settle(failure))
end

return entry
