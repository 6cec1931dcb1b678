// Serves the pages of the tests, and the tokens that they ask for.
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { build } from "esbuild";
import { bundle } from "../build.ts";
import type { Stage } from "./stage.ts";

/** How a stage's tokens are given out. */
export interface Tokens {
  readonly stage: Stage;
  /** Of a token, in ms. */
  ttl: number;
  /** Whether asking for one fails. */
  broken: boolean;
  /** How often one was asked for. */
  asked: number;
}

export class Site {
  readonly url: string;
  readonly #server: Server;
  readonly #tokens = new Map<string, Tokens>();

  static async open(): Promise<Site> {
    const built = async (name: string, format: "iife" | "esm") => {
      const { outputFiles } = await build({
        entryPoints: [`${import.meta.dirname}/page/${name}.ts`], bundle: true, write: false, format, target: "es2022",
      });
      return outputFiles[0]!.text;
    };
    const [sdk, probe, worker] = await Promise.all([bundle(), built("probe", "iife"), built("worker", "esm")]);
    const files: Record<string, [type: string, body: string]> = {
      "/": ["text/html", "<!doctype html><meta charset=utf-8><title>e2e</title><script src=/sdk.js></script><script src=/probe.js></script>"],
      "/elsewhere": ["text/html", "<!doctype html><title>elsewhere</title>"],
      "/sdk.js": ["text/javascript", sdk],
      "/probe.js": ["text/javascript", probe],
      "/worker.js": ["text/javascript", worker],
      "/favicon.ico": ["image/png", ""],
    };
    const site: { of?: Site } = {};
    const server = createServer((request, response) => {
      const url = new URL(request.url!, "http://site");
      const file = files[url.pathname];
      if (url.pathname === "/token") return void site.of!.#token(url.search.slice(1)).then(
        (token) => response.end(token),
        () => response.writeHead(500).end("no token for now"),
      );
      if (!file) return void response.writeHead(404).end();
      response.writeHead(200, { "content-type": file[0] }).end(file[1]);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (site.of = new Site(server));
  }

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /** Gives out a stage's tokens at the URL returned. */
  tokens(stage: Stage): [url: string, tokens: Tokens] {
    const id = String(this.#tokens.size);
    const tokens: Tokens = { stage, ttl: 3_600_000, broken: false, asked: 0 };
    this.#tokens.set(id, tokens);
    return [`${this.url}/token?${id}`, tokens];
  }

  async #token(id: string): Promise<string> {
    const t = this.#tokens.get(id)!;
    t.asked++;
    if (t.broken) throw new Error("broken");
    return t.stage.token({ ttl: t.ttl });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
