// The places where a client runs: a page, a worker of one, a Node.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Browser, Page } from "puppeteer-core";
import type { Site } from "./site.ts";

export interface Actor {
  /** Has the probe there do something: `start`, or one of its methods. */
  call<T>(method: string, ...args: unknown[]): Promise<T>;
  /** Undefined where there is none. */
  readonly page: Page | undefined;
  /** Never rejects. */
  close(): Promise<void>;
}

declare const perform: (name: string, args: unknown[]) => Promise<never>;

async function open(browser: Browser, site: Site, before?: () => void): Promise<[Page, () => Promise<void>]> {
  const context = await browser.createBrowserContext();
  const close = () => context.close().catch(() => {});
  try {
    const page = await context.newPage({ type: "window" });
    if (before) await page.evaluateOnNewDocument(before);
    await page.goto(site.url);
    // Of a hidden page less is asked.
    assert.equal(await page.evaluate(() => document.visibilityState), "visible");
    return [page, close];
  } catch (err) {
    await close();
    throw err;
  }
}

export async function onPage(browser: Browser, site: Site, before?: () => void): Promise<Actor> {
  const [page, close] = await open(browser, site, before);
  return {
    page, close,
    call: (method, ...args) => page.evaluate((name, list) => perform(name, list), method, args),
  };
}

declare const ask: (name: string, args: unknown[]) => Promise<never>;

export async function inWorker(browser: Browser, site: Site): Promise<Actor> {
  const [page, close] = await open(browser, site);
  await page.evaluate(async () => {
    const worker = new Worker("/worker.js", { type: "module" });
    await new Promise((resolve, reject) => {
      worker.onmessage = resolve;
      worker.onerror = (e) => reject(new Error(e.message));
    });
    let id = 0;
    Object.assign(globalThis, {
      ask: (name: string, args: unknown[]) =>
        new Promise((resolve, reject) => {
          const mine = ++id;
          worker.addEventListener("message", function heard({ data: [of, ok, error] }) {
            if (of !== mine) return;
            worker.removeEventListener("message", heard);
            if (error === undefined) resolve(ok);
            else reject(new Error(error));
          });
          worker.postMessage([mine, name, args]);
        }),
    });
  });
  return { page, close, call: (method, ...args) => page.evaluate((name, list) => ask(name, list), method, args) };
}

/** Runs the bundled page/node.ts in some Node. */
export async function inNode(node: string, program: string): Promise<Actor> {
  const child = spawn(node, [program], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
  let last: Promise<unknown> = Promise.resolve();
  return {
    page: undefined,
    call: <T>(method: string, ...args: unknown[]) => {
      const answer = last.then(async () => {
        child.stdin.write(JSON.stringify([method, args]) + "\n");
        const { value, done } = await lines.next();
        assert.ok(!done, "that Node ended");
        const [ok, error] = JSON.parse(value as string) as [T, string?];
        if (error !== undefined) throw new Error(error);
        return ok;
      });
      last = answer.catch(() => {});
      return answer;
    },
    close: async () => {
      child.stdin.end();
      const late = setTimeout(() => child.kill("SIGKILL"), 5000);
      await ended;
      clearTimeout(late);
    },
  };
}
