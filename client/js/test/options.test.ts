import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { BadRequestError } from "../src/errors.ts";
import type { ConnectOptions } from "../src/options.ts";
import { settings, version } from "../src/options.ts";

test("what is absent", () => {
  const s = settings("https://relay.example.com/", {});
  assert.deepEqual(s, {
    url: "https://relay.example.com", webSocketURL: "", token: "", carriers: ["webtransport", "websocket"],
    agent: `meridian-js/${version}`, window: 65_536, unanswered: 8 << 20, lanes: undefined, least: 250, most: 30_000,
  });
  assert.equal(JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version, version);
});

test("without TLS there is only WebSocket", () => {
  assert.deepEqual(settings("http://h:8080", {}).carriers, ["websocket"]);
  assert.equal(settings(new URL("http://h:8080"), {}).url, "http://h:8080");
});

test("what is given is kept", () => {
  const getToken = () => "t";
  const s = settings("https://h", { getToken, lanes: 0, window: 1, unanswered: 1, backoff: { least: 0, most: 1 }, agent: "é".repeat(64), carriers: ["websocket"], webSocketURL: "http://h:8080" });
  assert.deepEqual(
    [s.getToken, s.lanes, s.window, s.unanswered, s.least, s.most, s.carriers, s.webSocketURL],
    [getToken, 0, 1, 1, 0, 1, ["websocket"], "http://h:8080"],
  );
});

const bad: [string, unknown, ConnectOptions | Record<string, unknown>, RegExp][] = [
  ["no URL", undefined, {}, /relay URL .*https:\/\/HOST:PORT/],
  ["not a URL", "relay.example.com", {}, /"relay.example.com".*https:\/\/HOST:PORT/],
  ["another scheme", "wss://h", {}, /"wss:\/\/h".*https:\/\//],
  ["a path", "https://h/v1", {}, /and no more/],
  ["a user", "https://name:secret@h", {}, /getToken/],
  ["a token in the query", "https://h?token=secret", {}, /getToken/],
  ["a token in what is no URL", "h?token=secret", {}, /relay URL is "h…"/],
  ["another scheme with a token", "ftp://u:secret@h/?secret", {}, /"…h\/…"/],
  ["no carrier", "https://h", { carriers: [] }, /carriers is \[\]/],
  ["an unknown carrier", "https://h", { carriers: ["quic"] }, /\["quic"\].*"webtransport"/],
  ["carriers no list", "https://h", { carriers: "websocket" }, /carriers is "websocket"/],
  ["WebTransport without TLS", "http://h", { carriers: ["webtransport"] }, /only WebSocket/],
  ["a token that is none", "https://h", { token: { secret: 1 } }, /token is "object".*a string/],
  ["getToken no function", "https://h", { getToken: "secret" }, /getToken is "string".*function/],
  ["both", "https://h", { getToken: () => "", token: "secret" }, /no token beside it/],
  ["a long agent", "https://h", { agent: "é".repeat(65) }, /at most 128 bytes/],
  ["agent no string", "https://h", { agent: 7 }, /agent is 7/],
  ["a negative window", "https://h", { window: -1 }, /window is -1: .*from 1 to/],
  ["a window of 0", "https://h", { window: 0 }, /window is 0/],
  ["unanswered as text", "https://h", { unanswered: "9" }, /unanswered is "9"/],
  ["half a lane", "https://h", { lanes: 0.5 }, /lanes is 0.5: .*from 0 to 65535/],
  ["a BigInt", "https://h", { lanes: 1n }, /lanes is 1/],
  ["not a number", "https://h", { backoff: { least: NaN } }, /backoff.least/],
  ["endless", "https://h", { backoff: { most: Infinity } }, /backoff.most/],
  ["a bad WebSocket URL", "https://h", { webSocketURL: "h:1" }, /webSocketURL/],
  ["a signal that is none", "https://h", { signal: {} }, /signal/],
];
for (const [what, url, options, message] of bad) {
  test(`connect with ${what}`, () => {
    assert.throws(() => settings(url as string, options as ConnectOptions), (err) => {
      assert.ok(err instanceof BadRequestError, String(err));
      assert.match(err.message, message);
      assert.ok(!err.message.includes("secret"), err.message);
      assert.ok(err.message.length < 250);
      return true;
    });
  });
}
