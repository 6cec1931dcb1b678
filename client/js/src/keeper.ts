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
  isOffline(): boolean;
  /** [0, 1) */
  random(): number;
  /** `keeper.link` is another; `keeper.current` may be. */
  moved(): void;
  /** In every state, also for a new reason or session. */
  state(to: State, reason: Error | undefined): void;
  /** There will be no session any more; the keeper is to be stopped. */
  fail(err: Error): void;
}

type Due = "dial" | "giveUp" | "ping" | "doubt" | "dead" | "renew" | "stale" | "suspend";

/**
 * Keeps a client connected. Everything is decided here, in the turn in which it becomes known, on
 * one timer. Its clock only adds up what either clock says has passed: setting the wall clock back
 * stops nothing, setting it on is taken for sleep.
 */
export class Keeper {
  /** The session in use: Welcome came. */
  current: Conn | undefined;
  #dialing: Conn | undefined;
  readonly #conns = new Map<LinkLike, Conn>(); // all open ones
  readonly #k: Keeping;
  readonly #url: string;
  readonly #tokens: Tokens;
  readonly #backoff: { least: number; most: number };

  #alternatives: string[] = []; // of the last GoAway, not yet tried
  #rtt = 0; // ms, smoothed; 0: not known
  #asked = 0; // performance.now() at the last ping
  #dead = false; // the path of the last session
  #failures = 0; // attempts in a row, and sessions that did not last
  #refreshFails = 0;
  #refreshes = 0; // names the newest
  #reason: Error | undefined; // of the last failure
  #ever = false; // was connected
  #hidden: boolean;
  #away = false; // the page was left
  #stopped = false;

  #time = 0; // the keeper's clock
  #seen = now(); // at #time
  #downSince = 0;
  #notBefore = 0; // dial; the relay's word
  readonly #due = new Map<Due | Conn, number>(); // what to do when; a Conn: close it
  #timer: ReturnType<typeof setTimeout> | undefined;
  #planned = 0; // of #timer

  constructor(k: Keeping, url: string, tokens: Tokens, backoff: { least: number; most: number }, hidden: boolean) {
    this.#k = k;
    this.#url = url;
    this.#tokens = tokens;
    this.#backoff = backoff;
    this.#hidden = hidden;
  }

  /** Where subscriptions go: the session in use; without one, one that has only said Hello. */
  get link(): LinkLike | undefined {
    return (this.current ?? this.#dialing)?.link;
  }

  start(): void {
    this.#run(() => this.#begin());
  }

  /** Ends every session, and everything. */
  stop(): void {
    this.#stopped = true;
    this.#drop();
    clearTimeout(this.#timer);
  }

  /** A subscription begins on link. */
  join(link: LinkLike): void {
    const conn = this.#conns.get(link);
    if (conn) conn.feeds++;
  }

  /** One has left it. */
  part(link: LinkLike): void {
    const conn = this.#conns.get(link);
    if (conn && !--conn.feeds && conn.leaving) this.#close(conn);
  }

  page(event: PageEvent): void {
    this.#run(() => {
      if (event === "away") {
        if (!this.#away) {
          this.#away = true;
          this.#reason = new ConnectionError("the page was left");
          this.#drop();
          this.#k.moved();
          this.#report();
        }
      } else if (this.#away) {
        if (event === "back") {
          this.#away = false;
          this.#begin();
        }
      } else if (event === "hidden") {
        this.#hidden = true; // timers come late now, and pongs
        this.#unset("ping", "doubt", "dead");
      } else if (event === "offline") {
        if (this.current) this.#ping();
        else if (this.#due.has("dial")) this.#in("dial", this.#backoff.most);
      } else {
        if (event === "online") {
          this.#k.forget();
          if (this.#dialing) this.#cancel(); // it began on the network that is gone
        } else this.#hidden = this.#hidden && event !== "awake";
        this.#look();
      }
    });
  }

  // #run takes an event: brings the clock on, decides, does what is due, sets the timer.
  #run(fn: () => void): void {
    if (this.#stopped) return;
    const seen = now();
    this.#time += elapsed(this.#seen, seen);
    this.#seen = seen;
    fn();
    for (const [due, at] of [...this.#due]) {
      if (at > this.#time || this.#due.get(due) !== at) continue;
      this.#due.delete(due);
      if (typeof due === "object") this.#close(due);
      else this.#do(due);
    }
    clearTimeout(this.#timer);
    if (!this.#due.size || this.#stopped) return;
    // A timer takes 31 bits.
    const wait = Math.min(Math.max(0, Math.min(...this.#due.values()) - this.#time), 1e9);
    this.#planned = this.#time + wait;
    this.#timer = setTimeout(() => {
      this.#run(() => {
        if (this.#time - this.#planned > late && !this.#hidden) this.#look();
      });
    }, wait);
  }

  #in(due: Due, ms: number): void {
    this.#due.set(due, this.#time + ms);
  }

  #unset(...dues: Due[]): void {
    for (const due of dues) this.#due.delete(due);
  }

  #do(due: Due): void {
    const conn = this.current;
    switch (due) {
      case "dial":
        this.#dial(false);
        break;
      case "giveUp":
        this.#over(this.#dialing!, new ConnectionError("no session within 15 s"));
        break;
      case "ping":
        if (this.#k.busy() && !this.#due.has("dead")) this.#ping();
        else this.#in("ping", pingEvery);
        break;
      case "doubt":
      case "dead":
        if (conn!.link!.heard > this.#asked) this.#alive();
        else if (due === "doubt") this.#dial(true);
        else {
          this.#dead = true;
          this.#over(conn!, new ConnectionError("no answer to a ping"));
        }
        break;
      case "renew":
        this.#refresh(conn!);
        break;
      case "stale":
        this.#refreshed(new ConnectionError("no answer to a new token"));
        break;
      case "suspend":
        this.#report();
        break;
    }
  }

  // #begin begins to connect, without a past.
  #begin(): void {
    this.#downSince = this.#time;
    this.#failures = 0;
    this.#in("suspend", suspendAfter);
    this.#in("dial", 0);
    this.#report();
  }

  // #look looks at once how things stand: somebody waits, and time or the network may have jumped.
  #look(): void {
    if (this.current) this.#ping();
    else if (!this.#dialing) this.#due.set("dial", Math.max(this.#time, this.#notBefore));
  }

  // #dial begins an attempt. suspect: the session in use may be dead, and its carrier with it.
  #dial(suspect: boolean): void {
    if (this.#dialing) return;
    const conn: Conn = {
      abort: new AbortController(), token: "", link: undefined, suspect, since: 0, feeds: 0, leaving: false, asked: undefined,
    };
    this.#dialing = conn;
    this.#unset("dial");
    this.#in("giveUp", dialWithin);
    this.#connect(conn, this.#alternatives.shift() ?? this.#url, suspect || this.#dead).catch((err: unknown) =>
      this.#run(() => this.#over(conn, err as Error)),
    );
  }

  async #connect(conn: Conn, url: string, hurry: boolean): Promise<void> {
    const { signal } = conn.abort;
    conn.token = await this.#tokens.get();
    if (signal.aborted) return;
    const link = await this.#k.open({ url, token: conn.token, hurry, rtt: this.#rtt, signal }, {
      welcome: (w) => this.#run(() => this.#welcomed(conn, w)),
      goAway: (g) => this.#run(() => this.#goAway(conn, g)),
      closed: (end) => this.#run(() => this.#ended(conn, end)),
    });
    if (signal.aborted) return link.close(0, "");
    conn.link = link;
    this.#conns.set(link, conn);
    // They may have come before the promise's turn.
    if (link.end) this.#run(() => this.#ended(conn, link.end!));
    else if (link.welcome) this.#run(() => this.#welcomed(conn, link.welcome!));
    else if (!this.current) this.#k.moved();
  }

  #welcomed(conn: Conn, w: Welcome): void {
    if (conn !== this.#dialing || !conn.link) return;
    const old = this.current;
    this.current = conn;
    this.#dialing = this.#reason = undefined;
    this.#ever = true;
    this.#dead = false;
    this.#alternatives = [];
    conn.since = this.#time;
    this.#unset("dial", "giveUp", "doubt", "dead", "renew", "stale", "suspend");
    if (!this.#hidden) this.#in("ping", pingEvery);
    this.#refreshes++;
    const renew = this.#tokens.accepted(w.tokenExpires);
    if (renew) this.#in("renew", renew);
    this.#k.moved();
    if (old) {
      old.leaving = true;
      // With nothing on it: answers to what was published on it are on their way.
      this.#due.set(old, this.#time + (old.feeds ? leaveWithin : 1_000));
    }
    this.#report();
    if (conn.asked) this.#goAway(conn, conn.asked);
  }

  #ended(conn: Conn, end: End): void {
    this.#over(conn, errorOf(end, "session"), end);
  }

  // #over takes the end of an attempt or a session. end: what the relay, or the link, said.
  #over(conn: Conn, err: Error, end?: End): void {
    this.#close(conn);
    if (conn === this.#dialing) {
      this.#dialing = undefined;
      this.#unset("giveUp");
      if (!this.current) this.#k.moved();
      if (!conn.suspect || !this.current) this.#failed(err, end);
    } else if (conn === this.current) this.#lost(conn, err, end);
  }

  #lost(conn: Conn, err: Error, end: End | undefined): void {
    if (this.#time - conn.since >= stableAfter) this.#failures = 0;
    this.current = undefined;
    if (end && retryOf(end.code) === "token") {
      this.#tokens.expire();
      end = undefined; // no refusal of what comes next
    }
    this.#unset("ping", "doubt", "dead", "renew", "stale");
    this.#downSince = this.#time;
    this.#in("suspend", suspendAfter);
    this.#k.moved();
    if (!this.#dialing) return this.#failed(err, end);
    this.#dialing.suspect = false; // it is needed now
    this.#reason = err;
    this.#report();
  }

  // #failed takes a failed attempt or a lost session, and decides what next.
  #failed(err: Error, end: End | undefined): void {
    this.#reason = err;
    const retry = end && retryOf(end.code);
    if (
      retry === "token" ? !this.#tokens.reject()
      : end ? !this.current && isFinal(end.code)
      : err === this.#tokens.denied || err instanceof BadRequestError // there is no carrier
    ) {
      return this.#k.fail(err);
    }
    let wait = 0;
    if (retry !== "token") {
      wait = fullJitter(this.#backoff.least, this.#backoff.most, ++this.#failures, this.#k.random());
      // The browser may be wrong about being offline: seldom is not never.
      if (this.#k.isOffline()) wait = this.#backoff.most;
      wait = Math.max(wait, end?.retryAfter ?? 0);
      this.#notBefore = this.#time + (end?.retryAfter ?? 0);
    }
    this.#in("dial", wait);
    if (!this.current) this.#report();
  }

  // #goAway begins the move to another session; the one in use serves until then.
  #goAway(conn: Conn, g: Parameters<LinkEvents["goAway"]>[0]): void {
    conn.asked = g;
    if (conn !== this.current) return; // Welcome is on its way, or a successor stands
    this.#alternatives = usable(this.#url, g.alternatives);
    if (this.#dialing) this.#dialing.suspect = false;
    else this.#in("dial", 0);
  }

  // #ping asks whether the session in use still lives.
  #ping(): void {
    const conn = this.current!;
    this.#asked = performance.now();
    // A path that is known to be slow gets longer than is good for the rest.
    this.#in("doubt", Math.max(doubtLeast, Math.min(4 * this.#rtt, doubtMost), 2 * this.#rtt));
    this.#in("dead", Math.max(deadAfter, 3 * this.#rtt));
    if (!this.#hidden) this.#in("ping", pingEvery);
    conn.link!.ping().then(
      (rtt) => this.#run(() => {
        if (conn !== this.current) return;
        // As TCP smooths it (RFC 6298, section 2).
        this.#rtt += this.#rtt ? (rtt - this.#rtt) / 8 : rtt;
        this.#alive();
      }),
      () => {}, // the link ended, and says so itself
    );
  }

  #alive(): void {
    this.#unset("doubt", "dead");
    if (this.#dialing?.suspect) this.#cancel();
  }

  // #refresh replaces the token in use before it ends.
  #refresh(conn: Conn): void {
    const n = ++this.#refreshes;
    this.#in("stale", refreshWithin);
    const done = (err: Error | undefined, ms: number): void =>
      this.#run(() => {
        // A successor presents the newest token.
        if (n === this.#refreshes && conn === this.current && !conn.link!.end) this.#refreshed(err, ms);
      });
    this.#tokens
      .fetch()
      .then((token) => conn.link!.refresh(token))
      .then((ms) => done(undefined, ms), (err: Error) => done(err, 0));
  }

  #refreshed(err: Error | undefined, ms = 0): void {
    this.#refreshes++;
    this.#unset("stale");
    let renew: number | undefined;
    if (!err) {
      this.#refreshFails = 0;
      renew = this.#tokens.accepted(ms);
    } else {
      const refused = err instanceof MeridianError && retryOf(err.code) === "token";
      if (refused && (err === this.#tokens.denied || !this.#tokens.reject())) return this.#k.fail(err);
      renew = fullJitter(1_000, 30_000, ++this.#refreshFails, this.#k.random());
    }
    if (renew !== undefined) this.#in("renew", renew);
  }

  // #report tells the state while no session stands, or that one does.
  #report(): void {
    this.#k.state(
      this.current ? "connected"
      : this.#time - this.#downSince >= suspendAfter ? "suspended"
      : this.#ever ? "reconnecting"
      : "connecting",
      this.#reason,
    );
  }

  // #cancel gives the attempt under way up.
  #cancel(): void {
    const conn = this.#dialing!;
    this.#dialing = undefined;
    this.#unset("giveUp");
    this.#close(conn);
  }

  // #close closes what there is of conn.
  #close(conn: Conn): void {
    this.#due.delete(conn);
    conn.abort.abort();
    if (!conn.link) return;
    this.#conns.delete(conn.link);
    conn.link.close(0, "");
  }

  // #drop closes everything and plans nothing.
  #drop(): void {
    if (this.#dialing) this.#cancel();
    for (const conn of [...this.#conns.values()]) this.#close(conn);
    this.current = undefined;
    this.#due.clear();
  }
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
