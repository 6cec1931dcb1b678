// Drives internal/stage: a home, edges that are real processes, and a network that can be cut.
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const root = join(import.meta.dirname, "../../..");

/** The programs of this repository that the tests run, built for one test file. */
export interface Programs {
  readonly stage: string;
  readonly meridian: string;
  remove(): Promise<void>;
}

export async function buildPrograms(): Promise<Programs> {
  const dir = await mkdtemp(join(tmpdir(), "meridian-e2e-"));
  await promisify(execFile)("go", ["build", "-o", dir + "/", "./internal/stage", "./cmd/meridian"], { cwd: root });
  return { stage: join(dir, "stage"), meridian: join(dir, "meridian"), remove: () => rm(dir, { recursive: true }) };
}

/** A namespace's policy; absent: the relay's default. Times in milliseconds. */
export interface Retention {
  readonly age?: number;
  readonly count?: number;
  readonly bytes?: number;
  readonly keyed?: boolean;
  readonly payload?: number;
}

export interface EdgeAt {
  readonly name: string;
  readonly url: string;
  readonly http: string;
  readonly ops: string;
}

/** A message as it stands at the home. */
export interface Kept {
  readonly epoch: number;
  readonly seq: number;
  readonly text: string;
  readonly publisher: string;
}

/** The number and position of the last message that was published. */
export interface Fed {
  readonly n: number;
  readonly epoch: number;
  readonly seq: number;
}

export interface StageOptions {
  readonly namespaces?: Record<string, Retention>;
  readonly edges?: number;
  /** More settings of each edge, as in its configuration file. */
  readonly config?: Record<string, unknown>;
}

/** One running stage. Every command rejects if it fails, or if the stage ends. */
export class Stage {
  edges: readonly EdgeAt[] = [];
  hashes: readonly string[] = [];
  /** What the stage and its edges wrote on stderr, the last 16 KiB. */
  complaints = "";
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #calls = new Map<number, { resolve: (ok: never) => void; reject: (err: Error) => void }>();
  #id = 0;

  static async start(programs: Programs, options: StageOptions = {}): Promise<Stage> {
    const stage = new Stage(programs.stage);
    try {
      Object.assign(stage, await stage.#call("start", { namespaces: { chat: {} }, ...options, binary: programs.meridian }));
    } catch (err) {
      await stage.end();
      throw new Error(`${(err as Error).message}; it wrote: ${stage.complaints}`, { cause: err });
    }
    return stage;
  }

  private constructor(program: string) {
    const child = (this.#child = spawn(program, { stdio: ["pipe", "pipe", "pipe"] }));
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.complaints = (this.complaints + text).slice(-16_384);
    });
    child.stdin!.on("error", () => {}); // its end says why
    createInterface(child.stdout!).on("line", (line) => {
      const { id, error, ok } = JSON.parse(line) as { id: number; error?: string; ok: never };
      const call = this.#calls.get(id);
      this.#calls.delete(id);
      if (error === undefined) call?.resolve(ok);
      else call?.reject(new Error(`stage: ${error}`));
    });
    this.#ended = new Promise((resolve) => {
      child.on("close", () => {
        for (const call of this.#calls.values()) call.reject(new Error(`the stage ended; it wrote:\n${this.complaints}`));
        this.#calls.clear();
        resolve();
      });
    });
  }

  /** Ends everything that the stage started. */
  async end(): Promise<void> {
    this.#child.stdin!.end();
    const late = setTimeout(() => this.#child.kill("SIGKILL"), 20_000);
    await this.#ended;
    clearTimeout(late);
  }

  #call<T>(command: string, more: object = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      const id = ++this.#id;
      this.#calls.set(id, { resolve, reject });
      this.#child.stdin!.write(JSON.stringify({ ...more, do: command, id }) + "\n");
    });
  }

  /** A token; ttl in ms from now, and the relay takes it for 30 s more. */
  token(o: { subject?: string; caps?: Record<string, string[]>; ttl?: number } = {}): Promise<string> {
    return this.#call("token", o);
  }
  cut(what: "udp" | "tcp" | "both" | "none", edge = 0): Promise<void> {
    return this.#call("cut", { what, edge });
  }
  delay(rtt: number, edge = 0): Promise<void> {
    return this.#call("delay", { rtt, edge });
  }
  /** Resets every TCP connection to an edge, and gives UDP flows another port. */
  reset(edge = 0): Promise<number> {
    return this.#call("reset", { edge });
  }
  kill(edge = 0): Promise<void> {
    return this.#call("kill", { edge });
  }
  /** Drains an edge; resolves when its process has ended. */
  stop(edge = 0): Promise<void> {
    return this.#call("stop", { edge });
  }
  /** Starts an edge again at its old address. */
  restart(edge = 0): Promise<void> {
    return this.#call("restart", { edge });
  }
  home(what: "lost" | "back" | "restart"): Promise<void> {
    return this.#call("home", { what });
  }
  /** Publishes messages at the home; their payloads go on counting, in decimal, padded with spaces to `size` bytes. */
  publish(channel: string, count: number, o: { rate?: number; size?: number; key?: string } = {}): Promise<Fed> {
    return this.#call("publish", { channel, count, ...o });
  }
  history(channel: string): Promise<Kept[]> {
    return this.#call("history", { channel });
  }

  /** A metric of an edge, summed over its labels. */
  async metric(name: string, edge = 0): Promise<number> {
    const text = await (await fetch(`${this.edges[edge]!.ops}/metrics`)).text();
    let sum = 0;
    for (const [, value] of text.matchAll(new RegExp(`^${name}(?:{.*})? (\\S+)$`, "gm"))) sum += Number(value);
    return sum;
  }

  /** Publishes to a channel again and again, until the function returned is called, which resolves with the last. */
  feed(channel: string, every: number, count = 1): () => Promise<Fed> {
    let on = true;
    let wake = () => {};
    const running = (async () => {
      for (;;) {
        const fed = await this.publish(channel, count);
        if (!on) return fed;
        await new Promise<void>((resolve) => {
          wake = resolve;
          setTimeout(resolve, every);
        });
      }
    })();
    running.catch(() => {}); // whoever stops it is told
    return () => {
      on = false;
      wake();
      return running;
    };
  }
}
