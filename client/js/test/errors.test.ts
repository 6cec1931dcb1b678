import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Code, codeName, retryOf } from "../src/codes.ts";
import * as errors from "../src/errors.ts";
import type { End } from "../src/session.ts";
import { defaultEnd } from "./codec/relay.ts";

const { errorOf, MeridianError } = errors;

/** Rows of the table of codes in docs/protocol.md: number, name, retry. */
const table = readFileSync(new URL("../../../docs/protocol.md", import.meta.url), "utf8")
  .split("\n## Codes\n")[1]!
  .split("\n## ")[0]!
  .split("\n")
  .map((line) => /^\| (\d+) \| <a id="(\w+)"><\/a>`\2` \| ([\w ]+) \|/.exec(line))
  .filter((m) => m !== null)
  .map(([, n, name, retry]) => ({ code: Number(n), name: name!, retry: retry!.replace("after ", "") }));

const end = (code: number, detail = ""): End => ({ ...defaultEnd, code, detail });

test("the codes are those of the specification, with its names and retry rules", () => {
  assert.ok(table.length > 30, `${table.length} rows read`);
  assert.deepEqual(Object.entries(Code).map(([name, code]) => ({ code, name })), table.map(({ code, name }) => ({ code, name })));
  for (const row of table) {
    assert.equal(codeName(row.code), row.name);
    assert.equal(retryOf(row.code), row.retry, row.name);
  }
});

test("a code that nobody knows is named by its number and repeated later", () => {
  for (const n of [1, 26, 58, 64, 998]) {
    assert.equal(codeName(n), "code " + n);
    assert.equal(retryOf(n), "later", String(n));
    const e = errorOf(end(n, "new"), "publish to a:b");
    assert.ok(e.retryable && e.code === n);
    assert.equal(e.message, `publish to a:b: code ${n}: new; try again later`);
  }
});

const classes: Record<string, string[]> = {
  ProtocolError: ["protocol", "unsupported"],
  BadRequestError: ["bad_request", "bad_channel", "unknown_namespace"],
  TooLargeError: ["too_large"],
  UnauthorizedError: ["unauthorized", "token_expired", "revoked"],
  ForbiddenError: ["forbidden", "origin_refused"],
  UnknownOutcomeError: ["too_old", "unknown"],
  ConflictError: ["conflict"],
  BusyError: [
    "busy", "publish_rate", "byte_rate", "too_many_subscriptions", "too_many_sessions", "too_many_connections", "slow_reader", "request_rate",
  ],
  ConnectionError: ["hello_timeout", "going_away", "link_lost"],
  MeridianError: ["done", "moved", "unavailable", "read_only", "out_of_order", "voided", "cancelled", "internal"],
};

test("every code has its class, name, reason, and words that say what to do", () => {
  const classed = Object.values(classes).flat().sort();
  assert.deepEqual(classed, table.map((r) => r.name).sort());
  for (const { code, name, retry } of table) {
    const e = errorOf(end(code), "subscribe to chat:a");
    assert.ok(classes[e.name]!.includes(name), `${name} is ${e.name}`);
    assert.equal(Object.getPrototypeOf(e), (errors as any)[e.name].prototype);
    assert.ok(e instanceof MeridianError && e instanceof Error);
    assert.equal(e.code, code);
    assert.equal(e.reason, code ? name : "");
    assert.equal(e.retryable, retry !== "final" && e.name !== "UnknownOutcomeError", name);
    assert.ok(e.message.startsWith(`subscribe to chat:a: ${name}`), e.message);
    if (retry !== "final" || !["done", "bad_request", "too_large", "voided", "cancelled"].includes(name))
      assert.match(e.message, /; .+/, `${name}: no remedy`);
    assert.ok(e.stack?.includes("errors.test.ts"));
  }
});

test("the relay's own words stand in the message", () => {
  const e = errorOf(end(22, 'the token has no capability to publish on "a:b"'), "publish to a:b");
  assert.equal(e.message, 'publish to a:b: forbidden: the token has no capability to publish on "a:b"; give a token that allows it');
});

test("an error made here has its class's code, the one given, and its cause", () => {
  const cause = new TypeError("x");
  const codes = Object.values(errors)
    .filter((c) => typeof c === "function" && c.prototype instanceof Error)
    .map((c) => {
      const e = new (c as typeof MeridianError)("m", { cause });
      assert.equal(e.cause, cause);
      assert.equal(e.name, c.name);
      assert.equal(new (c as typeof MeridianError)("m", { code: 41 }).reason, "too_old");
      assert.ok(!("cause" in new (c as typeof MeridianError)("m")));
      return [c.name, e.code, e.reason];
    });
  assert.deepEqual(Object.fromEntries(codes.map(([name, ...rest]) => [name, rest])), {
    MeridianError: [0, ""],
    UnauthorizedError: [20, "unauthorized"],
    ForbiddenError: [22, "forbidden"],
    BadRequestError: [12, "bad_request"],
    TooLargeError: [13, "too_large"],
    BusyError: [50, "busy"],
    UnknownOutcomeError: [43, "unknown"],
    ConflictError: [42, "conflict"],
    ClosedError: [0, ""],
    ConnectionError: [62, "link_lost"],
    ProtocolError: [10, "protocol"],
  });
});
