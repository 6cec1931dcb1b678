// What happens to a page that reads and publishes, over either carrier. Each scenario plays with
// a consumer that takes at once and, beside it, one that takes a second for each message.
import assert from "node:assert/strict";
import type { Carrier } from "../src/session.ts";
import { Scene, sleep, until } from "./cast.ts";
import type { House, SceneOptions } from "./cast.ts";
import { inOrder, longestPause } from "./judge.ts";
import type { Report } from "./plan.ts";


export interface Scenario {
  /** What publishes may be refused with. Absent: none is. */
  readonly refusals?: RegExp;
  readonly options?: (carrier: Carrier) => Partial<SceneOptions>;
  /** Between the first messages and the last; a function returned is called with the final report. */
  play(scene: Scene, carrier: Carrier): Promise<((report: Report) => void) | void>;
}

/** Plays one. Whatever it does, no message is lost, doubled or out of order, and no gap stands where none is. */
export async function perform(s: Scenario, house: House, carrier: Carrier): Promise<void> {
  const scene = await Scene.open(house, { carriers: [carrier], ...s.options?.(carrier) });
  try {
    await scene.play();
    const judge = await s.play(scene, carrier);
    const report = await scene.finish();
    for (const [text, why] of report.refusals) assert.match(why, s.refusals ?? /^$/, `${text} was refused`);
    judge?.(report);
  } catch (err) {
    throw await scene.explain(err);
  } finally {
    await scene.close();
  }
}

const noGap = (report: Report) => assert.deepEqual(report.subs.map((s) => s.gaps), [[], []]);
const trail = (report: Report) => report.states.map((s) => s.to);
/** The other carrier is there too. */
const both = () => ({ carriers: ["webtransport", "websocket"] as const });

export const anywhere: Record<string, Scenario> = {
  "nothing happens": {
    async play() {
      await sleep(2000);
      return (report) => {
        noGap(report);
        assert.deepEqual(trail(report), ["connecting", "connected"]);
      };
    },
  },

  "the way is cut and restored": {
    options: (carrier) => (carrier === "webtransport" ? both() : {}),
    async play(scene, carrier) {
      // Over WebTransport UDP is cut, and WebSocket takes its place; of WebSocket alone all is.
      await scene.stage.cut(carrier === "webtransport" ? "udp" : "both");
      // A ping every 5 s, and another path at most 3 s after one without an answer.
      if (carrier === "webtransport") await scene.goesOn(9000);
      else await until("the cut is noticed", async () => trail(await scene.report()).includes("reconnecting"), 15_000);
      await scene.stage.cut("none");
      await scene.goesOn();
      return (report) => {
        noGap(report);
        assert.equal(report.states.at(-1)!.carrier, "websocket");
      };
    },
  },

  "the edge crashes and starts again": {
    async play(scene) {
      // What the home has acknowledged is still on its way back, and is lost.
      await scene.stage.delay(300);
      await sleep(600);
      await scene.stage.cut("both");
      await scene.stage.kill();
      await scene.stage.reset();
      await scene.stage.delay(0);
      await scene.stage.cut("none");
      await sleep(500);
      await scene.stage.restart();
      await scene.goesOn();
      return (report) => {
        noGap(report);
        assert.ok(trail(report).includes("reconnecting"), trail(report).join());
      };
    },
  },

  "the edge drains": {
    options: () => ({ edges: 2 }),
    async play(scene) {
      // So far away that messages come on the old session while the new one is asked for them.
      await Promise.all([scene.stage.delay(200, 0), scene.stage.delay(200, 1)]);
      const stopped = scene.stage.stop(0);
      await until("the other edge has taken over", async () => (await scene.report()).states.at(-1)!.edge === "edge-1");
      await stopped;
      await scene.goesOn();
      return (report) => {
        noGap(report);
        // Make before break: there is always a session, and no message is late.
        assert.deepEqual([...new Set(trail(report))], ["connecting", "connected"]);
        const pause = longestPause(report.subs[0]!.got);
        assert.ok(pause < 1000, `${pause} ms without a message`);
      };
    },
  },

  "the home dies": {
    refusals: /^UnknownOutcomeError: /, // of what was on its way to it
    async play(scene) {
      await scene.rest();
      await scene.settled();
      const epoch = (await scene.report()).acks[0]![0];
      await scene.stage.home("restart");
      await scene.goesOn();
      await until("a publish is acknowledged by the new home", async () => (await scene.report()).acks.some(([e]) => e > epoch));
      return (report) => {
        for (const { gaps } of report.subs) assert.deepEqual(gaps.map((g) => [g.reason, g.reset]), [["epoch", true]]);
      };
    },
  },

  "the way to the home is lost for a while": {
    async play(scene) {
      await scene.stage.home("lost");
      await sleep(2000);
      await scene.stage.home("back");
      await scene.goesOn();
      return (report) => {
        noGap(report);
        for (const { status } of report.subs) assert.deepEqual(status, ["lost", "restored"]);
        assert.deepEqual(trail(report), ["connecting", "connected"]);
      };
    },
  },

  "clocks hours off, storage forbidden": {
    options: () => ({ ttl: -25_000, before: hostile }), // tokens of 5 s
    async play(scene) {
      await sleep(3000);
      await scene.page.evaluate(() => void (globalThis.skew = -5 * 3_600_000));
      await sleep(3000);
      assert.ok(scene.tokens.asked > 1, "the token was not renewed");
      return (report) => {
        noGap(report);
        assert.deepEqual([...new Set(trail(report))], ["connecting", "connected"]);
      };
    },
  },

  "getToken fails until the token is over": {
    options: () => ({ ttl: -26_000 }), // tokens of 4 s
    async play(scene) {
      scene.tokens.broken = true;
      const lost = await until("the session ends for want of a token", async () =>
        (await scene.report()).states.find((s) => s.to === "reconnecting"));
      const asked = scene.tokens.asked;
      await until("a token is asked for again", async () => scene.tokens.asked > asked);
      scene.tokens.broken = false;
      scene.tokens.ttl = 3_600_000;
      await scene.goesOn();
      return (report) => {
        noGap(report);
        assert.match(lost.reason!, /token/i);
      };
    },
  },
};

const { "nothing happens": nothing, "the edge crashes and starts again": crash } = anywhere;
/** Enough to see that the SDK runs somewhere else than on a page. */
export const smoke: Record<string, Scenario> = { "nothing happens": nothing!, "the edge crashes and starts again": crash! };

/** Subscriptions beside those of the scene, of which some are taken by nobody. */
const channels = Array.from({ length: 200 }, (_, i) => `chat:many-${i}`);
const untaken = 20;

export const crowded: Record<string, Scenario> = {
  "200 channels, of which 20 are not consumed": {
    async play(scene) {
      await scene.rest(); // what the edge delivers from now on is counted
      await scene.settled();
      const before = await scene.stage.metric("meridian_edge_delivered_messages_total");
      const plans = channels.map((channel, i) => ({ channel, ...(i < untaken ? { pause: "never" as const } : {}) }));
      await Promise.all(plans.map((plan) => scene.call("subscribe", plan)));
      const subs = async () => (await scene.report()).subs.slice(2);
      await until("all stand", async () => (await subs()).every((s) => s.subscribed));
      // 96 KiB for each: the window and half of it.
      const [size, count, window] = [4096, 24, 65_536];
      await Promise.all(channels.map((channel) => scene.stage.publish(channel, count, { size })));
      await until("those that are consumed have everything", async () =>
        (await subs()).every((s, i) => s.got.length === (i < untaken ? 0 : count)));
      // Those that are not have what their credit lets through, and no more.
      const most = Math.ceil(window / size);
      const waiting = (await scene.stage.metric("meridian_edge_delivered_messages_total")) - before - (channels.length - untaken) * count;
      assert.ok(waiting >= untaken * (most - 1) && waiting <= untaken * most, `${waiting} messages wait in ${untaken} subscriptions`);
      await scene.call("takeAll");
      await until("the rest has come", async () => (await subs()).every((s) => s.got.length === count));
      return (report) => {
        for (const sub of report.subs.slice(2)) {
          inOrder(sub, count);
          assert.equal(sub.got[0]![2], 1);
        }
        noGap({ ...report, subs: report.subs.slice(0, 2) });
        assert.deepEqual(trail(report), ["connecting", "connected"]);
      };
    },
  },
};

/** What only DevTools can do to a page. */
export const chromiumOnly: Record<string, Scenario> = {
  "frozen for ten minutes, which retention covers": {
    // What was on its way for ten minutes is too old to be repeated: its outcome is unknown.
    refusals: /^UnknownOutcomeError: /,
    options: () => ({ before: agile }),
    async play(scene) {
      await frozen(scene, async () => {
        await scene.stage.publish("chat:hasty", 500);
      });
      await scene.goesOn();
      return (report) => {
        noGap(report);
        assert.ok(longestPause(report.subs[0]!.got) > 600_000, "messages came while it was frozen");
      };
    },
  },

  "frozen for ten minutes, which retention does not cover": {
    // What was on its way for ten minutes is too old to be repeated: its outcome is unknown.
    refusals: /^UnknownOutcomeError: /,
    options: () => ({
      before: agile, hasty: "short", slow: "few",
      namespaces: { chat: {}, short: { count: 20 }, few: { count: 2 } },
    }),
    async play(scene) {
      const first: number[] = [];
      await frozen(scene, async () => {
        await scene.rest();
        for (const [i, channel, count, keeps] of [[0, "short:hasty", 500, 20], [1, "few:slow", 10, 2]] as const) {
          const { n } = await scene.stage.publish(channel, count);
          const [oldest] = await until("retention has let go", async () => {
            const kept = await scene.stage.history(channel);
            return kept.length <= keeps && kept;
          });
          assert.ok(oldest && Number(oldest.text) > n - keeps);
          first[i] = oldest.seq;
        }
      });
      // Before anything else is published, which would move what is retained.
      await until("the hasty one has caught up", async () => (await scene.report()).subs[0]!.got.at(-1)![1] === first[0]! + 19);
      await until("the slow one has caught up", async () => (await scene.report()).subs[1]!.got.at(-1)![1] === first[1]! + 1);
      return (report) => {
        report.subs.forEach(({ gaps }, i) => {
          assert.deepEqual(gaps.map((g) => [g.reason, g.reset, g.next.seq]), [["trimmed", false, first[i]]]);
        });
      };
    },
  },

  "left and come back to by the back-forward cache": {
    async play(scene) {
      await scene.page.goto(scene.page.url() + "elsewhere");
      await sleep(500);
      await scene.stage.publish("chat:hasty", 100);
      await scene.page.goBack();
      await scene.goesOn();
      return (report) => {
        noGap(report);
        assert.equal(report.visits, 1, "the page did not come from the cache");
      };
    },
  },

  "the browser is offline for a while": {
    async play(scene) {
      await scene.page.setOfflineMode(true);
      await scene.stage.cut("both");
      await until("it is noticed", async () => trail(await scene.report()).includes("reconnecting"), 15_000);
      await scene.stage.cut("none");
      await scene.page.setOfflineMode(false);
      await scene.goesOn(5000); // at once, and not when the backoff is over
      return noGap;
    },
  },
};

declare global {
  /** Milliseconds by which the page's clocks are wrong. */
  var skew: number;
}

// hostile makes the clock wrong by five hours and every kind of storage throw.
function hostile(): void {
  globalThis.skew = 5 * 3_600_000;
  const real = Date.now;
  Date.now = () => real() + globalThis.skew;
  for (const name of ["localStorage", "sessionStorage", "indexedDB", "caches"]) {
    Object.defineProperty(globalThis, name, { get() { throw new DOMException(`${name} is forbidden`, "SecurityError"); } });
  }
  Object.defineProperty(Document.prototype, "cookie", {
    get() { throw new DOMException("cookies are forbidden", "SecurityError"); },
    set() { throw new DOMException("cookies are forbidden", "SecurityError"); },
  });
}

// agile has ten minutes pass while the page is frozen.
function agile(): void {
  globalThis.skew = 0;
  const date = Date.now;
  const steady = performance.now.bind(performance);
  Date.now = () => date() + globalThis.skew;
  performance.now = () => steady() + globalThis.skew;
  document.addEventListener("resume", () => void (globalThis.skew += 600_000), { capture: true });
}

// frozen freezes the page; meanwhile its session dies, as it would in ten minutes, and f happens.
async function frozen(scene: Scene, f: () => Promise<void>): Promise<void> {
  const cdp = await scene.page.createCDPSession();
  await cdp.send("Page.setWebLifecycleState", { state: "frozen" });
  await sleep(300);
  await scene.stage.kill();
  await scene.stage.reset();
  await scene.stage.restart();
  await f();
  await cdp.send("Page.setWebLifecycleState", { state: "active" });
  assert.equal(await scene.page.evaluate(() => globalThis.skew), 600_000, "the page was not frozen");
  await cdp.detach();
}
