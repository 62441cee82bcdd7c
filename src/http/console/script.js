"use strict";
// The console: asks for JSON once a second while it is in front, and draws it. Text from the server gets into
// the page as text nodes only.

const HISTORY = 120;
const DASH = "\u2013";
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Numbers as people read them.
function count(value) {
  if (!Number.isFinite(value)) return DASH;
  const size = Math.abs(value);
  if (size >= 1e9) return (value / 1e9).toFixed(2) + " G";
  if (size >= 1e6) return (value / 1e6).toFixed(2) + " M";
  if (size >= 1e4) return (value / 1e3).toFixed(1) + " k";
  return size < 10 && size % 1 ? value.toFixed(2) : Math.round(value).toLocaleString("en");
}

function bytes(value) {
  if (!Number.isFinite(value)) return DASH;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return (unit ? value.toFixed(value < 10 ? 2 : 1) : Math.round(value)) + " " + units[unit];
}

function span(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return DASH;
  const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24;
  const minutes = Math.floor(seconds / 60) % 60;
  if (days) return days + " d " + hours + " h";
  if (hours) return hours + " h " + minutes + " min";
  if (minutes) return minutes + " min " + Math.floor(seconds % 60) + " s";
  return Math.floor(seconds) + " s";
}

function micros(value) {
  if (!Number.isFinite(value)) return DASH;
  if (value >= 1e6) return (value / 1e6).toFixed(2) + " s";
  return value >= 1e3 ? (value / 1e3).toFixed(2) + " ms" : value.toFixed(1) + " \u00b5s";
}

// Tables: columns are [title, "n" for numbers or "t" for names], rows are arrays of text. Rows stay where they
// are while their text changes, so that reading and scrolling go on.
function table(where, columns, rows, empty) {
  if (!rows.length) {
    where.replaceChildren(element("p", { class: "empty" }, empty || "Nothing yet."));
    return;
  }
  let body = where.querySelector("tbody");
  if (!body) {
    const titles = columns.map(([title, kind]) => element("th", { class: kind || "", scope: "col" }, title));
    body = element("tbody");
    where.replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, ...titles)), body));
  }
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, at) => {
    const line = body.rows[at] || body.insertRow();
    row.forEach((text, column) => {
      const cell = line.cells[column] || line.insertCell();
      const kind = columns[column][1] || "";
      if (cell.className !== kind) cell.className = kind;
      if (cell.textContent !== text) {
        cell.textContent = text;
        if (kind === "t") cell.title = text;
      }
    });
  });
}

function pairs(where, rows) {
  table(where, [["", ""], ["", "n"]], rows.filter((row) => row[1] !== undefined));
}

// Charts: a line for each series over the last two minutes.
class Chart {
  constructor(where, format, label, area, unit) {
    this.format = format;
    this.unit = unit;
    this.label = label;
    this.series = [];
    this.svg = shape("svg", { viewBox: "0 0 120 100", preserveAspectRatio: "none", role: "img" });
    for (const y of [0.5, 50, 99.5]) this.svg.append(shape("line", { class: "grid", x1: 0, x2: 120, y1: y, y2: y }));
    this.area = area && this.svg.appendChild(shape("polygon", { class: "area" }));
    this.lines = ["a", "b"].map((name) => this.svg.appendChild(shape("polyline", { class: name })));
    this.most = element("p", { class: "most" });
    this.now = element("span", {}, "");
    where.append(this.svg, this.most, element("p", {}, element("span", {}, "2 minutes ago"), this.now));
  }

  add(values) {
    this.series.push(values);
    if (this.series.length > HISTORY) this.series.shift();
    const top = niceTop(Math.max(...this.series.flat()), this.unit);
    const left = HISTORY - this.series.length;
    values.forEach((_, line) => {
      const points = this.series.map((each, at) => (left + at + 0.5).toFixed(1) + "," + (99 - 98 * each[line] / top).toFixed(2));
      this.lines[line].setAttribute("points", points.join(" "));
      if (line === 0 && this.area) {
        const ends = [(left + 0.5) + ",99.5", ...points, (HISTORY - 0.5) + ",99.5"];
        this.area.setAttribute("points", ends.join(" "));
      }
    });
    const now = values.map(this.format).join(" / ");
    this.most.textContent = this.format(top);
    this.now.textContent = "now " + now;
    this.svg.setAttribute("aria-label", this.label + ": now " + now);
  }
}

function niceTop(value, unit) {
  if (!(value > 0)) return 1;
  if (value >= unit) return unit * niceTop(value / unit, unit);
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value);
}

const charts = {
  ops: new Chart(byId("ops-chart"), (value) => count(value) + "/s", "Commands per second", true, 1000),
  net: new Chart(byId("net-chart"), (value) => bytes(value) + "/s", "Bytes per second in and out", false, 1024),
};

async function ask(path, options) {
  const answer = await fetch(path, { cache: "no-store", ...options });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || "status " + answer.status);
  return body;
}

function parts(text) {
  return Object.fromEntries((text || "").split(",").map((part) => part.split("=")));
}

let last = null;

function show(info) {
  const field = (section, name) => (info.sections[section] || {})[name];
  const number = (section, name) => Number.parseFloat(field(section, name));
  const well = info.status === "ok";
  byId("health").textContent = info.status;
  byId("health").className = "pill " + (well ? "good" : "bad");
  problem(well ? "" : info.why);
  byId("version").textContent = field("Server", "redstart_version") || "";
  byId("facts").textContent = [
    field("Replication", "role"),
    "port " + field("Server", "tcp_port"),
    "up " + span(number("Server", "uptime_in_seconds")),
    "process " + field("Server", "process_id"),
    "speaks Redis " + field("Server", "redis_version"),
  ].join(" \u00b7 ");

  const now = {
    at: info.time_ms,
    ops: number("Stats", "total_commands_processed"),
    input: number("Stats", "total_net_input_bytes"),
    output: number("Stats", "total_net_output_bytes"),
    cpu: number("CPU", "used_cpu_sys") + number("CPU", "used_cpu_user"),
    hits: number("Stats", "keyspace_hits"),
    misses: number("Stats", "keyspace_misses"),
    calls: {},
  };
  const databases = Object.entries(info.sections.Keyspace || {}).map(([name, text]) => [name, parts(text)]);
  const keys = databases.reduce((sum, [, db]) => sum + Number(db.keys), 0);
  const seconds = last ? (now.at - last.at) / 1000 : 0;
  // A total that fell was reset.
  const rate = (name) => (seconds > 0 ? Math.max(0, now[name] - last[name]) / seconds : 0);
  if (seconds > 0) {
    charts.ops.add([rate("ops")]);
    charts.net.add([rate("input"), rate("output")]);
  }
  const [hits, misses] = last ? [now.hits - last.hits, now.misses - last.misses] : [0, 0];
  tiles([
    ["Commands", count(rate("ops")) + "/s"],
    ["Clients", count(number("Clients", "connected_clients"))],
    ["Keys", count(keys)],
    ["Memory", bytes(number("Memory", "used_memory"))],
    ["Hit rate", hits + misses > 0 ? (100 * hits / (hits + misses)).toFixed(1) + " %" : DASH],
    ["Processor", Math.round(100 * rate("cpu")) + " %"],
  ]);
  memory(number);
  table(byId("databases"), [["Database"], ["Keys", "n"], ["Expiring", "n"], ["Mean time to live", "n"]],
    databases.map(([name, db]) => [name, count(Number(db.keys)), count(Number(db.expires)),
      Number(db.avg_ttl) ? span(Number(db.avg_ttl) / 1000) : DASH]), "No keys.");
  commands(info, now, seconds);
  persistence(field, number);
  replication(field);
  singleKeys(info.sections);
  const errors = Object.entries(info.sections.Errorstats || {});
  table(byId("errors"), [["Kind", "t"], ["Replies", "n"]],
    errors.map(([name, text]) => [name.replace("errorstat_", ""), count(Number(parts(text).count))]), "No errors.");
  last = now;
}

function tiles(all) {
  const where = byId("tiles");
  all.forEach(([title, value], at) => {
    let tile = where.children[at];
    if (!tile) {
      tile = element("div", { class: "tile" }, element("b"), element("span", {}, title));
      where.append(tile);
    }
    if (tile.firstChild.textContent !== value) tile.firstChild.textContent = value;
  });
}

function memory(number) {
  const get = (name) => number("Memory", name) || 0;
  const scripts = get("used_memory_scripts") + get("used_memory_vm_total");
  const clients = get("mem_clients_normal") + get("mem_clients_slaves");
  const start = get("used_memory_startup");
  const rest = Math.max(0, get("used_memory") - get("used_memory_dataset") - scripts - clients - start);
  const shown = [
    ["Data", get("used_memory_dataset")], ["Clients", clients], ["Scripts", scripts],
    ["Start", start], ["Other", rest],
  ];
  const whole = shown.reduce((sum, [, size]) => sum + size, 0) || 1;
  const bar = shape("svg", { viewBox: "0 0 100 1", preserveAspectRatio: "none", "aria-hidden": "true" });
  let at = 0;
  shown.forEach(([, size], index) => {
    const width = 100 * size / whole;
    bar.append(shape("rect", { class: "p" + index, x: at, y: 0, width, height: 1 }));
    at += width;
  });
  byId("memory-bar").replaceChildren(bar);
  const share = (size) => (100 * size / whole).toFixed(1) + " %";
  byId("memory-bar").setAttribute("aria-label", shown.map(([name, size]) => name + " " + share(size)).join(", "));
  const limit = get("maxmemory");
  table(byId("memory"), [["", ""], ["", "n"], ["", "n"]], [
    ...shown.map(([name, size]) => ["\u25a0 " + name, bytes(size), share(size)]),
    ["In use", bytes(get("used_memory")), limit ? "of " + bytes(limit) : "no limit"],
    ["Peak", bytes(get("used_memory_peak")), ""],
    ["Resident", bytes(get("used_memory_rss")), "\u00d7 " + get("mem_fragmentation_ratio").toFixed(2)],
  ]);
  [...byId("memory").querySelectorAll("tbody tr")].slice(0, shown.length)
    .forEach((row, index) => { row.cells[0].className = "p" + index; });
}

function commands(info, now, seconds) {
  const latencies = info.sections.Latencystats || {};
  const percentiles = Object.keys(parts(Object.values(latencies)[0])).filter((name) => /^p[\d.]+$/.test(name));
  const rows = Object.entries(info.sections.Commandstats || {}).map(([field, text]) => {
    const name = field.replace("cmdstat_", ""), stats = parts(text);
    now.calls[name] = Number(stats.calls);
    const before = last ? last.calls[name] || 0 : now.calls[name];
    const rate = seconds > 0 ? Math.max(0, now.calls[name] - before) / seconds : 0;
    const latency = parts(latencies["latency_percentiles_usec_" + name]);
    return { rate, calls: now.calls[name], cells: [
      name, count(rate), count(now.calls[name]), micros(Number(stats.usec_per_call)),
      ...percentiles.map((p) => micros(Number.parseFloat(latency[p]))),
      count(Number(stats.failed_calls)), count(Number(stats.rejected_calls)),
    ] };
  });
  rows.sort((one, other) => other.rate - one.rate || other.calls - one.calls);
  const where = byId("commands");
  if (where.dataset.percentiles !== percentiles.join()) {
    where.dataset.percentiles = percentiles.join();
    where.replaceChildren();
  }
  table(where, [["Command", "t"], ["Per second", "n"], ["Calls", "n"], ["Mean", "n"],
    ...percentiles.map((p) => [p, "n"]), ["Failed", "n"], ["Refused", "n"]],
    rows.slice(0, 30).map((row) => row.cells));
}

// Names of keys come last in a field of INFO, as they may hold anything.
function keyFields(section, prefix) {
  return Object.entries(section || {}).filter(([name]) => name.startsWith(prefix)).map(([, text]) => {
    const at = text.indexOf(",key=");
    return { ...parts(text.slice(0, at)), key: text.slice(at + 5) };
  });
}

function singleKeys(sections) {
  const hot = sections.Hotkeys, big = sections.Bigkeys;
  byId("hot-section").hidden = !hot;
  byId("big-section").hidden = !big;
  table(byId("hot"), [["Key", "t"], ["Database", "n"], ["Requests", "n"], ["Samples", "n"]],
    keyFields(hot, "hot_key_").map((one) => [one.key, one.db, one.share, count(Number(one.samples))]),
    "No key stands out.");
  const seen = Number((big || {}).big_keys_seen);
  byId("big-total").textContent = seen ? "of " + count(seen) + " seen" : "";
  table(byId("big"), [["Key", "t"], ["Database", "n"], ["Type"], ["Length", "n"], ["Memory", "n"]],
    keyFields(big, "big_key_").filter((one) => one.type).map((one) => [one.key, one.db, one.type,
      count(Number(one.len)), bytes(Number(one.memory))]), "Not looked through yet.");
}

function persistence(field, number) {
  const get = (name) => field("Persistence", name);
  const seconds = (name) => span(number("Persistence", name));
  const yes = (name) => (get(name) === "1" ? "yes" : "no");
  const saved = number("Persistence", "rdb_last_save_time");
  pairs(byId("persistence"), [
    ["Last snapshot", saved ? span(Date.now() / 1000 - saved) + " ago" : DASH],
    ["It was", get("rdb_last_bgsave_status")],
    ["It took", seconds("rdb_last_bgsave_time_sec")],
    ["Changes since", count(number("Persistence", "rdb_changes_since_last_save"))],
    ["Saving now", yes("rdb_bgsave_in_progress")],
    ["Append-only file", yes("aof_enabled")],
    ["Last write", get("aof_last_write_status")],
    ["Its size", get("aof_current_size") && bytes(number("Persistence", "aof_current_size"))],
    ["Rewriting now", yes("aof_rewrite_in_progress")],
    ["Loading", yes("loading")],
  ]);
}

function replication(field) {
  const get = (name) => field("Replication", name);
  const rows = [["Role", get("role")], ["Replicas", get("connected_slaves")], ["Offset", get("master_repl_offset")],
    ["Primary", get("master_host") && get("master_host") + ":" + get("master_port")],
    ["Link", get("master_link_status")], ["Id", get("master_replid")]];
  for (let at = 0; get("slave" + at); at += 1) {
    const replica = parts(get("slave" + at));
    rows.push(["Replica " + replica.ip + ":" + replica.port, replica.state + ", lag " + replica.lag + " s"]);
  }
  pairs(byId("replication"), rows);
}

function problem(text) {
  byId("problem").textContent = text || "";
  byId("problem").hidden = !text;
}

// What a page may not see says why in its place.
async function part(path, where, draw) {
  try {
    draw(await ask(path));
  } catch (error) {
    where.replaceChildren(element("p", { class: "empty" }, error.message));
  }
}

function showClients(all) {
  byId("clients-total").textContent = all.total > all.clients.length
    ? all.clients.length + " of " + all.total + ", those that take most memory" : String(all.total);
  table(byId("clients"), [["Id", "n"], ["Address", "t"], ["Name", "t"], ["User", "t"], ["Library", "t"], ["Database", "n"],
    ["Last command", "t"], ["Commands", "n"], ["Idle", "n"], ["Connected", "n"], ["Memory", "n"], ["In", "n"],
    ["Out", "n"]], all.clients.map((one) => [String(one.id), one.addr, one.name, one.user, one.library, String(one.db),
    one.command || DASH, count(one.commands), span(one.idle_s), span(one.age_s), bytes(one.memory),
    bytes(one.net_in), bytes(one.net_out)]), "No clients.");
}

function showSlow(log) {
  byId("slow-total").textContent = String(log.total);
  table(byId("slow"), [["When"], ["Took", "n"], ["Command", "t"], ["Key", "t"], ["Arguments", "n"], ["Client", "t"],
    ["Name", "t"]], log.entries.map((one) => [new Date(one.at_s * 1000).toLocaleTimeString(), micros(one.us),
    one.command, one.key || DASH, String(one.arguments), one.addr, one.name]), "No slow command.");
}

function showKeys(walk) {
  const running = walk.state === "running", group = (one) => [count(one.keys), bytes(one.bytes), count(one.volatile)];
  byId("walk-stop").hidden = !running;
  byId("walk-progress").hidden = !running;
  byId("walk-progress").value = 100 * Math.min(1, walk.all.keys / Math.max(1, walk.expected));
  const so = { none: "", running: "so far ", stopped: "stopped after ", done: "" }[walk.state];
  byId("walk-state").textContent = walk.state === "none" ? "" : so + count(walk.all.keys) + " keys of database "
    + walk.db + ", " + bytes(walk.all.bytes) + ", in " + (walk.took_ms / 1000).toFixed(1) + " s";
  const titles = [["Keys", "n"], ["Memory", "n"], ["Expiring", "n"]];
  const hint = "Not looked through yet.";
  table(byId("types"), [["Type"], ...titles], walk.types.map((one) => [one.name, ...group(one)]), hint);
  const prefixes = walk.prefixes.map((one) => [one.name || "(none)", ...group(one)]);
  if (walk.others.keys) prefixes.push(["(all others)", ...group(walk.others)]);
  table(byId("prefixes"), [["Prefix", "t"], ...titles], prefixes, hint);
  table(byId("largest"), [["Key", "t"], ["Type"], ["Memory", "n"]],
    walk.largest.map((one) => [one.key, one.type, bytes(one.bytes)]), hint);
  return running;
}

async function walk(method) {
  try {
    const db = Number.parseInt(byId("walk-db").value, 10) || 0;
    showKeys(await ask("/api/keys?db=" + db, { method, headers: { "x-redstart-console": "1" } }));
    walking = true;
  } catch (error) {
    byId("walk-state").textContent = error.message;
  }
}

let walking = true;
let paused = false;
let turn = 0;

async function tick() {
  if (paused || document.hidden) return;
  try {
    show(await ask("/api/info"));
  } catch (error) {
    byId("health").textContent = "unreachable";
    byId("health").className = "pill bad";
    problem("The server does not answer: " + error.message);
    return;
  }
  if (turn % 2 === 0) await part("/api/clients", byId("clients"), showClients);
  else await part("/api/slowlog", byId("slow"), showSlow);
  if (walking) await part("/api/keys", byId("types"), (found) => { walking = showKeys(found); });
  turn += 1;
}

byId("walk").addEventListener("submit", (event) => { event.preventDefault(); walk("POST"); });
byId("walk-stop").addEventListener("click", () => walk("DELETE"));
byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  byId("pause").textContent = paused ? "Go on" : "Pause";
  if (!paused) last = null;
});

(async function forever() {
  for (;;) {
    const start = performance.now();
    await tick();
    await new Promise((done) => setTimeout(done, Math.max(100, 1000 - (performance.now() - start))));
  }
})();
