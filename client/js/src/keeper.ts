// Keeps a client connected: when to dial, to ping, to doubt, to move and to give up.
import { fullJitter } from "./backoff.ts";
import { elapsed, now } from "./clock.ts";
import type { Conn, HeardLink } from "./conn.ts";
import { ConnectionError, errorOf, UnauthorizedError } from "./errors.ts";
import type { MeridianError } from "./errors.ts";
import type { LinkLike, Welcome } from "./link.ts";
import type { LinkEvents } from "./open.ts";
import { splitURL } from "./options.ts";
import { isHidden, isOffline } from "./page.ts";
import type { PageEvent } from "./page.ts";
import type { State } from "./state.ts";
import type { Tokens } from "./tokens.ts";

// All in milliseconds.
const dialWithin = 15_000; // an attempt, token and Welcome included
const pingEvery = 5_000; // while something is open
const deadAfter = 3_000; // silence after a ping: the path is dead
const doubtLeast = 700; // silence after a ping: a successor is dialled
const doubtMost = 1_500;
const stableAfter = 5_000; // a session that lived so long resets the backoff
const suspendAfter = 120_000;
const leaveWithin = 10_000; // subscriptions have to leave a session that was replaced
const refreshWithin = 20_000; // getToken's time included
const late = 2_000; // a timer so late means that the machine slept, or the page was frozen
const alternativesMost = 8;

/** What a keeper asks for: a session that has said Hello. */
export interface Attempt {
  /** Scheme, host and port. */
  readonly url: string;
  readonly token: string;
  /** All carriers at once: the path in use is dead. */
  readonly hurry: boolean;
  /** Milliseconds, last measured; 0: not known. */
  readonly rtt: number;
  readonly signal: AbortSignal;
}

/** What a keeper needs, and whom it tells. Nothing here throws; only open rejects. */
export interface Keeping {
  open(a: Attempt, events: LinkEvents): Promise<HeardLink>;
  /** Forget which carrier won: the network is another. */
  forget(): void;
  /** Whether somebody waits for the session to do something. */
  busy(): boolean;
  /** `keeper.link` or `keeper.current` is another. Not told when a link ends on which only subscriptions began: they know. */
  moved(): void;
  /** In every state, also for a new reason or session. */
  state(to: State, reason: Error | undefined): void;
  /** There will be no session any more; the keeper is to be stopped. */
  fail(err: Error): void;
}

/** Keeps a client connected, from start to stop. */
export interface Keeper {
  /** The session in use: Welcome came. */
  readonly current: Conn | undefined;
  /** Where subscriptions go: the session in use; without one, one that has only said Hello. */
  readonly link: LinkLike | undefined;
  start(): void;
  /** Ends every session, and everything. */
  stop(): void;
  /** A subscription begins on link. */
  join(link: LinkLike): void;
  /** One has left it. */
  part(link: LinkLike): void;
  page(event: PageEvent): void;
}

/**
 * Makes a keeper. Everything is decided here, in the turn in which it becomes known, on one timer.
 * Its clock only adds up what either clock says has passed: setting the wall clock back stops
 * nothing, setting it on is taken for sleep. backoff is in milliseconds.
 */
export function keep(k: Keeping, url: string, tokens: Tokens, backoff: { readonly least: number; readonly most: number }): Keeper {
  let current: Conn | undefined;
  let dialing: Conn | undefined;
  const conns = new Map<LinkLike, Conn>(); // all open ones

  let alternatives: string[] = []; // of the last GoAway, not yet tried
  let rtt = 0; // ms, smoothed; 0: not known
  let asked = 0; // performance.now() at the last ping
  let dying = false; // the path of the last session
  let failures = 0; // attempts in a row, and sessions that did not last
  let refreshFails = 0;
  let state: State = "connecting";
  let reason: Error | undefined; // of the last failure
  let away = false; // the page was left

  let time = 0; // the keeper's clock
  let seen = now(); // at time
  let notBefore = 0; // dial; the relay's word
  const dues = new Map<() => void, number>(); // what to do when
  let timer: ReturnType<typeof setTimeout> | undefined;
  let planned = 0; // of timer

  // run takes an event: brings the clock on, decides, does what is due, sets the timer.
  function run(decide: () => void): void {
    const moment = now();
    time += elapsed(seen, moment);
    seen = moment;
    decide();
    for (const [due, at] of dues) if (at <= time && dues.delete(due)) due();
    clearTimeout(timer);
    if (!dues.size) return;
    planned = Math.min(...dues.values());
    // A timer takes 31 bits.
    timer = setTimeout(run, Math.min(planned - time, 1e9), wake);
  }

  // during runs what an answer on conn decides, if that is still in use.
  function during(conn: Conn, decide: () => void): void {
    run(() => {
      if (conn === current && !conn.link!.end) decide();
    });
  }

  function after(ms: number, due: () => void): void {
    dues.set(due, time + ms);
  }

  function unset(...list: (() => void)[]): void {
    list.forEach((due) => dues.delete(due));
  }

  function wake(): void {
    if (time - planned > late && !isHidden()) look();
  }

  // What is due. With doubt, dead and refresh there is a current.
  const unlessHeard = (due: () => void) => () => (current!.link!.heard > asked ? alive() : due());
  const doubt = unlessHeard(() => dial(true));
  const dead = unlessHeard(() => {
    dying = true;
    over(current!, new ConnectionError("no answer to a ping"));
  });
  const pingAgain = () => {
    if (isHidden()) return; // timers come late then, and pongs
    if (k.busy() && !dues.has(dead)) ping();
    else after(pingEvery, pingAgain);
  };
  const suspend = () => {
    state = "suspended";
    report();
  };

  // begin begins to connect, without a past.
  function begin(): void {
    failures = 0;
    after(suspendAfter, suspend);
    dial();
    report();
  }

  // look looks at once how things stand: somebody waits, and time or the network may have jumped.
  function look(): void {
    if (current) ping();
    else after(notBefore - time, dial);
  }

  // dial begins an attempt, unless one is under way. suspect: the session in use may be dead, and its carrier with it.
  function dial(suspect = false): void {
    if (dialing) return;
    const conn: Conn = {
      abort: new AbortController(),
      suspect,
      feeds: 0,
      leave: () => over(conn, new ConnectionError("no session within 15 s")),
    };
    dialing = conn;
    after(dialWithin, conn.leave);
    connect(conn).catch((err: Error) => run(() => over(conn, err)));
  }

  async function connect(conn: Conn): Promise<void> {
    const { signal } = conn.abort;
    const token = (conn.token = await tokens.get());
    if (signal.aborted) return;
    const changed = () =>
      run(() => {
        const { end, welcome } = conn.link ?? {};
        if (end) over(conn, errorOf(end, "session"), end.retryAfter);
        else if (welcome) welcomed(conn, welcome);
      });
    const attempt = { url: alternatives.shift() ?? url, token, hurry: conn.suspect || dying, rtt, signal };
    const link = await k.open(attempt, {
      welcome: changed,
      closed: changed,
      goAway: (g) => run(() => goAway(conn, g)),
    });
    if (signal.aborted) return link.close(0, "");
    conn.link = link;
    conns.set(link, conn);
    if (!current) k.moved();
    changed(); // before the promise's turn, it may be
  }

  function welcomed(conn: Conn, w: Welcome): void {
    if (conn !== dialing) return;
    const old = current;
    current = conn;
    dialing = reason = undefined;
    state = "connected";
    dying = false;
    alternatives = [];
    conn.since = time;
    unset(dial, conn.leave, doubt, dead, suspend);
    after(pingEvery, pingAgain);
    after(tokens.accepted(w.tokenExpires), refresh);
    k.moved();
    if (old) {
      old.leaving = true;
      // With nothing on it: answers to what was published on it are on their way.
      after(old.feeds ? leaveWithin : 1_000, old.leave);
    }
    report();
    if (conn.asked) goAway(conn, conn.asked);
  }

  // over takes the end of an attempt or a session, and decides what next. retryAfter: the relay's word, in ms.
  function over(conn: Conn, err: Error, retryAfter = 0): void {
    close(conn);
    const lost = conn === current;
    const refused = isRefused(err);
    if (lost) {
      settle(conn);
      if (refused) tokens.expire();
      current = undefined;
      state = "reconnecting";
      unset(pingAgain, doubt, dead, refresh);
      after(suspendAfter, suspend);
      k.moved();
    } else if (conn === dialing) {
      dialing = undefined;
      if (conn.suspect && current) return;
    } else return;
    reason = err;
    if (!dialing) {
      if (refused && !lost ? !tokens.reject() : !current && isFinal(err)) return k.fail(err);
      notBefore = time + retryAfter;
      // The browser may be wrong about being offline: seldom is not never.
      const wait = refused && !lost ? 0
        : isOffline() ? backoff.most
        : pause(++failures);
      after(Math.max(wait, retryAfter), dial);
    }
    if (!current) report();
  }

  // settle forgets failures before a session that lasted.
  function settle(conn: Conn): void {
    if (time - conn.since! >= stableAfter) failures = 0;
  }

  // pause is the wait after so many failures, in ms.
  function pause(failures: number): number {
    return fullJitter(backoff.least, backoff.most, failures, Math.random());
  }

  // goAway begins the move to another session; the one in use serves until then.
  function goAway(conn: Conn, g: Parameters<LinkEvents["goAway"]>[0]): void {
    conn.asked = g;
    if (conn !== current) return; // Welcome is on its way, or a successor stands
    // No edge can send the client to one without TLS.
    alternatives = g.alternatives
      .map((a) => splitURL(a)[0])
      .filter((origin) => origin.split(":")[0] === url.split(":")[0])
      .slice(0, alternativesMost);
    if (dialing) dialing.suspect = false;
    else {
      // A relay may say it behind every Welcome.
      settle(conn);
      after(pause(failures++), dial);
    }
  }

  // ping asks whether the session in use still lives.
  function ping(): void {
    const conn = current!;
    asked = performance.now();
    // A path that is known to be slow gets longer than is good for the rest.
    after(Math.max(doubtLeast, Math.min(4 * rtt, doubtMost), 2 * rtt), doubt);
    after(Math.max(deadAfter, 3 * rtt), dead);
    after(pingEvery, pingAgain);
    conn.link!.ping().then(
      (ms) => during(conn, () => {
        // As TCP smooths it (RFC 6298, section 2).
        rtt += rtt ? (ms - rtt) / 8 : ms;
        alive();
      }),
      () => {}, // the link ended, and says so itself
    );
  }

  function alive(): void {
    unset(doubt, dead);
    if (dialing?.suspect) cancel();
  }

  // refresh replaces the token in use before it ends.
  function refresh(): void {
    const conn = current!;
    after(refreshWithin, refresh);
    // A successor presents the newest token.
    tokens.fetch().then((token) => conn.link!.refresh(token)).then(
      (ms) => during(conn, () => {
        refreshFails = 0;
        after(tokens.accepted(ms), refresh);
      }),
      (err: Error) => during(conn, () => {
        if (isRefused(err) && !tokens.reject()) k.fail(err);
        else after(fullJitter(1_000, 30_000, ++refreshFails, Math.random()), refresh);
      }),
    );
  }

  function report(): void {
    k.state(state, reason);
  }

  // cancel gives the attempt under way up.
  function cancel(): void {
    const conn = dialing;
    dialing = undefined;
    if (conn) close(conn);
  }

  // close closes what there is of conn.
  function close(conn: Conn): void {
    unset(conn.leave);
    conn.abort.abort();
    if (!conn.link) return;
    conns.delete(conn.link);
    conn.link.close(0, "");
  }

  // drop closes everything and plans nothing.
  function drop(): void {
    cancel();
    for (const conn of conns.values()) close(conn);
    current = undefined;
    dues.clear();
  }

  return {
    get current() {
      return current;
    },
    get link() {
      return (current ?? dialing)?.link;
    },
    start: () => run(begin),
    stop: () => run(drop),
    join(link) {
      conns.get(link)!.feeds++;
    },
    part(link) {
      const conn = conns.get(link);
      if (conn && !--conn.feeds && conn.leaving) close(conn);
    },
    page(event) {
      run(() => {
        if (event === "pagehide") {
          away = true;
          if (current) state = "reconnecting";
          reason = new ConnectionError("the page was left");
          drop();
          k.moved();
          report();
        } else if (away) {
          if (event === "pageshow") {
            away = false;
            begin();
          }
        } else if (event === "visibilitychange" && isHidden()) {
          unset(doubt, dead); // a pong comes late now
        } else if (event === "offline") {
          if (current) ping();
          else if (dues.has(dial)) after(backoff.most, dial);
        } else {
          if (event === "online") {
            k.forget();
            if (dialing) after(0, dial); // again: it began on the network that is gone
            cancel();
          }
          look();
        }
      });
    },
  };
}

// isRefused reports whether another token may do better.
function isRefused(err: Error): boolean {
  return err instanceof UnauthorizedError && err.retryable;
}

// isFinal reports whether a session that was refused or ended so will be refused again. A
// session's own faults are not: done, protocol, too_large, unknown, cancelled.
function isFinal({ retryable, code }: Partial<MeridianError>): boolean {
  return retryable === false && ![0, 10, 13, 43, 61].includes(code!);
}
