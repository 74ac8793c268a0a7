import type { TimingTask } from '../device-timer.ts';
import type { Manifest, Outcome, OutcomeAnswer } from '../protocol.ts';

/** Address of the lab, with a slash at the end. */
export const base = new URL('.', location.href).href;

/** What the lab refused, or that it does not answer. */
export class LabError extends Error {}

async function ask(path: string, body?: unknown): Promise<Response> {
  const request: RequestInit =
    body === undefined
      ? {}
      : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch(base + path, request).catch(() => {
    throw new LabError('The lab does not answer any more.');
  });
  if (!response.ok) throw new LabError(await response.text());
  return response;
}

export const manifest = async (): Promise<Manifest> => (await ask('manifest.json')).json();

/** Joins the lab. @returns the device's id, and the name it goes by */
export const hello = async (body: unknown): Promise<{ device: string; name: string }> =>
  (await ask('hello', body)).json();

export const outcome = async (body: Outcome): Promise<OutcomeAnswer> => (await ask('outcome', body)).json();

/** Hands in a timing, and asks for what is to be timed next. */
export const next = async (body: unknown): Promise<TimingTask | 'done' | 'wait'> =>
  (await ask('next', body)).json();

export const goodbye = (device: string): boolean =>
  navigator.sendBeacon(
    `${base}goodbye`,
    new Blob([JSON.stringify({ device })], { type: 'application/json' }),
  );

/** The bytes of a model below the lab's address, told of as they come. */
export async function model(path: string, progress: (bytes: number) => void): Promise<ArrayBuffer> {
  const response = await ask(path);
  const reader = response.body!.getReader();
  const pieces: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    length += value.length;
    progress(length);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole.buffer;
}
