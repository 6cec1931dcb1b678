import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { WebSocketServer } from "ws";

import { encodeDown, UpReader } from "./codec/relay.ts";

/** A relay on a real socket that says Welcome and answers pings. */
async function relay(t: TestContext): Promise<string> {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  t.after(() => {
    for (const c of server.clients) c.terminate();
    server.close();
  });
  server.on("connection", (ws) => {
    const reader = new UpReader((f) => {
      if (f.type === "hello") ws.send(encodeDown.welcome());
      if (f.type === "ping") ws.send(encodeDown.pong(f.ref));
      if (f.type === "subscribe") ws.send(encodeDown.ok(f.ref, { epoch: 1, seq: 0 }, { epoch: 1, seq: 0 }));
    });
    ws.on("message", (data) => reader.push(new Uint8Array(data as Buffer)));
  });
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Starts a program that has `connect`, `url` and `until(relay, state)`. */
function run(t: TestContext, url: string, program: string) {
  const source = `
    import { connect, UnauthorizedError } from ${JSON.stringify(new URL("../src/index.ts", import.meta.url).href)};
    const url = ${JSON.stringify(url)};
    const until = (relay, state) => new Promise((resolve) => relay.on("state", (c) => c.to === state && resolve(c)));
    ${program}`;
  const child = spawn(process.execPath, ["--no-warnings", "--input-type=module", "-e", source], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill());
  return child;
}

// Node 20 cannot run the sources; there the package is tested as it is published.
const skip = typeof WebSocket === "undefined" && "this Node has no WebSocket of its own";

test("an open client keeps the process alive", { skip }, async (t) => {
  const child = run(t, await relay(t), `await until(connect(url), "connected"); console.log("connected");`);
  await once(child.stdout!, "data");
  const exited = once(child, "exit").then(() => "exited");
  assert.equal(await Promise.race([exited, new Promise((resolve) => setTimeout(resolve, 1_500, "alive"))]), "alive");
});

test("a closed client leaves nothing that does, however it was closed", { skip }, async (t) => {
  const child = run(t, await relay(t), `
    let r = connect(url); // connected
    await until(r, "connected");
    await r.channel("a:b").subscribe().subscribed();
    await r.close();
    r = connect("http://127.0.0.1:1"); // connecting
    await until(r, "connecting");
    await new Promise((resolve) => setTimeout(resolve, 300));
    await r.close();
    await connect(url).close(); // in the same turn
    r = connect(url); // with a publish that nobody answers
    await until(r, "connected");
    r.channel("a:b").publish({ text: "hi" }).catch(() => {});
    await r.close({ timeout: 100 });
    r = connect(url, { getToken: () => new Promise(() => {}) }); // while getToken hangs
    await until(r, "connecting");
    await r.close();
    const stop = new AbortController(); // by its signal
    r = connect(url, { signal: stop.signal });
    await until(r, "connected");
    stop.abort();
    r = connect(url, { getToken() { throw new UnauthorizedError("signed out"); } }); // for good
    await until(r, "closed");
    console.log("done");
    setTimeout(() => {
      console.log("left", process.getActiveResourcesInfo());
      process.exit(1);
    }, 2_000).unref();`);
  let out = "";
  child.stdout!.on("data", (text) => (out += text));
  const [code] = await once(child, "close");
  assert.deepEqual([out, code], ["done\n", 0]);
});
