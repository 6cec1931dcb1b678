// The examples that `meridian dev` serves, and the page of the quickstart, in Chromium.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import type { Browser, Page } from "puppeteer-core";
import { bundle } from "../build.ts";
import { absent, start } from "./browser.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../../..");
/** Where to leave pictures of the pages; absent: nowhere. */
const pictures = process.env["MERIDIAN_PICTURES"];

/** A `meridian dev` that can be ended and started again on its ports. */
class Dev {
  readonly #program: string;
  readonly #home: string;
  #process: ChildProcess | undefined;
  #listen = "127.0.0.1:0";
  #http = "127.0.0.1:0";

  constructor(program: string, home: string) {
    this.#program = program;
    this.#home = home;
  }

  get url(): string {
    return `http://${this.#http}`;
  }

  async start(): Promise<void> {
    const p = spawn(this.#program, ["dev", "--listen", this.#listen, "--http", this.#http, "--ops", "", "--grace", "0s"], {
      env: this.#env(), stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process = p;
    let said = "";
    p.stderr!.on("data", (chunk) => (said = (said + chunk).slice(-4096)));
    const line = await Promise.race([
      once(createInterface(p.stdout!), "line").then(([first]) => first as string),
      once(p, "exit").then(() => assert.fail(`meridian dev ended: ${said}`)),
    ]);
    const ready = JSON.parse(line.replace(/^ready /, "")) as { url: string; http: string };
    this.#listen = new URL(ready.url).host;
    this.#http = new URL(ready.http).host;
  }

  signal(name: "SIGSTOP" | "SIGCONT"): void {
    this.#process!.kill(name);
  }

  async kill(): Promise<void> {
    if (this.#process?.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill("SIGKILL");
      await once(this.#process, "exit");
    }
  }

  async token(...args: string[]): Promise<string> {
    return (await run(this.#program, ["token", ...args], { env: this.#env() })).stdout.trim();
  }

  /** Publishes as a back-end does. */
  async post(channel: string, message: unknown): Promise<void> {
    const answer = await fetch(`${this.url}/v1/channels/${channel}/messages`, {
      method: "POST",
      headers: { Authorization: `Bearer ${await this.token()}`, "Content-Type": "application/json" },
      body: JSON.stringify(message),
    });
    assert.equal(answer.status, 200, await answer.text());
  }

  #env(): NodeJS.ProcessEnv {
    return { PATH: process.env["PATH"], HOME: this.#home, MERIDIAN_CONFIG_DIR: this.#home };
  }
}

/** What a page did that it must not. */
const sins = new Map<Page, string[]>();

/** Opens a page; without: a carrier that its browser does not have. */
async function visit(browser: Browser, url: string, without?: "WebSocket" | "WebTransport"): Promise<Page> {
  const allowed = /Failed to load resource|ERR_|WebSocket connection/; // a browser says so by itself
  const page = await (await browser.createBrowserContext()).newPage();
  const list: string[] = [];
  sins.set(page, list);
  page.on("dialog", (d) => (list.push(`dialog ${d.message()}`), void d.dismiss()));
  page.on("pageerror", (e) => list.push(`uncaught ${String(e)}`));
  page.on("console", (m) => {
    if (m.type() === "error" && !allowed.test(m.text())) list.push(`console: ${m.text()}`);
  });
  await page.evaluateOnNewDocument((absent) => {
    if (absent) delete (globalThis as any)[absent];
    const seen: string[] = ((globalThis as any).violations = []);
    addEventListener("securitypolicyviolation", (e) => seen.push(`${e.violatedDirective} ${e.blockedURI}`));
  }, without ?? "");
  await page.goto(url, { waitUntil: "load" });
  return page;
}

/** Holds a page to what every page must be. */
async function innocent(page: Page): Promise<void> {
  assert.deepEqual(await page.evaluate(() => (globalThis as any).violations), [], "violations of the policy");
  assert.equal(await page.evaluate(() => (globalThis as any).hacked), undefined, "script in a message ran");
  assert.deepEqual(sins.get(page), []);
}

async function until<T>(what: string, fn: () => Promise<T | false | undefined>, ms = 60_000): Promise<T> {
  for (const end = Date.now() + ms; ; await new Promise((r) => setTimeout(r, 50))) {
    const value = await fn();
    if (value) return value;
    assert.ok(Date.now() < end, `${what}: not within ${ms} ms`);
  }
}

const state = (page: Page) => page.$eval("#state", (e) => (e as HTMLElement).dataset["state"]);
const connected = (page: Page) => until("connected", async () => (await state(page)) === "connected");
const texts = (page: Page) => page.$$eval("article:not(.waiting)", (rows) => rows.map((row) => row.querySelector("p")!.textContent!));
const notices = (page: Page) => page.$$eval(".notice", (rows) => rows.map((row) => row.textContent!));
const shows = (page: Page, ...want: string[]) =>
  until(`shows ${want}`, async () => {
    const have = await texts(page);
    return want.every((w) => have.includes(w));
  });

async function write(page: Page, name: string, text: string): Promise<void> {
  await page.$eval("#name", (e, v) => void ((e as HTMLInputElement).value = v), name);
  await page.$eval("#text", (e, v) => void ((e as HTMLInputElement).value = v), text);
  await page.click("button");
}

async function picture(page: Page, name: string): Promise<void> {
  if (!pictures) return;
  await mkdir(pictures, { recursive: true });
  for (const value of ["light", "dark"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }]);
    await page.screenshot({ path: join(pictures, `${name}-${value}.png`) as `${string}.png` });
  }
}

describe("examples", { concurrency: 2 }, () => {
  let browser: Browser, folder: string, program: string;
  const devs: Dev[] = [];
  const chromium = { skip: absent("chromium") ?? false };
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "examples-"));
    program = join(folder, "meridian");
    // With the bundle of these sources: whether the committed one is theirs is another test's affair.
    await writeFile(join(folder, "bundle.js"), await bundle());
    await writeFile(join(folder, "overlay.json"), JSON.stringify({
      Replace: { [join(root, "client/js/bundle/meridian.min.js")]: join(folder, "bundle.js") },
    }));
    await run("go", ["build", "-overlay", join(folder, "overlay.json"), "-o", program, "./cmd/meridian"], { cwd: root });
    if (!chromium.skip) browser = await start("chromium");
  });
  after(async () => {
    await browser?.close();
    await Promise.all(devs.map((d) => d.kill()));
    await rm(folder, { recursive: true, force: true });
  });
  async function relay(): Promise<Dev> {
    const dev = new Dev(program, await mkdtemp(join(folder, "home-")));
    devs.push(dev);
    await dev.start();
    return dev;
  }

  test("Chromium: two chat through a lost network and a restarted relay", chromium, async () => {
    const dev = await relay();
    const [a, b] = await Promise.all([
      visit(browser, dev.url + "/chat/", "WebSocket"),
      visit(browser, dev.url.replace("127.0.0.1", "localhost") + "/chat/", "WebTransport"),
    ]);
    const carriers = async () => {
      await Promise.all([connected(a), connected(b)]);
      assert.equal(await a.$eval("#state", (e) => e.textContent), "connected to dev by webtransport");
      assert.equal(await b.$eval("#state", (e) => e.textContent), "connected to dev by websocket");
    };
    await carriers();
    await write(a, "Ada", "hello");
    await write(b, "Bob", "good morning");
    await Promise.all([shows(a, "hello", "good morning"), shows(b, "hello", "good morning")]);
    assert.deepEqual(await texts(a), await texts(b));
    assert.deepEqual(await a.$$eval("article.own p", (own) => own.map((p) => p.textContent)), ["hello"]);

    // Nothing answers any more: what is written waits, and the state says so.
    dev.signal("SIGSTOP");
    await write(a, "Ada", "is anybody there?");
    assert.equal(await a.$$eval("article.waiting", (rows) => rows.length), 1);
    await until("a lost session", async () => (await state(a)) === "reconnecting" && (await state(b)) === "reconnecting");
    await picture(a, "chat-reconnecting");
    dev.signal("SIGCONT");
    await carriers();
    await Promise.all([shows(a, "is anybody there?"), shows(b, "is anybody there?")]);
    assert.deepEqual(await texts(a), await texts(b));
    assert.equal((await texts(a)).length, 3, "none lost, none doubled");
    assert.deepEqual([...(await notices(a)), ...(await notices(b))], [], "no gap while the home lives");

    // A new home: one gap with reset, and everybody goes on.
    await dev.kill();
    await until("a lost session", async () => (await state(a)) !== "connected");
    await write(b, "Bob", "written while it was away");
    await dev.start();
    await carriers(); // the first with the hash of another certificate
    await Promise.all([shows(a, "written while it was away"), shows(b, "written while it was away")]);
    await write(a, "Ada", "and on it goes");
    await Promise.all([shows(a, "and on it goes"), shows(b, "and on it goes")]);
    for (const page of [a, b]) {
      assert.deepEqual((await texts(page)).slice(3), ["written while it was away", "and on it goes"]);
      assert.deepEqual(await notices(page), ["The relay began anew, without what stands above."]);
      assert.equal(await page.$eval(".notice", (e) => [...e.parentNode!.children].indexOf(e)), 3, "the notice stands where the gap is");
      assert.equal(await page.$$eval("article.waiting", (rows) => rows.length), 0);
      await innocent(page);
    }
    await picture(a, "chat");
  });

  test("Chromium: hostile names, payloads and headers are shown, never run", chromium, async () => {
    const dev = await relay();
    const attacks = [
      "<script>hacked = 1</script>",
      "<img src=x onerror='hacked = 1'>",
      "<svg onload=hacked=1><style>*{display:none}</style>",
      "javascript:hacked=1//</p></article><iframe srcdoc='<script>parent.hacked=1</script>'>",
      "\u202Egnp.exe\u2066\u2069 \u0000\u0007 \uFEFF",
      "&lt;b&gt;&amp;\"'`",
      "A".repeat(2000),
      "\u{1F469}\u200D\u{1F692}".repeat(50),
    ];
    const [page, other] = await Promise.all([visit(browser, dev.url + "/chat/"), visit(browser, dev.url + "/chat/")]);
    await connected(page);
    for (const attack of attacks) {
      await dev.post("demo:chat", { payload: JSON.stringify({ name: attack, text: attack }), headers: { ref: attack, __proto__: attack, constructor: attack } });
    }
    await write(other, attacks[0]!, attacks[1]!);
    // What is no message of the chat at all.
    const odd = ["", "null", "17", "[]", "{", '{"name":{"toString":1},"text":["<b>"]}', '{"__proto__":{"text":"x"}}'];
    for (const payload of odd) await dev.post("demo:chat", { payload, key: "<b>", content_type: "text/html" });
    await dev.post("demo:chat", { payload_base64: "//79/A==" });
    await dev.post("demo:chat", { payload: JSON.stringify({ name: "Ada", text: "the last" }) });
    await shows(page, "the last");
    const shown = await texts(page);
    for (const attack of attacks) assert.ok(shown.includes(attack), `not shown as it is: ${attack.slice(0, 60)}`);
    assert.equal(shown.length, attacks.length + 1 + odd.length + 2);
    const kinds = await page.$$eval("#log *", (all) => [...new Set(all.map((e) => e.localName))].sort());
    assert.deepEqual(kinds, ["article", "b", "p", "time"], "a message brought elements of its own");
    assert.ok(await page.$eval("#log", (e) => e.scrollWidth <= e.clientWidth), "a long text widens the page");
    await innocent(page);
    await innocent(other);
    await page.$eval("#log", (e) => void (e.scrollTop = 0));
    await picture(page, "chat-hostile");
  });

  test("Chromium: cursors are the newest of each, and fade", chromium, async () => {
    const dev = await relay();
    const [a, b] = await Promise.all([visit(browser, dev.url + "/cursors/"), visit(browser, dev.url + "/cursors/")]);
    await Promise.all([connected(a), connected(b)]);
    const others = (page: Page) => page.$$eval(".cursor", (all) => all.map((e) => [(e as HTMLElement).style.left, e.className, e.textContent!] as const));
    const field = (await (await a.$("#field"))!.boundingBox())!;
    await until("the pointer's place", async () => {
      for (const part of [0.1, 0.3, 0.25]) await a.mouse.move(field.x + part * field.width, field.y + field.height / 2);
      const [cursor] = await others(b);
      return cursor && Math.abs(parseFloat(cursor[0]) - 25) < 1;
    });
    assert.equal((await others(b)).length, 1);
    assert.equal((await others(a)).length, 0, "a page shows itself");
    await b.focus("#field");
    await b.keyboard.press("ArrowLeft");
    await until("the arrow key's place", async () => (await others(a))[0]?.[0] === "48%");
    await picture(a, "cursors");

    for (const payload of ["", "null", "{", '{"x":"50%;background:url(x)","y":0}', '{"x":1e999,"y":0}', '{"x":-1,"y":2}']) {
      await dev.post("demo:cursors", { payload, key: "<b>" });
    }
    await until("what came after them", async () => {
      await a.mouse.move(field.x + 0.75 * field.width, field.y + (Date.now() % field.height));
      return (await others(b))[0]?.[0].startsWith("75");
    });
    assert.equal((await others(b)).length, 1, "what is no place makes a cursor");
    await dev.post("demo:cursors", { payload: '{"x":0.5,"y":0.5}', key: "<img src=x onerror=hacked=1>" });
    await until("the back-end's cursor", async () => (await others(b)).some((c) => c[2] === "dev" && c[0] === "50%"));
    await until("a silent cursor fades", async () => (await others(b)).every((c) => c[1].includes("silent")));
    await until("and goes", async () => (await others(b)).length === 0);
    await innocent(a);
    await innocent(b);
  });

  test("Chromium: the page of the quickstart", chromium, async () => {
    const dev = await relay();
    const text = await readFile(join(root, "docs/quickstart.md"), "utf8");
    const html = /^```html\n(.*?)^```/ms.exec(text)![1]!
      .replaceAll("http://127.0.0.1:8080", dev.url)
      .replace("TOKEN", await dev.token());
    const server = createServer((_, response) => response.writeHead(200, { "Content-Type": "text/html" }).end(html));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      const page = await visit(browser, `http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
      await until("its own message", async () => (await page.$$eval("li", (all) => all.map((e) => e.textContent))).includes("hello from a page"));
      await innocent(page);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  test("Firefox: two chat, and one sees the other's cursor", { skip: absent("firefox") ?? false }, async () => {
    const dev = await relay();
    const firefox = await start("firefox");
    try {
      for (const without of ["WebSocket", "WebTransport"] as const) {
        const [a, b] = await Promise.all([visit(firefox, dev.url + "/chat/", without), visit(firefox, dev.url + "/chat/", without)]);
        await Promise.all([connected(a), connected(b)]);
        await write(a, "<b>Ada", `not by ${without}`);
        await Promise.all([shows(a, `not by ${without}`), shows(b, `not by ${without}`)]);
        await a.goto(dev.url + "/cursors/");
        await b.goto(dev.url + "/cursors/");
        await Promise.all([connected(a), connected(b)]);
        await until("the other's cursor", async () => {
          await a.keyboard.press("ArrowLeft");
          await a.focus("#field");
          return (await b.$$(".cursor")).length === 1;
        });
        await innocent(a);
        await innocent(b);
        await Promise.all([a.close(), b.close()]);
      }
    } finally {
      await firefox.close();
    }
  });
});
