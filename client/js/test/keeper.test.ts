import assert from "node:assert/strict";
import { test } from "node:test";

import { Code } from "../src/codes.ts";
import { BadRequestError, ConnectionError, ForbiddenError, UnauthorizedError } from "../src/errors.ts";
import type { Keeper } from "../src/keeper.ts";
import { end, rig, sleep } from "./keeper-rig.ts";
import { settle } from "./time.ts";

test("it connects, and says so", async (t) => {
  const r = rig(t);
  await r.time.advance(100);
  assert.deepEqual(r.path(), ["connecting", "connected"]);
  assert.equal(r.keeper.current?.link, r.links[0]);
  assert.equal(r.keeper.link, r.links[0]);
});

test("subscriptions may use a link before Welcome when there is no other", async (t) => {
  const r = rig(t, () => "silent");
  await r.time.advance(10);
  assert.equal(r.keeper.link, r.links[0]);
  assert.equal(r.keeper.current, undefined);
  assert.deepEqual(r.moves, [r.links[0]]);
  r.links[0]!.greet();
  assert.equal((r.keeper as Keeper).current?.link, r.links[0]);
});

test("a path that does not answer is replaced within 8 s, by a session dialled over all carriers", async (t) => {
  const r = rig(t, (n, link) => {
    if (n === 0) link.rtt = undefined;
    return n > 0 && sleep(500);
  });
  await r.time.advance(8_000);
  assert.equal(r.dials.length, 2);
  assert.ok(r.dials[1]! - r.dials[0]! < 7_000, "dialled in doubt");
  assert.ok(r.links[1]!.attempt.hurry);
  assert.equal(r.keeper.current?.link, r.links[1]);
  assert.deepEqual(r.path(), ["connecting", "connected"]);
});

test("a path that is dead while no successor comes is given up after 3 s without a frame", async (t) => {
  const r = rig(t, (n, link) => {
    link.rtt = undefined;
    if (n > 1) link.rtt = 10;
    return n === 1 && new Promise(() => {});
  });
  await r.time.advance(7_900);
  assert.equal(r.keeper.current?.link, r.links[0]);
  await r.time.advance(300);
  assert.equal(r.keeper.current, undefined);
  assert.ok(r.links[0]!.end);
  assert.equal(r.states.at(-1)!.to, "reconnecting");
  assert.ok(r.states.at(-1)!.reason instanceof ConnectionError);
  await r.time.advance(40_000); // the attempt under way ends after 15 s
  assert.equal(r.states.at(-1)!.to, "connected");
  assert.ok(r.links[2]!.attempt.hurry, "the path was dead");
});

test("a late pong keeps the session; the successor dialled in doubt is given up", async (t) => {
  const r = rig(t, (n, link) => {
    link.rtt = 2_000;
    return n > 0 && sleep(5_000);
  });
  await r.time.advance(60_000);
  assert.ok(r.dials.length > 1);
  assert.equal(r.keeper.current?.link, r.links[0]);
  assert.ok(r.links.slice(1).every((l) => l.attempt.signal.aborted));
});

test("any frame is a sign of life", async (t) => {
  const r = rig(t, (_, link) => {
    link.rtt = undefined;
  });
  for (let i = 0; i < 600; i++) {
    await r.time.advance(100);
    r.links[0]!.heard = performance.now();
  }
  assert.equal(r.dials.length, 1);
  assert.equal(r.keeper.current?.link, r.links[0]);
});

test("a path known to be slow is not doubted", async (t) => {
  const r = rig(t, (_, link) => {
    link.rtt = 2_000;
    return sleep(4_000);
  });
  await r.time.advance(12_500);
  const { length } = r.dials;
  await r.time.advance(60_000);
  assert.equal(r.dials.length, length);
});

test("no ping while nothing is open, one every 5 s otherwise", async (t) => {
  const r = rig(t);
  r.busy = false;
  await r.time.advance(60_000);
  assert.equal(r.links[0]!.pings, 0);
  r.busy = true;
  await r.time.advance(60_000);
  assert.ok(r.links[0]!.pings >= 11 && r.links[0]!.pings <= 12, `${r.links[0]!.pings}`);
});

test("states, and full jitter between attempts", async (t) => {
  const down = new Error("no route");
  const r = rig(t, (n) => {
    if (n > 0 && n < 20) throw down;
  }, { least: 1_000, most: 20_000 });
  await r.time.advance(100);
  r.links[0]!.finish(end(62));
  await r.time.advance(380_000);
  assert.equal(r.dials.length, 21);
  let waited = 0;
  for (let i = 2; i <= 20; i++) {
    const wait = r.dials[i]! - r.dials[i - 1]!;
    assert.ok(wait <= Math.min(1_000 * 2 ** i, 20_000) + 1_000, `attempt ${i} after ${wait} ms`);
    waited += wait;
  }
  assert.ok(waited > 60_000 && waited < 300_000, `${waited} ms`);
  assert.deepEqual(r.path(), ["connecting", "connected", "reconnecting", "suspended", "connected"]);
  const suspended = r.states.find((s) => s.to === "suspended")!;
  assert.equal(suspended.reason, down);
  assert.equal(r.states.at(-1)!.reason, undefined);
});

test("a session that did not last does not reset the backoff", async (t) => {
  const r = rig(t, (_, link) => void setTimeout(() => link.finish(end(62)), 100), { least: 1_000, most: 30_000 });
  await r.time.advance(120_000);
  assert.ok(r.dials.length < 20, `${r.dials.length} dials in two minutes`);
});

test("a session that lasted does", async (t) => {
  const r = rig(t, (_, link) => void setTimeout(() => link.finish(end(62)), 6_000), { least: 1_000, most: 30_000 });
  await r.time.advance(120_000);
  assert.ok(r.dials.length >= 17, `${r.dials.length} dials in two minutes`);
});

test("suspended without ever having been connected", async (t) => {
  const r = rig(t, () => new Promise(() => {}));
  await r.time.advance(119_000);
  assert.deepEqual(r.path(), ["connecting"]);
  assert.match(String(r.states.at(-1)!.reason), /no session within 15 s/);
  await r.time.advance(2_000);
  assert.deepEqual(r.path(), ["connecting", "suspended"]);
});

test("an attempt without Welcome is given up after 15 s, and its link closed", async (t) => {
  const r = rig(t, (n) => (n === 0 ? "silent" : undefined));
  await r.time.advance(16_000);
  assert.ok(r.links[0]!.end);
  assert.equal(r.keeper.current?.link, r.links[1]);
});

test("retry_after is kept, even when somebody looks", async (t) => {
  const r = rig(t, (n, link) => {
    if (n === 0) link.finish(end(54, { retryAfter: 20_000 }));
  });
  await r.time.advance(10_000);
  r.show(true);
  await r.time.advance(9_000);
  assert.equal(r.dials.length, 1);
  await r.time.advance(2_000);
  assert.equal(r.states.at(-1)!.to, "connected");
});

for (const code of [11, 12, 22, 23, 24]) {
  test(`refused with ${code}: closed after one attempt`, async (t) => {
    const r = rig(t, (_, link) => {
      link.finish(end(code));
    });
    await r.time.advance(60_000);
    assert.equal(r.dials.length, 1);
    assert.equal((r.failed[0] as ForbiddenError).code, code);
  });
}

test("every other code is tried again", async (t) => {
  for (const code of [...Object.values(Code), 64, 999]) {
    if ([11, 12, 14, 20, 21, 22, 23, 24, 30, 41, 42, 44, 53].includes(code)) continue;
    await t.test(`${code}`, async (t) => {
      const r = rig(t, (n, link) => {
        if (n === 0) link.finish(end(code));
      });
      await r.time.advance(300);
      assert.deepEqual([r.states.at(-1)!.to, r.failed], ["connected", []]);
    });
  }
});

test("GoAway: an alternative, the old session until every subscription has left", async (t) => {
  const r = rig(t, (n) => {
    if (n === 1) throw new Error("b is down");
  });
  await r.time.advance(100);
  const old = r.links[0]!;
  r.keeper.join(old);
  r.keeper.join(old);
  const alternatives = ["http://plain", "https://b/x", "not a url", "https://u:p@evil", "https://c:444"];
  old.events.goAway({ reason: 60, deadline: 10_000, alternatives });
  await r.time.advance(2_000);
  assert.deepEqual(r.links.map((l) => l.attempt.url), ["https://a", "https://b", "https://c:444"]);
  assert.equal(r.keeper.current?.link, r.links[2]);
  assert.equal(old.closedAt, 0);
  r.keeper.part(old);
  assert.equal(old.closedAt, 0);
  r.keeper.part(old);
  assert.equal(old.closedWith, 0);
  assert.deepEqual(r.path(), ["connecting", "connected"]);
  assert.deepEqual(r.moves, [old, r.links[2]]);
});

test("GoAway: a subscription that does not leave is left after 10 s, an empty session after 1 s", async (t) => {
  const r = rig(t);
  await r.time.advance(100);
  r.keeper.join(r.links[0]!);
  for (let n = 0; n < 2; n++) {
    r.links[n]!.events.goAway({ reason: 60, deadline: 20_000, alternatives: [] });
    await r.time.advance(100);
  }
  assert.equal(r.keeper.current?.link, r.links[2]);
  await r.time.advance(1_500);
  assert.deepEqual(r.links.map((l) => l.closedAt > 0), [false, true, false]);
  await r.time.advance(9_000);
  assert.deepEqual(r.links.map((l) => l.closedAt > 0), [true, true, false]);
});

test("GoAway right behind Welcome, and before it", async (t) => {
  const r = rig(t, (n, link) => {
    if (n === 0) link.events.goAway({ reason: 60, deadline: 1_000, alternatives: [] });
  });
  await r.time.advance(1_000);
  assert.equal(r.dials.length, 2);
  assert.equal(r.keeper.current?.link, r.links[1]);
});

test("GoAway while a successor is dialled in doubt: the pong does not give it up", async (t) => {
  const r = rig(t, (n, link) => {
    if (n === 0) link.rtt = 2_000;
    return n > 0 && sleep(3_000);
  });
  await r.time.advance(6_000);
  assert.equal(r.dials.length, 2, "in doubt");
  r.links[0]!.events.goAway({ reason: 60, deadline: 10_000, alternatives: [] });
  await r.time.advance(3_500);
  assert.equal(r.dials.length, 2);
  assert.equal(r.keeper.current?.link, r.links[1]);
});

test("a session lost while its successor is under way", async (t) => {
  const r = rig(t, (n) => (n === 1 ? sleep(1_000) : undefined));
  await r.time.advance(100);
  r.links[0]!.events.goAway({ reason: 60, deadline: 500, alternatives: [] });
  await r.time.advance(500);
  r.links[0]!.finish(end(60));
  await settle();
  assert.equal(r.states.at(-1)!.to, "reconnecting");
  await r.time.advance(600);
  assert.equal(r.states.at(-1)!.to, "connected");
  assert.equal(r.dials.length, 2);
});

test("refresh: a minute before the end, again while getToken fails, anew when the token ended", async (t) => {
  const refreshed: number[] = [];
  let down = false;
  const begin = 1_000;
  const r = rig(t, (_, link) => {
    link.tokenExpires = 600_000;
    link.refreshing = async () => {
      refreshed.push(performance.now() - begin);
      return 100_000;
    };
  }, {
    getToken: () => {
      if (down) throw new Error("down");
      return "t";
    },
  });
  await r.time.advance(600_000);
  assert.equal(refreshed.length, 1);
  assert.ok(Math.abs(refreshed[0]! - 540_000) <= 1_000, `${refreshed}`);
  down = true;
  await r.time.advance(30_000);
  down = false;
  await r.time.advance(60_000);
  assert.ok(refreshed[1]! >= 630_000 && refreshed[1]! <= 671_000, `${refreshed}`);
  assert.equal(r.dials.length, 1);
  r.links[0]!.finish(end(21));
  await r.time.advance(1_000);
  assert.equal(r.dials.length, 2);
  assert.equal(r.states.at(-1)!.to, "connected");
});

test("a refresh that is never answered is repeated", async (t) => {
  const r = rig(t, (_, link) => {
    link.tokenExpires = 100_000;
    link.refreshing = () => new Promise(() => {});
  }, { getToken: () => "t" });
  await r.time.advance(99_000);
  assert.equal(r.links[0]!.tokens.length, 1);
  await r.time.advance(60_000);
  assert.ok(r.links[0]!.tokens.length >= 2);
  assert.equal(r.dials.length, 1);
});

test("a session that ends with its token during a refresh is no refusal", async (t) => {
  let asked = 0;
  const r = rig(t, (_, link) => {
    link.tokenExpires = 100_000;
    link.refreshing = async () => {
      link.end = end(21); // the call learns it first
      setTimeout(() => link.events.closed(link.end!), 1);
      throw new UnauthorizedError("ended");
    };
  }, { getToken: () => `t${asked++}` });
  await r.time.advance(600_000);
  assert.ok(r.dials.length >= 5, `${r.dials.length}`);
  assert.deepEqual(r.failed, []);
  assert.ok(asked <= r.dials.length + 1, `${asked} tokens for ${r.dials.length} sessions`);
  assert.equal(r.states.at(-1)!.to, "connected");
});

test("two fresh tokens refused at a refresh close", async (t) => {
  let n = 0;
  const r = rig(t, (_, link) => {
    link.tokenExpires = 100_000;
    link.refreshing = async () => {
      throw new UnauthorizedError("refused");
    };
  }, { getToken: () => `t${n++}` });
  await r.time.advance(200_000);
  assert.equal(r.failed.length, 1);
  assert.equal(r.links[0]!.tokens.length, 2);
});

test("a jump of the clocks is looked into at once", async (t) => {
  const r = rig(t, (n, link) => {
    if (n === 0) link.rtt = undefined;
  });
  r.busy = false; // no ping of its own
  await r.time.advance(1_000);
  r.time.setWall(600_000);
  await r.time.advance(9_000);
  assert.ok(r.links[0]!.pings >= 1);
  assert.equal(r.keeper.current?.link, r.links[1]);
});

test("a wall clock set back hours, and then on, breaks nothing", async (t) => {
  const r = rig(t, (_, link) => {
    link.tokenExpires = 120_000;
    link.refreshing = async () => 600_000;
  }, { getToken: () => "t" });
  await r.time.advance(10_000);
  r.time.setWall(-5 * 3_600_000);
  await r.time.advance(120_000);
  assert.equal(r.links[0]!.tokens.length, 1);
  const { pings } = r.links[0]!;
  assert.ok(pings > 20, `${pings}`);
  r.time.setWall(10 * 3_600_000);
  await r.time.advance(30_000);
  assert.equal(r.dials.length, 1);
  assert.deepEqual(r.path(), ["connecting", "connected"]);
});

test("hidden: no pings; shown again: one at once, and in doubt a successor", async (t) => {
  const r = rig(t);
  await r.time.advance(100);
  r.links[0]!.rtt = undefined;
  r.show(false);
  await r.time.advance(60_000);
  assert.equal(r.links[0]!.pings, 0);
  r.show(true);
  assert.equal(r.links[0]!.pings, 1);
  await r.time.advance(1_600);
  assert.ok(r.links[1]!.attempt.hurry);
  assert.equal(r.keeper.current?.link, r.links[1]);
});

test("hidden from the start", async (t) => {
  const r = rig(t, () => {}, { hidden: true });
  await r.time.advance(60_000);
  assert.equal(r.links[0]!.pings, 0);
  assert.equal(r.states.at(-1)!.to, "connected");
  r.show(true);
  await r.time.advance(60_000);
  assert.ok(r.links[0]!.pings > 10);
});

test("frozen while hidden: looked into once when it goes on, and hidden still", async (t) => {
  const r = rig(t);
  await r.time.advance(100);
  r.show(false);
  await r.time.advance(1_000);
  r.keeper.page("resume");
  assert.equal(r.links[0]!.pings, 1);
  await r.time.advance(60_000);
  assert.equal(r.links[0]!.pings, 1);
});

test("the page is left: no session, no timer; and back", async (t) => {
  const r = rig(t);
  await r.time.advance(100);
  r.keeper.page("pagehide");
  assert.equal(r.links[0]!.closedWith, 0);
  assert.deepEqual(r.moves, [r.links[0], undefined]);
  assert.equal(r.states.at(-1)!.to, "reconnecting");
  r.show(true);
  r.keeper.page("online");
  await r.time.advance(60_000);
  assert.equal(r.dials.length, 1);
  assert.equal(r.states.at(-1)!.to, "reconnecting");
  r.keeper.page("pageshow");
  await r.time.advance(100);
  assert.equal(r.keeper.current?.link, r.links[1]);
});

test("the page is left while dialling", async (t) => {
  const r = rig(t, (n) => (n === 0 ? sleep(1_000) : undefined));
  await r.time.advance(100);
  r.keeper.page("pagehide");
  await r.time.advance(60_000);
  assert.equal(r.dials.length, 1);
  r.keeper.page("pageshow");
  await r.time.advance(100);
  assert.equal(r.keeper.current?.link, r.links[1]);
});

test("a session that is ready after it was given up is closed", async (t) => {
  const r = rig(t, () => sleep(1_000), { deaf: true });
  await r.time.advance(100);
  r.keeper.page("pagehide");
  await r.time.advance(2_000);
  assert.equal(r.links[0]!.closedWith, 0);
  assert.equal(r.keeper.link, undefined);
  assert.deepEqual(r.path(), ["connecting"]);
});

test("shown for the first time is not back", async (t) => {
  const r = rig(t);
  r.keeper.page("pageshow");
  await r.time.advance(100);
  assert.equal(r.dials.length, 1);
});

test("offline: the path is asked; attempts are seldom; online: at once, and the winner forgotten", async (t) => {
  const r = rig(t, (_, link) => {
    if (r.offline) throw new Error("no network");
    link.rtt = 10;
  });
  await r.time.advance(100);
  r.offline = true;
  r.links[0]!.rtt = undefined;
  r.keeper.page("offline");
  await r.time.advance(3_200);
  assert.equal(r.states.at(-1)!.to, "reconnecting");
  const { length } = r.dials;
  await r.time.advance(300_000);
  assert.ok(r.dials.length - length <= 11, `${r.dials.length - length} attempts in five minutes`);
  assert.ok(r.dials.length - length >= 2, "the browser may be wrong");
  r.offline = false;
  r.keeper.page("online");
  await r.time.advance(100);
  assert.equal(r.forgotten, 1);
  assert.equal(r.states.at(-1)!.to, "connected");
});

test("online while an attempt hangs on the network that is gone", async (t) => {
  const r = rig(t, (n) => (n === 0 ? new Promise(() => {}) : undefined));
  await r.time.advance(1_000);
  r.keeper.page("online");
  await r.time.advance(100);
  assert.ok(r.links[0]!.attempt.signal.aborted);
  assert.equal(r.keeper.current?.link, r.links[1]);
});

test("no carrier here: closed, as trying again does not help", async (t) => {
  const r = rig(t, () => {
    throw new BadRequestError("nothing here can connect");
  });
  await r.time.advance(60_000);
  assert.equal(r.dials.length, 1);
  assert.equal(r.failed.length, 1);
});

test("stopped: every session closed, nothing tried again", async (t) => {
  const r = rig(t);
  await r.time.advance(100);
  r.keeper.join(r.links[0]!);
  r.links[0]!.events.goAway({ reason: 60, deadline: 10_000, alternatives: [] });
  await r.time.advance(100);
  r.keeper.stop();
  assert.deepEqual(r.links.map((l) => l.closedWith), [0, 0]);
  await r.time.advance(60_000);
  assert.equal(r.dials.length, 2);
});
