// The token in use, and the function that fetches it.
import { elapsed, now } from "./clock.ts";
import { MeridianError, UnauthorizedError } from "./errors.ts";

const answerWithin = 10_000; // ms, of one call of getToken
const longest = 16_384; // bytes of a token

/** Fetches a token: a JWT. It gets 10 s each time. */
export type GetToken = () => string | Promise<string>;

/** Keeps the token in use. What it says never has a token in it. */
export class Tokens {
  #token: string; // "": fetch one
  #get: GetToken | undefined; // undefined: #token for ever
  #since = now(); // of #life
  #life = 0; // ms until it should be replaced; 0: for ever
  #proven = false; // the relay took #token before
  #refused = 0; // in a row, of tokens fresh from #get
  #fetching: Promise<string> | undefined;
  #giveUp: ((err: Error) => void) | undefined;
  /** What get and fetch reject with once getToken has thrown an UnauthorizedError: there will be none. */
  denied: UnauthorizedError | undefined;

  constructor(token: string, get: GetToken | undefined) {
    this.#token = token;
    this.#get = get;
  }

  /** The token to present now; rejects as fetch does. */
  async get(): Promise<string> {
    if (!this.#get || (this.#token && (!this.#life || elapsed(this.#since, now()) < this.#life))) return this.#token;
    return this.fetch();
  }

  /** Asks getToken, once for all who ask meanwhile. Unless it rejects with `denied`, another attempt is worth it. */
  fetch(): Promise<string> {
    return (this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined;
    }));
  }

  async #fetch(): Promise<string> {
    let timer;
    let token: unknown;
    try {
      token = await Promise.race([
        (async () => this.#get!())(),
        new Promise((_, reject) => {
          this.#giveUp = reject;
          timer = setTimeout(() => reject(new Error("no answer within 10 s")), answerWithin);
        }),
      ]);
      if (typeof token !== "string") throw new TypeError(`it returned ${token === null ? "null" : `a value of type ${typeof token}`}; return a string`);
      if (!token || token.length > longest) throw new RangeError(`it returned ${token.length} characters; return a JWT of 1 to ${longest}`);
    } catch (err) {
      const e = err as Partial<Error> | undefined;
      const what = `getToken: ${e?.message ?? String(err)}`;
      // By name: it may come from another copy of this module.
      throw e?.name === "UnauthorizedError" ? (this.denied = new UnauthorizedError(what, { cause: err })) : new MeridianError(what, { cause: err });
    } finally {
      clearTimeout(timer);
    }
    this.#token = token;
    this.#life = 0;
    this.#proven = false;
    return token;
  }

  /** Waits no longer for getToken. */
  stop(err: Error): void {
    this.#giveUp?.(err);
  }

  /** The relay took the token, for so many ms (0: for ever). Returns the ms until it should be replaced; undefined: never. */
  accepted(ms: number): number | undefined {
    this.#refused = 0;
    this.#proven = true;
    this.#since = now();
    // A fifth of its life before the end, at most a minute.
    this.#life = ms - Math.min(ms / 5, 60_000);
    return (this.#get && this.#life) || undefined;
  }

  /** The relay refused the token. Returns whether another may do better. */
  reject(): boolean {
    if (!this.#get) return false;
    this.#token = "";
    if (!this.#proven) this.#refused++;
    this.#proven = false;
    return this.#refused < 2;
  }

  /** A session ended because its token did. A newer one may have been fetched. */
  expire(): void {
    if (this.#get && this.#proven) this.reject();
  }
}
