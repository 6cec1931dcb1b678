import assert from "node:assert/strict";
import { test } from "node:test";
import { Code } from "../src/codes.ts";
import { ClosedError, ForbiddenError } from "../src/errors.ts";
import { history } from "../src/history.ts";
import type { HistoryOptions } from "../src/history.ts";
import { at, FakeHost, FakeLink, follow } from "./reading.ts";
import { settle } from "./time.ts";

function client() {
  const link = new FakeLink();
  return { link, host: new FakeHost(link) };
}

test("history asks when it is iterated, for what stands, and ends at the head", async () => {
  const { link, host } = client();
  const messages = history(host, "demo:x", {});
  assert.equal(link.subs.length, 0);
  const log: string[] = [];
  void follow(messages, log);
  const { from, limit, barrier, latest } = link.sub.request;
  assert.deepEqual([from, limit, barrier, latest], [{ kind: "first" }, Number.MAX_SAFE_INTEGER, true, false]);
  link.sub.ok(at(1, 2), at(1, 9));
  link.sub.run(3, 4);
  link.sub.gap(at(1, 4), at(1, 8), "compacted");
  link.lose();
  const next = host.use(new FakeLink())!;
  assert.deepEqual(next.sub.request.from, { kind: "after", position: at(1, 7) });
  assert.ok(!next.sub.request.barrier);
  next.sub.ok(at(1, 7), at(1, 99));
  next.sub.run(8, 10);
  await settle();
  assert.deepEqual(log, ["3", "4", "8", "9", "done"]);
  assert.ok(next.sub.closed);
  assert.equal(host.feeds.size, 0);
});

test("history ends with a gap that reaches beyond its head", async () => {
  const { link, host } = client();
  const log: string[] = [];
  const reading = follow(history(host, "demo:x", {}), log);
  link.sub.ok(at(1, 2), at(1, 9));
  link.sub.run(3, 4);
  link.sub.gap(at(1, 4), at(1, 12), "trimmed");
  await reading;
  assert.deepEqual(log, ["3", "4", "done"]);
});

test("history ends after its limit, each loop anew", async () => {
  const { link, host } = client();
  const messages = history(host, "demo:x", { from: "live", limit: 2 });
  for (const loop of [1, 2]) {
    const log: string[] = [];
    const reading = follow(messages, log);
    assert.equal(link.subs.length, loop);
    assert.deepEqual([link.sub.request.from, link.sub.request.limit], [{ kind: "first" }, 2]);
    link.sub.ok(at(1, 0), at(1, 9));
    link.sub.run(1, 2);
    link.sub.end(Code.done);
    await reading;
    assert.deepEqual(log, ["1", "2", "done"]);
  }
});

test("history of nothing is empty; leaving the loop closes it; a refusal is thrown", async () => {
  const { link, host } = client();
  let log: string[] = [];
  const empty = follow(history(host, "demo:x", { from: "last:5" }), log);
  link.sub.ok(at(3, 7), at(3, 7));
  await empty;
  assert.deepEqual(log, ["done"]);

  const left = (async () => {
    for await (const m of history(host, "demo:x", { from: at(1, 1) })) return m.text();
    return "";
  })();
  link.sub.ok(at(1, 1), at(1, 9));
  link.sub.run(2, 5);
  assert.equal(await left, "2");
  assert.ok(link.sub.closed);

  log = [];
  const refused = follow(history(host, "demo:x", {}), log);
  link.sub.end(Code.forbidden);
  assert.ok((await refused) instanceof ForbiddenError);
  host.close(new ClosedError("the client was closed"));
  assert.ok((await follow(history(host, "demo:x", {}), log)) instanceof ClosedError);
});

test("history that cannot be is refused at once", () => {
  const { host } = client();
  for (const [options, text] of [
    [{ limit: 0 }, /limit is 0/],
    [{ limit: 1.5 }, /limit is 1.5/],
    [{ from: "last" }, /from "last"/],
    ["last:5", /options is "last:5": give an object/],
  ] as const) {
    assert.throws(() => history(host, "demo:x", options as HistoryOptions), { name: "BadRequestError", message: text });
  }
});
