//! What scripts see of the libraries, against what a real server answered (`golden.txt`), and the
//! bounds that the C libraries do not have.

use mlua::{Lua, LuaString};

const GOLDEN: &str = include_str!("golden.txt");

/// Writes what a protected call returned. Entries of tables are sorted, bytes beyond ASCII escaped.
const SHOW: &str = r##"
local text
text = function(value)
  local kind = type(value)
  if kind == "string" then
    local escape = function(byte) return string.format("\\x%02x", byte:byte()) end
    return '"' .. value:gsub("[^%w%p ]", escape) .. '"'
  elseif kind == "table" then
    local entries = {}
    for key, item in pairs(value) do
      entries[#entries + 1] = "[" .. text(key) .. "]=" .. text(item)
    end
    table.sort(entries)
    return "{" .. table.concat(entries, " ") .. "}"
  elseif kind == "number" then
    return string.format("%.17g", value)
  end
  return value == cjson.null and "null" or tostring(value)
end
function show(ok, ...)
  local results = {}
  for i = 1, select("#", ...) do results[i] = text((select(i, ...))) end
  return (ok and "" or "raised ") .. table.concat(results, ", ")
end
"##;

fn interpreter() -> Lua {
    let lua = Lua::new();
    super::install(&lua).expect("the libraries install");
    lua.load(SHOW).exec().expect("the prelude runs");
    lua
}

fn run(lua: &Lua, code: &str) -> String {
    let chunk = lua.load(code).set_name("@user_script");
    let result = chunk.eval::<LuaString>().expect("the script returns a string");
    result.to_string_lossy()
}

/// Runs the expressions below a heading of the golden file; `count` guards against losing some.
fn golden(heading: &str, count: usize) {
    let lua = interpreter();
    let start = format!("{heading}\n");
    let section = GOLDEN.split("\n# ").find_map(|section| section.strip_prefix(&start));
    let mut lines = section.expect("a section of this name").lines();
    let mut checked = 0;
    while let (Some(expression), Some(expected)) = (lines.next(), lines.next()) {
        let expression = expression.strip_prefix("> ").expect("an expression");
        let code = format!("return show(pcall(function() return {expression} end))");
        assert_eq!(run(&lua, &code), expected, "{expression}");
        checked += 1;
    }
    assert_eq!(checked, count);
}

#[test]
fn cjson_encodes_as_redis() {
    golden("cjson: encode", 31);
}

#[test]
fn cjson_decodes_as_redis() {
    golden("cjson: decode", 41);
}

#[test]
fn cjson_takes_settings_as_redis() {
    golden("cjson: settings", 21);
}

#[test]
fn cmsgpack_does_as_redis() {
    golden("cmsgpack", 42);
}

#[test]
fn struct_does_as_redis() {
    golden("struct", 42);
}

#[test]
fn bit_does_as_redis() {
    golden("bit", 10);
}

#[test]
fn only_the_libraries_become_globals() {
    let lua = Lua::new();
    let names = "local n = {} for k in pairs(_G) do n[#n + 1] = k end
        table.sort(n) return table.concat(n, ' ')";
    let before = run(&lua, names);
    super::install(&lua).expect("the libraries install");
    let after = run(&lua, names);
    let added: Vec<_> =
        after.split(' ').filter(|name| !before.split(' ').any(|old| old == *name)).collect();
    assert_eq!(added, ["bit", "cjson", "cmsgpack", "function_cjson", "struct"]);
}

#[test]
fn settings_last_and_belong_to_one_table() {
    let lua = interpreter();
    let set = "local other = cjson.new() other.encode_max_depth(5) cjson.encode_max_depth(7)
        return other.encode_max_depth() .. ' ' .. cjson.new().encode_max_depth()";
    assert_eq!(run(&lua, set), "5 1000");
    assert_eq!(run(&lua, "return tostring(cjson.encode_max_depth())"), "7");
}

#[test]
fn errors_are_strings_wherever_they_are_caught() {
    let lua = interpreter();
    let code = r#"
        local f = function() return cjson.decode("x") end
        local handled = function(e) return type(e) .. " " .. e end
        local seen = {
            select(2, pcall(f)),
            select(2, pcall(cjson.decode, "x")),
            select(2, xpcall(f, handled)),
            select(2, coroutine.resume(coroutine.create(f))),
            select(2, pcall(string.gsub, "x", "x", cjson.decode)),
        }
        return table.concat(seen, "\n")"#;
    let text = "Expected value but found invalid token at character 1";
    let expected = format!(
        "user_script:2: {text}\n{text}\nstring user_script:2: {text}\nuser_script:2: {text}\n{text}"
    );
    assert_eq!(run(&lua, code), expected);
}

#[test]
fn a_raised_text_reaches_the_host_with_its_line() {
    let lua = interpreter();
    let error = lua.load("\nreturn cjson.decode('')").set_name("@user_script").exec();
    let text = error.expect_err("decoding fails").to_string();
    assert!(text.contains("user_script:2: Expected value but found T_END"), "{text}");
}

#[test]
fn any_depth_is_refused_and_none_overflows_the_stack() {
    let lua = interpreter();
    let code = r#"
        local c = cjson.new()
        c.decode_max_depth(2147483647)
        c.encode_max_depth(2147483647)
        local cycle = {}
        cycle.a = {cycle}
        local refused = function(...)
            local ok, text = pcall(...)
            return tostring(ok) .. " " .. text:match("^[^(]*[^( ]")
        end
        return table.concat({
            refused(c.decode, ("["):rep(1000000)),
            refused(c.decode, ('{"a":'):rep(1000000)),
            refused(c.encode, cycle),
            refused(cmsgpack.unpack, ("\145"):rep(1000000)),
            refused(cmsgpack.unpack, ("\129"):rep(1000000)),
            refused(cmsgpack.unpack, ("\129\1"):rep(1000000)),
        }, "\n")"#;
    let expected = "false Found too many nested data structures
false Found too many nested data structures
false Cannot serialise, excessive nesting
false stack overflow
false stack overflow
false stack overflow";
    assert_eq!(run(&lua, code), expected);
}

#[test]
fn every_cut_of_a_packed_text_is_refused() {
    let lua = interpreter();
    let code = r#"
        local whole = cmsgpack.pack({1, 300, -70000, 1.5, 0.1, "text", {a = {b = ("x"):rep(300)}}})
        for len = 1, #whole - 1 do
            local ok, text = pcall(cmsgpack.unpack, whole:sub(1, len))
            if ok or text ~= "Missing bytes in input." then return len .. " " .. tostring(text) end
        end
        return tostring(#cmsgpack.unpack(whole))"#;
    assert_eq!(run(&lua, code), "7");
}

#[test]
fn every_cut_of_a_json_text_is_refused() {
    let lua = interpreter();
    let code = r#"
        local whole = '{"a":[1,2.5,{"b":"c\\u00e9\\n"}],"d":null,"e":true}'
        for len = 1, #whole - 1 do
            local ok, text = pcall(cjson.decode, whole:sub(1, len))
            if ok or not text:find("^Expected ") then return len .. " " .. tostring(text) end
        end
        return cjson.encode(cjson.decode(whole).a)"#;
    assert_eq!(run(&lua, code), "[1,2.5,{\"b\":\"c\u{e9}\\n\"}]");
}

#[test]
fn metamethods_are_not_called() {
    let lua = interpreter();
    let code = r#"
        local meta = {__index = function() return 1 end, __len = function() return 9 end}
        return cjson.encode(setmetatable({}, meta)) .. #cmsgpack.pack(setmetatable({1, 2}, meta))"#;
    assert_eq!(run(&lua, code), "{}3");
}
