// The token in use, and the function that fetches it.
import { elapsed, now } from "./clock.ts";
import { MeridianError, UnauthorizedError } from "./errors.ts";

const answerWithin = 10_000; // ms, of one call of getToken
const longest = 16_384; // bytes of a token

/** Fetches a token: a JWT. It gets 10 s each time. */
export type GetToken = () => string | Promise<string>;

/** Keeps the token in use. What it says never has a token in it. */
export interface Tokens {
  /** What get and fetch reject with once getToken has thrown an UnauthorizedError: there will be none. */
  readonly denied: UnauthorizedError | undefined;
  /** The token to present now; rejects as fetch does. */
  get(): Promise<string>;
  /** Asks getToken, once for all who ask meanwhile. Unless it rejects with `denied`, another attempt is worth it. */
  fetch(): Promise<string>;
  /** Waits no longer for getToken. */
  stop(err: Error): void;
  /** The relay took the token, for so many ms (0: for ever). Returns the ms until it should be replaced; undefined: never. */
  accepted(ms: number): number | undefined;
  /** The relay refused the token. Returns whether another may do better. */
  reject(): boolean;
  /** A session ended because its token did. A newer one may have been fetched. */
  expire(): void;
}

/** Makes a Tokens of a token for ever, or of getToken. */
export function keepToken(token: string, getToken: GetToken | undefined): Tokens {
  // With getToken, a token that is empty is to be fetched.
  let since = now(); // of life
  let life = 0; // ms until it should be replaced; 0: for ever
  let proven = false; // the relay took it before
  let refused = 0; // in a row, of tokens fresh from getToken
  let denied: UnauthorizedError | undefined;
  let fetching: Promise<string> | undefined;
  let giveUp: ((err: Error) => void) | undefined;

  async function ask(): Promise<string> {
    let timer;
    let t: unknown;
    try {
      t = await Promise.race([
        (async () => getToken!())(),
        new Promise((_, reject) => {
          giveUp = reject;
          timer = setTimeout(() => reject(new Error("no answer within 10 s")), answerWithin);
        }),
      ]);
      if (typeof t !== "string") throw new TypeError(`it returned ${t === null ? t : typeof t}; return a string`);
      if (!t || t.length > longest) throw new RangeError(`it returned ${t.length} characters; return a JWT of 1 to ${longest}`);
    } catch (err) {
      const e = err as Partial<Error> | undefined;
      const what = `getToken: ${e?.message ?? String(err)}`;
      // By name: it may come from another copy of this module.
      throw e?.name === "UnauthorizedError" ? (denied = new UnauthorizedError(what, { cause: err })) : new MeridianError(what, { cause: err });
    } finally {
      clearTimeout(timer);
      fetching = undefined;
    }
    life = 0;
    proven = false;
    return (token = t);
  }

  const fetch = () => (fetching ??= ask());

  function reject(): boolean {
    if (!getToken) return false;
    token = "";
    if (!proven) refused++;
    proven = false;
    return refused < 2;
  }

  return {
    get denied() {
      return denied;
    },
    async get() {
      return !getToken || (token && (!life || elapsed(since, now()) < life)) ? token : fetch();
    },
    fetch,
    stop: (err) => giveUp?.(err),
    accepted(ms) {
      refused = 0;
      proven = true;
      since = now();
      // A fifth of its life before the end, at most a minute.
      life = ms - Math.min(ms / 5, 60_000);
      return (getToken && life) || undefined;
    },
    reject,
    expire() {
      if (getToken && proven) reject();
    },
  };
}
