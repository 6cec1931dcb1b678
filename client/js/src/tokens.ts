// The token in use, and the function that fetches it.
import { elapsed, now } from "./clock.ts";
import { MeridianError, UnauthorizedError } from "./errors.ts";

const answerWithin = 10_000; // ms, of one call of getToken
const longest = 16_384; // bytes of a token

/** Fetches a token: a JWT. It gets 10 s each time. */
export type GetToken = () => string | Promise<string>;

/** Keeps the token in use. What it says never has a token in it. */
export interface Tokens {
  /** The token to present now; rejects as fetch does. */
  get(): Promise<string>;
  /** Asks getToken, once for all who ask meanwhile. */
  fetch(): Promise<string>;
  /** Waits no longer for getToken: who does gets err. */
  stop(err: Error): void;
  /** The relay took the token, for so many ms (0: for ever). Returns the ms until it should be replaced, which may be Infinity. */
  accepted(ms: number): number;
  /** The relay refused the token, or getToken threw an UnauthorizedError. Returns whether another may do better. */
  reject(): boolean;
  /** A session ended because its token did. A newer one may have been fetched. */
  expire(): void;
}

/** Makes a Tokens of a token for ever, or of getToken. */
export function keepToken(token: string, getToken: GetToken | undefined): Tokens {
  // With getToken, a token that is empty is to be fetched.
  let since = now(); // of life
  let life = Infinity; // ms until it should be replaced
  let proven = false; // the relay took it before
  let refused = 0; // in a row, of tokens fresh from getToken
  let fetching: Promise<string> | undefined;
  let giveUp: ((err: Error) => void) | undefined;
  let stopped: Error | undefined;

  async function ask(): Promise<string> {
    let timer;
    try {
      const t: unknown = await new Promise((resolve, reject) => {
        giveUp = reject;
        timer = setTimeout(reject, answerWithin, new Error("no answer within 10 s"));
        (async () => getToken!())().then(resolve, reject);
      });
      if (typeof t !== "string" || !t || t.length > longest) {
        throw new Error(`it returned ${typeof t === "string" ? t.length + " characters" : t && typeof t}; return a string of 1 to ${longest}`);
      }
      life = Infinity;
      proven = false;
      return (token = t);
    } catch (cause) {
      if (stopped) throw stopped;
      const { name, message = String(cause) } = Object(cause) as Partial<Error>;
      // By name: it may come from another copy of this module.
      const denied = name === "UnauthorizedError";
      if (denied) refused = 2;
      throw new (denied ? UnauthorizedError : MeridianError)("getToken: " + message, { cause });
    } finally {
      clearTimeout(timer);
      fetching = undefined;
    }
  }

  const fetch = () => (fetching ??= ask());

  function reject(): boolean {
    token = getToken ? "" : token;
    if (!proven) refused++;
    proven = false;
    return !!getToken && refused < 2;
  }

  return {
    get: async () => (!getToken || (token && elapsed(since) < life) ? token : fetch()),
    fetch,
    stop(err) {
      stopped = err;
      giveUp?.(err);
    },
    accepted(ms) {
      refused = 0;
      proven = true;
      since = now();
      // A fifth of its life before the end, at most a minute.
      return (life = (getToken && ms - Math.min(ms / 5, 60_000)) || Infinity);
    },
    reject,
    expire() {
      if (proven) reject();
    },
  };
}
