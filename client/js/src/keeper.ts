// Keeps a client connected: when to dial, to ping, to doubt, to move and to give up.
import { fullJitter } from "./backoff.ts";
import { elapsed, now } from "./clock.ts";
import { retryOf } from "./codes.ts";
import type { Conn, HeardLink } from "./conn.ts";
import { BadRequestError, ConnectionError, errorOf, MeridianError } from "./errors.ts";
import type { LinkLike, Welcome } from "./link.ts";
import type { LinkEvents } from "./open.ts";
import type { PageEvent } from "./page.ts";
import type { End } from "./session.ts";
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
  /** Nobody looks at the page. */
  isHidden(): boolean;
  isOffline(): boolean;
  /** [0, 1) */
  random(): number;
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
  let refreshes = 0; // names the newest
  let reason: Error | undefined; // of the last failure
  let ever = false; // was connected
  let hidden = k.isHidden();
  let away = false; // the page was left
  let stopped = false;

  let time = 0; // the keeper's clock
  let seen = now(); // at time
  let downSince = 0;
  let notBefore = 0; // dial; the relay's word
  const dues = new Map<() => void, number>(); // what to do when
  let timer: ReturnType<typeof setTimeout> | undefined;
  let planned = 0; // of timer

  // run takes an event: brings the clock on, decides, does what is due, sets the timer.
  function run(fn: () => void): void {
    if (stopped) return;
    const moment = now();
    time += elapsed(seen, moment);
    seen = moment;
    fn();
    for (const [due, at] of [...dues]) {
      if (at > time || dues.get(due) !== at) continue;
      dues.delete(due);
      due();
    }
    clearTimeout(timer);
    if (!dues.size || stopped) return;
    // A timer takes 31 bits.
    const wait = Math.min(Math.max(0, Math.min(...dues.values()) - time), 1e9);
    planned = time + wait;
    timer = setTimeout(() => {
      run(() => {
        if (time - planned > late && !hidden) look();
      });
    }, wait);
  }

  function after(ms: number, due: () => void): void {
    dues.set(due, time + ms);
  }

  function unset(...list: (() => void)[]): void {
    for (const due of list) dues.delete(due);
  }

  // What is due. With doubt, dead and renew there is a current, with giveUp a dialing.
  const giveUp = () => over(dialing!, new ConnectionError("no session within 15 s"));
  const doubt = () => {
    if (current!.link!.heard > asked) alive();
    else dial(true);
  };
  const dead = () => {
    if (current!.link!.heard > asked) return alive();
    dying = true;
    over(current!, new ConnectionError("no answer to a ping"));
  };
  const stale = () => refreshed(new ConnectionError("no answer to a new token"));
  const pingAgain = () => {
    if (k.busy() && !dues.has(dead)) ping();
    else after(pingEvery, pingAgain);
  };

  // begin begins to connect, without a past.
  function begin(): void {
    downSince = time;
    failures = 0;
    after(suspendAfter, report);
    after(0, dial);
    report();
  }

  // look looks at once how things stand: somebody waits, and time or the network may have jumped.
  function look(): void {
    if (current) ping();
    else if (!dialing) dues.set(dial, Math.max(time, notBefore));
  }

  // dial begins an attempt, unless one is under way. suspect: the session in use may be dead, and its carrier with it.
  function dial(suspect = false): void {
    if (dialing) return;
    const conn: Conn = { abort: new AbortController(), suspect, feeds: 0, leave: () => close(conn) };
    dialing = conn;
    unset(dial);
    after(dialWithin, giveUp);
    connect(conn, alternatives.shift() ?? url, suspect || dying).catch((err: unknown) =>
      run(() => over(conn, err as Error)),
    );
  }

  async function connect(conn: Conn, url: string, hurry: boolean): Promise<void> {
    const { signal } = conn.abort;
    const token = (conn.token = await tokens.get());
    if (signal.aborted) return;
    const link = await k.open({ url, token, hurry, rtt, signal }, {
      welcome: (w) => run(() => welcomed(conn, w)),
      goAway: (g) => run(() => goAway(conn, g)),
      closed: (end) => run(() => ended(conn, end)),
    });
    if (signal.aborted) return link.close(0, "");
    conn.link = link;
    conns.set(link, conn);
    // They may have come before the promise's turn.
    if (link.end) run(() => ended(conn, link.end!));
    else if (link.welcome) run(() => welcomed(conn, link.welcome!));
    else if (!current) k.moved();
  }

  function welcomed(conn: Conn, w: Welcome): void {
    if (conn !== dialing || !conn.link) return;
    const old = current;
    current = conn;
    dialing = reason = undefined;
    ever = true;
    dying = false;
    alternatives = [];
    conn.since = time;
    unset(dial, giveUp, doubt, dead, refresh, stale, report);
    if (!hidden) after(pingEvery, pingAgain);
    refreshes++;
    const renew = tokens.accepted(w.tokenExpires);
    if (renew) after(renew, refresh);
    k.moved();
    if (old) {
      old.leaving = true;
      // With nothing on it: answers to what was published on it are on their way.
      after(old.feeds ? leaveWithin : 1_000, old.leave);
    }
    report();
    if (conn.asked) goAway(conn, conn.asked);
  }

  function ended(conn: Conn, end: End): void {
    over(conn, errorOf(end, "session"), end);
  }

  // over takes the end of an attempt or a session. end: what the relay, or the link, said.
  function over(conn: Conn, err: Error, end?: End): void {
    close(conn);
    if (conn === dialing) {
      dialing = undefined;
      unset(giveUp);
      if (!conn.suspect || !current) failed(err, end);
    } else if (conn === current) lost(conn, err, end);
  }

  function lost(conn: Conn, err: Error, end: End | undefined): void {
    if (time - conn.since! >= stableAfter) failures = 0;
    current = undefined;
    if (end && retryOf(end.code) === "token") {
      tokens.expire();
      end = undefined; // no refusal of what comes next
    }
    unset(pingAgain, doubt, dead, refresh, stale);
    downSince = time;
    after(suspendAfter, report);
    k.moved();
    if (!dialing) return failed(err, end);
    reason = err;
    report();
  }

  // failed takes a failed attempt or a lost session, and decides what next.
  function failed(err: Error, end: End | undefined): void {
    reason = err;
    const retry = end && retryOf(end.code);
    if (
      retry === "token" ? !tokens.reject()
      : end ? !current && isFinal(end.code)
      : err === tokens.denied || err instanceof BadRequestError // there is no carrier
    ) {
      return k.fail(err);
    }
    let wait = 0;
    if (retry !== "token") {
      wait = fullJitter(backoff.least, backoff.most, ++failures, k.random());
      // The browser may be wrong about being offline: seldom is not never.
      if (k.isOffline()) wait = backoff.most;
      wait = Math.max(wait, end?.retryAfter ?? 0);
      notBefore = time + (end?.retryAfter ?? 0);
    }
    after(wait, dial);
    if (!current) report();
  }

  // goAway begins the move to another session; the one in use serves until then.
  function goAway(conn: Conn, g: Parameters<LinkEvents["goAway"]>[0]): void {
    conn.asked = g;
    if (conn !== current) return; // Welcome is on its way, or a successor stands
    alternatives = usable(url, g.alternatives);
    if (dialing) dialing.suspect = false;
    else after(0, dial);
  }

  // ping asks whether the session in use still lives.
  function ping(): void {
    const conn = current!;
    asked = performance.now();
    // A path that is known to be slow gets longer than is good for the rest.
    after(Math.max(doubtLeast, Math.min(4 * rtt, doubtMost), 2 * rtt), doubt);
    after(Math.max(deadAfter, 3 * rtt), dead);
    if (!hidden) after(pingEvery, pingAgain);
    conn.link!.ping().then(
      (ms) => run(() => {
        if (conn !== current) return;
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
    const n = ++refreshes;
    after(refreshWithin, stale);
    const done = (err: Error | undefined, ms: number): void =>
      run(() => {
        // A successor presents the newest token.
        if (n === refreshes && conn === current && !conn.link!.end) refreshed(err, ms);
      });
    tokens
      .fetch()
      .then((token) => conn.link!.refresh(token))
      .then((ms) => done(undefined, ms), (err: Error) => done(err, 0));
  }

  function refreshed(err: Error | undefined, ms = 0): void {
    refreshes++;
    unset(stale);
    let renew: number | undefined;
    if (!err) {
      refreshFails = 0;
      renew = tokens.accepted(ms);
    } else {
      const refused = err instanceof MeridianError && retryOf(err.code) === "token";
      if (refused && (err === tokens.denied || !tokens.reject())) return k.fail(err);
      renew = fullJitter(1_000, 30_000, ++refreshFails, k.random());
    }
    if (renew !== undefined) after(renew, refresh);
  }

  // report tells the state while no session stands, or that one does.
  function report(): void {
    k.state(
      current ? "connected"
      : time - downSince >= suspendAfter ? "suspended"
      : ever ? "reconnecting"
      : "connecting",
      reason,
    );
  }

  // cancel gives the attempt under way up.
  function cancel(): void {
    const conn = dialing!;
    dialing = undefined;
    unset(giveUp);
    close(conn);
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
    if (dialing) cancel();
    for (const conn of [...conns.values()]) close(conn);
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
    start() {
      run(() => begin());
    },
    stop() {
      stopped = true;
      drop();
      clearTimeout(timer);
    },
    join(link) {
      const conn = conns.get(link);
      if (conn) conn.feeds++;
    },
    part(link) {
      const conn = conns.get(link);
      if (conn && !--conn.feeds && conn.leaving) close(conn);
    },
    page(event) {
      run(() => {
        if (event === "pagehide") {
          if (!away) {
            away = true;
            reason = new ConnectionError("the page was left");
            drop();
            k.moved();
            report();
          }
        } else if (away) {
          if (event === "pageshow") {
            away = false;
            begin();
          }
        } else if (event === "visibilitychange" && (hidden = k.isHidden())) {
          unset(pingAgain, doubt, dead); // timers come late now, and pongs
        } else if (event === "offline") {
          if (current) ping();
          else if (dues.has(dial)) after(backoff.most, dial);
        } else {
          if (event === "online") {
            k.forget();
            if (dialing) cancel(); // it began on the network that is gone
          }
          look();
        }
      });
    },
  };
}

// isFinal reports whether a session that was refused or ended so will be refused again. A
// session's own faults are not: done, protocol, too_large, cancelled.
function isFinal(code: number): boolean {
  return ![0, 10, 13, 61].includes(code) && retryOf(code) === "final";
}

// usable returns those alternatives that lead where the client may go: no edge can send it to one
// without TLS.
function usable(base: string, alternatives: readonly string[]): string[] {
  const list: string[] = [];
  for (const a of alternatives) {
    try {
      const u = new URL(a);
      if (u.host && !u.username && !u.password && u.protocol === new URL(base).protocol) list.push(u.origin);
    } catch {
      // not a URL
    }
  }
  return list.slice(0, alternativesMost);
}
