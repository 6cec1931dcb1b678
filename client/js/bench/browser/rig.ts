// What every measurement stands on: a browser, its pages, and relays to connect them to.
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";
import type { Browser, CDPSession, Page } from "puppeteer-core";
import { start } from "../../e2e/browser.ts";
import { Site } from "../../e2e/site.ts";
import { Stage } from "../../e2e/stage.ts";
import type { Carrier } from "../../src/session.ts";
import type { Where } from "./page.ts";

export const carriers: readonly Carrier[] = ["webtransport", "websocket"];

const root = join(import.meta.dirname, "../../../..");

/** More of a load than Stage.publish declares: what internal/bench/stand takes. */
export interface Load {
  readonly rate?: number;
  readonly size?: number;
  /** Above 0: so many channels in turn, whose names end in their numbers from 0. */
  readonly channels?: number;
}

export interface Options {
  /** Of each figure. Absent: the figure's own number. */
  readonly runs: number | undefined;
  /** How long a run waits for a machine that has nothing else to do, in seconds. */
  readonly patience: number;
  /** How long the heap is watched, in minutes. */
  readonly minutes: number;
  /** Where CPU profiles of the page go. Absent: none are taken. */
  readonly profiles: string | undefined;
}

export class Rig {
  readonly options: Options;
  readonly browser: Browser;
  readonly site: Site;
  readonly #dir: string;
  readonly #script: string;

  static async open(options: Options): Promise<Rig> {
    const dir = await mkdtemp(join(tmpdir(), "meridian-bench-"));
    await promisify(execFile)("go", ["build", "-o", join(dir, "stand"), "./internal/bench/stand"], { cwd: root });
    const { outputFiles } = await build({
      entryPoints: [`${import.meta.dirname}/page.ts`], bundle: true, write: false, format: "iife", target: "es2022",
    });
    return new Rig(options, dir, outputFiles[0]!.text, await Site.open(), await start("chromium"));
  }

  private constructor(options: Options, dir: string, script: string, site: Site, browser: Browser) {
    this.options = options;
    this.#dir = dir;
    this.#script = script;
    this.site = site;
    this.browser = browser;
  }

  /** A relay with one namespace, bench; bytes: what a channel of it keeps. limited: with the limits of `serve edge`. */
  stand(o: { readonly bytes?: number; readonly limited?: boolean } = {}): Promise<Stage> {
    const options = { namespaces: { bench: { bytes: o.bytes ?? 0 } }, limited: o.limited ?? false };
    return Stage.start({ stage: join(this.#dir, "stand"), meridian: "", remove: async () => {} }, options);
  }

  /**
   * A page with the SDK, in a renderer of its own. Nobody listens to its network: else Chromium
   * tells the driver of every WebSocket message, with all its bytes.
   */
  async page(): Promise<Page> {
    const context = await this.browser.createBrowserContext();
    const page = await context.newPage();
    await page.goto(this.site.url);
    await page.addScriptTag({ content: this.#script });
    await (page as unknown as { _client(): CDPSession })._client().send("Network.disable");
    return page;
  }

  async close(): Promise<void> {
    await this.browser.close();
    await this.site.close();
    await rm(this.#dir, { recursive: true });
  }
}

export async function where(stage: Stage, carrier: Carrier): Promise<Where> {
  return {
    url: stage.edges[0]!.url,
    options: { token: await stage.token(), carriers: [carrier], certHashes: stage.hashes },
  };
}

/** Publishes at the home, without a session. */
export async function publish(stage: Stage, channel: string, count: number, load: Load): Promise<void> {
  await stage.publish(channel, count, load);
}

export function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => prefix + i);
}
