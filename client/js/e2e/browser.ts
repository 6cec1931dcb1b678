// Finds and starts browsers.
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { launch } from "puppeteer-core";
import type { Browser } from "puppeteer-core";

export type Kind = "chromium" | "firefox";

const programs: Record<Kind, readonly string[]> = {
  chromium: ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"],
  firefox: ["firefox-esr", "firefox"],
};

/** The first of a browser's programs that is installed. */
export function find(kind: Kind): string | undefined {
  for (const name of programs[kind]) {
    for (const dir of (process.env["PATH"] ?? "").split(delimiter)) {
      const path = join(dir, name);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // the next one
      }
    }
  }
  return undefined;
}

/** What a test that needs the browser is skipped with; undefined: it is there. */
export function absent(kind: Kind): string | undefined {
  return find(kind) === undefined ? `left out: no ${kind} here; install it (Debian: apt-get install ${programs[kind][0]})` : undefined;
}

/** Starts a browser that takes the stage's certificates for WebSocket; for WebTransport it needs their hashes. */
export function start(kind: Kind): Promise<Browser> {
  const common = { executablePath: find(kind)!, headless: true, acceptInsecureCerts: true, timeout: 60_000, protocolTimeout: 120_000 };
  if (kind === "firefox") return launch({ ...common, browser: "firefox" });
  return launch({
    ...common,
    browser: "chrome",
    args: [
      "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors",
      ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), // it refuses root otherwise
    ],
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
  });
}
