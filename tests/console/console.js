"use strict";
// The console in a real browser: does it show what the server does, and only as text?

const assert = require("node:assert");
const { execFileSync, spawn } = require("node:child_process");
const net = require("node:net");
const { chromium } = require("playwright-core");

const SERVER = process.env.CONSOLE_SERVER;
const PICTURES = process.env.CONSOLE_PICTURES;
const HOSTILE = "<script>window.hacked=1</script>:<img src=x onerror=window.hacked=1>";
// Without those of the second row Chromium asks for updates and the like.
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

function freePort() {
  return new Promise((done, failed) => {
    const socket = net.createServer().on("error", failed).listen(0, "127.0.0.1", () => {
      const { port } = socket.address();
      socket.close(() => done(port));
    });
  });
}

async function until(what, condition, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error("never: " + what);
    await new Promise((done) => setTimeout(done, 100));
  }
}

const running = [];

function start(program, args) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  child.stdout.resume();
  running.push(child);
  return child;
}

class Host {
  static async start(...args) {
    const host = new Host();
    host.port = await freePort();
    host.http = await freePort();
    host.url = "http://127.0.0.1:" + host.http;
    start(SERVER, ["--port", host.port, "--http-port", host.http, "--bind", "127.0.0.1", "--save", "", ...args]
      .map(String));
    await until("the server answers", () => {
      try { return host.cli("PING").includes("P"); } catch { return false; }
    });
    return host;
  }

  cli(...args) {
    return execFileSync("redis-cli", ["-p", String(this.port), ...args], { encoding: "utf8" });
  }
}

// A page, and what went wrong in it.
async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1360, height: 1000 }, ...options });
  const page = await context.newPage();
  const problems = [], hosts = new Set();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => {
    const { protocol, host } = new URL(request.url());
    if (protocol !== "data:") hosts.add(host);
  });
  await page.goto(url);
  return { context, page, problems, hosts };
}

const text = (page, selector) => page.locator(selector).innerText();
const points = (page, chart) => page.locator(chart + " polyline.a").getAttribute("points");

async function showsWhatHappens(browser) {
  const host = await Host.start("--slowlog-log-slower-than", "0");
  for (let number = 0; number < 300; number += 1) {
    host.cli("SET", "session:" + number, "x".repeat(number % 90), "EX", "3600");
  }
  host.cli("HSET", HOSTILE, "field", "value");
  host.cli("RPUSH", "queue:mail", ..."abcdefgh");
  host.cli("ZADD", "board:all", "1", "a", "2", "b");
  host.cli("SADD", "tags", "a", "b", "c");
  host.cli("INCR", "queue:mail");
  host.cli("CONFIG", "SET", "slowlog-log-slower-than", "1000000");
  const load = ["set", "get", "hset"].map((test) => start("redis-benchmark", ["-p", String(host.port), "-c", "4",
    "-n", "100000000", "-r", "5000", "-q", "-t", test]));
  const { context, page, problems, hosts } = await open(browser, host.url + "/");
  await until("the server is well", async () => (await text(page, "#health")) === "ok");
  await until("commands are counted", async () => /\d/.test(await text(page, "#ops-chart .most")));
  const before = await points(page, "#ops-chart");
  await until("the chart moves", async () => {
    const now = await points(page, "#ops-chart");
    return now !== before && now.split(" ").length > 3;
  });
  const drawn = (await points(page, "#ops-chart")).split(" ").map((point) => Number(point.split(",")[1]));
  assert(drawn.some((y) => y < 90), "a line at the bottom: " + drawn);

  await page.getByRole("button", { name: "Look through all keys" }).click();
  await until("all keys were seen", async () => /keys of database 0/.test(await text(page, "#walk-state"))
    && await page.locator("#walk-stop").isHidden());
  const cells = async (selector) => page.locator(selector + " td:first-child").allInnerTexts();
  for (const type of ["hash", "list", "set", "string", "zset"]) {
    assert((await cells("#types")).includes(type), "type " + type);
  }
  const prefixes = await cells("#prefixes");
  for (const prefix of ["session:", "queue:", "board:", "(none)", "<script>window.hacked=1</script>:"]) {
    assert(prefixes.includes(prefix), prefix + " in " + prefixes);
  }
  assert.strictEqual(await page.evaluate(() => window.hacked), undefined, "a key's name ran");
  assert.strictEqual(await page.locator("main script, main img").count(), 0);
  assert((await cells("#commands")).some((name) => /set|get|lpush/.test(name)));
  assert((await page.locator("#clients tbody tr").count()) >= 12);
  assert((await cells("#errors")).includes("WRONGTYPE"));
  assert(/db0/.test(await text(page, "#databases")) && /Append-only/.test(await text(page, "#persistence")));
  const slow = await page.locator("#slow td").allInnerTexts();
  assert(slow.includes(HOSTILE) && slow.includes("HSET"), "the slow log: " + slow.slice(0, 20));
  assert(!slow.includes("value") && !slow.includes("field"), "values are shown");
  await until("a chart to look at", async () => (await points(page, "#ops-chart")).split(" ").length > 15, 30);
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.screenshot({ path: PICTURES + "/light.png", fullPage: true });
  await page.screenshot({ path: PICTURES + "/front.png" });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: PICTURES + "/dark.png", fullPage: true });
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 390, height: 844 });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert(width <= 390, "a phone has to scroll sideways: " + width);
  await page.screenshot({ path: PICTURES + "/phone.png", fullPage: true });

  // The keyboard alone reaches what can be done.
  const reached = [];
  for (let step = 0; step < 30; step += 1) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => document.activeElement.id || document.activeElement.textContent));
  }
  assert(reached.includes("pause") && reached.includes("walk-db"), "reached by Tab: " + reached);
  await page.locator("#pause").click();
  const still = await points(page, "#ops-chart");
  await new Promise((done) => setTimeout(done, 2500));
  assert.strictEqual(await points(page, "#ops-chart"), still, "a paused chart moves");
  assert.deepStrictEqual(problems, []);
  assert.deepStrictEqual([...hosts], ["127.0.0.1:" + host.http], "requests leave the host");
  load.forEach((child) => child.kill());
  await context.close();
}

async function asksForThePassword(browser) {
  const host = await Host.start("--http-password", "s3cret");
  const { page, context } = await open(browser, host.url + "/", {
    httpCredentials: { username: "me", password: "s3cret" },
  });
  await until("the server is well", async () => (await text(page, "#health")) === "ok");
  await until("clients are listed", async () => (await page.locator("#clients tbody tr").count()) >= 0);
  await context.close();
  const stranger = await browser.newContext();
  const answer = await (await stranger.newPage()).goto(host.url + "/").catch((error) => error);
  assert(answer instanceof Error || answer.status() === 401, "no password was asked for");
  await stranger.close();
}

async function tellsWhenTheServerIsGone(browser) {
  const host = await Host.start();
  const { page, context } = await open(browser, host.url + "/");
  await until("the server is well", async () => (await text(page, "#health")) === "ok");
  host.cli("SHUTDOWN", "NOSAVE");
  await until("it is said", async () => (await text(page, "#health")) === "unreachable");
  assert(/does not answer/.test(await text(page, "#problem")));
  await context.close();
}

async function otherPagesCanDoNothing(browser) {
  const host = await Host.start();
  const evil = await browser.newContext();
  const page = await evil.newPage();
  await page.goto("data:text/html,<p>elsewhere");
  const outcome = await page.evaluate(async (url) => {
    const seen = [];
    for (const options of [{}, { method: "POST" }, { method: "POST", headers: { "x-redstart-console": "1" } },
      { method: "POST", mode: "no-cors" }]) {
      try {
        const answer = await fetch(url + "/api/keys", options);
        seen.push(answer.type === "opaque" ? "opaque" : await answer.text());
      } catch {
        seen.push("refused");
      }
    }
    return seen;
  }, host.url);
  assert(outcome.every((one) => ["refused", "opaque"].includes(one)), "another page sees " + outcome);
  const walk = await (await fetch(host.url + "/api/keys")).json();
  assert.strictEqual(walk.state, "none", "another page began a walk");
  await evil.close();
}

async function main() {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
  let passed = 0, failed = 0;
  for (const test of [showsWhatHappens, asksForThePassword, tellsWhenTheServerIsGone, otherPagesCanDoNothing]) {
    const began = Date.now();
    let outcome = "ok      ";
    try {
      await test(browser);
      passed += 1;
    } catch (error) {
      failed += 1;
      outcome = "FAILED  ";
      console.log(error.stack);
    }
    console.log(outcome, test.name, ((Date.now() - began) / 1000).toFixed(1), "s");
    running.splice(0).forEach((child) => child.kill("SIGKILL"));
  }
  await browser.close();
  console.log(passed + " passed, " + failed + " failed");
  process.exitCode = failed ? 1 : 0;
}

main().catch((error) => {
  console.error(error);
  running.forEach((child) => child.kill("SIGKILL"));
  process.exitCode = 1;
});
