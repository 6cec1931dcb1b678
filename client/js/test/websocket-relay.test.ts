// The link against the real relay, over WebSocket: bin/meridian, or what MERIDIAN_BIN names.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { WebSocket as WsClient } from "ws";
import type { Publication, SubscribeRequest } from "../src/link.ts";
import { openLink, Winner } from "../src/open.ts";
import type { LinkEvents } from "../src/open.ts";
import type { Position } from "../src/position.ts";
import type { WebSocketConstructor } from "../src/websocket.ts";
import { messageBody } from "./codec/relay.ts";

let unhandled = 0;
process.on("unhandledRejection", () => (unhandled++, (process.exitCode = 1)));

const bin = process.env.MERIDIAN_BIN ?? fileURLToPath(new URL("../../../bin/meridian", import.meta.url));
const skip = existsSync(bin) ? false : `${bin} is not there: run make build`;

async function relay(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), "meridian-"));
  // meridian refuses variables of its name that it does not know, and scripts/js sets one.
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith("MERIDIAN_"));
  const env = { ...Object.fromEntries(others), HOME: dir, MERIDIAN_CONFIG_DIR: dir };
  const child = spawn(bin, ["dev", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ops", ""], { env, stdio: ["ignore", "pipe", "ignore"] });
  const ended = once(child, "exit");
  t.after(async () => {
    child.kill();
    await ended;
    rmSync(dir, { recursive: true });
  });
  for await (const line of createInterface(child.stdout)) {
    if (!line.startsWith("ready ")) continue;
    const { http } = JSON.parse(line.slice(6)) as { http: string };
    const token = (...args: string[]) => execFileSync(bin, ["token", ...args], { env, encoding: "utf8" }).trim();
    return { url: http, token, child };
  }
  throw new Error("meridian dev ended");
}

async function link(t: TestContext, url: string, token: string, WebSocket?: WebSocketConstructor) {
  const log: string[] = [];
  let welcome!: () => void;
  let closed!: () => void;
  const welcomed = new Promise<void>((r) => (welcome = r));
  const over = new Promise<void>((r) => (closed = r));
  const events: LinkEvents = {
    welcome: (w) => (log.push("welcome " + w.edge), welcome()),
    goAway: (g) => log.push("goAway " + g.reason),
    closed: (e) => (log.push(`closed ${e.code} ${e.detail}`), closed()),
  };
  const l = await openLink({ carriers: ["websocket"], url, winner: new Winner(), signal: new AbortController().signal, WebSocket }, { token, agent: "test" }, events);
  t.after(() => l.close(0, ""));
  return { link: l, log, welcomed, over };
}

const live: SubscribeRequest = {
  channel: "demo:link", from: { kind: "live" }, latest: false, limit: 0, barrier: false, own: true, datagram: false, credit: 500,
};

for (const [name, WebSocket] of [["node's", undefined], ["ws", WsClient as WebSocketConstructor]] as const) {
  test(`${name}: publish, subscribe, credit, ping, refresh and the end`, { skip, timeout: 30_000 }, async (t) => {
    const { url, token, child } = await relay(t);
    const { link: l, log, welcomed, over } = await link(t, url, token(), WebSocket);
    const got: string[] = [];
    let more!: () => void;
    let wait = new Promise<void>((r) => (more = r));
    const note = (s: string) => {
      got.push(s);
      more();
      wait = new Promise((r) => (more = r));
    };
    // Behind Hello, without waiting.
    const sub = l.subscribe(live, {
      ok: () => note("ok"),
      message: (_, seq, body) => {
        note("message " + seq);
        sub.grant(body.length);
      },
      gap: () => note("gap"),
      status: (s) => note(s),
      end: (e) => note("end " + e.code),
    });
    await welcomed;
    while (!got.length) await wait;
    assert.ok(l.welcome!.limits.unanswered > 1000);
    const producer = crypto.getRandomValues(new Uint8Array(16));
    const publication = (n: number): Publication => ({ channel: live.channel, producer, n, age: 0, void: false, body: messageBody({ payload: "x".repeat(100) }) });
    const answers: (Position | number)[] = [];
    for (let n = 1; n <= 200; n++) assert.ok(l.publish(publication(n), (at, e) => answers.push(at ?? e!.code)));
    while (got.length < 201) await wait;
    assert.deepEqual(got.slice(1), Array.from(Array(200), (_, i) => "message " + (i + 1)));
    while (answers.length < 200) await l.ping();
    assert.deepEqual(answers.map((a) => (typeof a === "number" ? -a : a.seq)), Array.from(Array(200), (_, i) => i + 1));
    // Refusals.
    l.publish({ ...publication(300), channel: "nowhere:x" }, (_, e) => note("publish " + e?.code));
    l.subscribe({ ...live, channel: "bad" }, { ok() {}, message() {}, gap() {}, status() {}, end: (e) => note("refused " + e.code) });
    while (!got.includes("publish 30") || !got.includes("refused 14")) await wait;
    assert.ok((await l.ping()) < 5000);
    const expires = await l.refresh(token("--lifetime", "10m"));
    assert.ok(expires > 500_000 && expires <= 640_000, String(expires));
    await assert.rejects(l.refresh("nonsense"), { name: "UnauthorizedError" });
    // Closed: Cancel goes up, the session goes on.
    sub.close();
    l.publish(publication(201), () => note("answered"));
    while (!got.includes("answered")) await wait;
    assert.equal(l.end, undefined);
    child.kill("SIGTERM");
    await over;
    assert.equal(log[0]!.slice(0, 7), "welcome");
    assert.match(log.at(-1)!, /^closed (60|62) /, log.join());
    assert.equal(got.at(-1), "answered");
  });
}

test("refusals of a session come with their code", { skip, timeout: 30_000 }, async (t) => {
  const { url, token } = await relay(t);
  const bad = await link(t, url, "nonsense");
  await bad.over;
  assert.match(bad.log.join(), /^closed 20 ./);
  const narrow = await link(t, url, token("--allow", "demo:*=subscribe"));
  await narrow.welcomed;
  const answer = await new Promise((resolve) => {
    const p = { channel: live.channel, producer: new Uint8Array(0), n: 0, age: 0, void: false, body: messageBody({ payload: "x" }) };
    narrow.link.publish(p, (_, e) => resolve(e?.code));
  });
  assert.equal(answer, 22);
  narrow.link.close(0, "done");
  await narrow.over;
  assert.equal(narrow.log.at(-1), "closed 0 done");
});

test("nothing was left unhandled", async () => {
  await new Promise((r) => setTimeout(r, 0));
  assert.equal(unhandled, 0);
});
