// The bytes that every implementation of the protocol is held to: relay/wire/testdata.

import { readFileSync } from "node:fs";

const testdata = new URL("../../../../relay/wire/testdata/", import.meta.url);

/** One frame of frames.json. Fields are protobuf's JSON: 64-bit numbers as text, bytes in base64, nothing for what is absent. */
export interface Golden {
  name: string;
  type: string;
  ref: number;
  fields: Record<string, any>;
  decode_only?: boolean;
  hex: string;
}

export interface Bad {
  streams: { name: string; hex: string; frames?: number; error: string; ends: "protocol" | "unsupported" | "too_large" }[];
  bodies: { name: string; of: string; hex: string; error: string }[];
}

export const golden: Golden[] = JSON.parse(readFileSync(new URL("frames.json", testdata), "utf8"));
export const bad: Bad = JSON.parse(readFileSync(new URL("bad.json", testdata), "utf8"));

/** Bytes of hex, which may have spaces. */
export function unhex(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex.replaceAll(" ", ""), "hex"));
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

export function unbase64(s: string | undefined): Uint8Array {
  return new Uint8Array(Buffer.from(s ?? "", "base64"));
}
