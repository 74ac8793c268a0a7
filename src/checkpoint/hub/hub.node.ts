import { existsSync, readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import * as z from 'zod';
import { UserError } from '../../common/errors.ts';
import { parseJsonAs } from '../../common/json.ts';
import { type Progress, silent } from '../../common/progress.ts';
import { CachedRepository } from './cache.node.ts';
import { DamagedError, download, megabytes } from './download.node.ts';
import { ask, bytesOf, PassingError, refusal } from './request.ts';
import { type HubSettings, hubSettings } from './settings.node.ts';

/** A model or a data set on the Hub. */
export interface HubRepository {
  /** Default: a model. */
  readonly kind?: 'model' | 'dataset';
  /** `owner/name`. */
  readonly id: string;
  /** A branch, tag or commit; default `main`. */
  readonly revision?: string | undefined;
}

export interface HubOptions {
  /** Only what is in the cache; default as `HF_HUB_OFFLINE` says. */
  readonly offline?: boolean | undefined;
  readonly progress?: Progress | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Default: from the environment. */
  readonly settings?: HubSettings | undefined;
  /** Milliseconds before the second try of what failed; doubled for each further one. */
  readonly patience?: number | undefined;
}

/** The Hub could not be reached, or did not serve us. */
class UnreachableError extends UserError {}

/** Tries of anything that may pass. */
const tries = 5;
/** The longest that a server may ask us to wait, in seconds. */
const longestWait = 60;

/** What the Hub says of a repository: a file's name each. */
const listing = z.object({
  sha: z.string().regex(/^[0-9a-f]{40}$/),
  siblings: z.array(z.object({ rfilename: z.string().regex(/^(?!.*\.\.)[^/\\\0][^\\\0]*$/) })),
});
/** Bytes of such an answer that are read. */
const longestListing = 64 * 2 ** 20;

/**
 * The files of one commit of a model or data set on the Hub, each in the cache that Python shares, fetched where it is not
 * there. Broken downloads go on where they broke off, and nothing that does not match its checksum is kept.
 */
export class HubSnapshot {
  readonly #id: string;
  readonly #kind: 'model' | 'dataset';
  readonly #options: HubOptions;
  #settings: HubSettings;
  readonly #cached: CachedRepository;
  #revision: string;
  #commit: string | undefined;

  /** @throws UserError when the settings in the environment are wrong */
  constructor({ kind = 'model', id, revision = 'main' }: HubRepository, options: HubOptions = {}) {
    this.#id = id;
    this.#kind = kind;
    this.#options = options;
    const settings = options.settings ?? hubSettings();
    this.#settings = { ...settings, offline: options.offline ?? settings.offline };
    this.#cached = new CachedRepository(this.#settings.cache, kind, id);
    this.#revision = revision;
    if (this.#settings.offline) this.#commit = this.#cached.commitOf(revision);
  }

  /** The folder that the files are in. */
  get folder(): string {
    return this.#cached.snapshot(this.#commit ?? 'none');
  }

  /**
   * Sees to it that a file is there.
   * @returns whether there is such a file
   * @throws UserError when the repository can't be had, or the file is damaged
   */
  async fetch(name: string): Promise<boolean> {
    if (this.#commit && this.#cached.has(this.#commit, name)) return true;
    if (this.#settings.offline) return this.#missing();
    const found = await this.#lookOrCache(name);
    if (!found) return false;
    if (found === 'cached') return this.fetch(name);
    const { commit, etag, size, address } = found;
    if (!this.#commit) {
      this.#cached.setCommit(this.#revision, commit);
      this.#commit = commit;
      // From here on all files are of this commit, whatever happens to the branch meanwhile.
      this.#revision = commit;
      if (this.#cached.has(commit, name)) return true;
    }
    const blob = this.#cached.blob(etag);
    if (!existsSync(blob)) await this.#download(name, blob, etag, size, address);
    this.#cached.link(this.#commit, name, blob);
    return true;
  }

  /**
   * The names of all files; offline, or where the Hub can't be reached, of those in the cache.
   * @throws UserError when the repository can't be had
   */
  async files(): Promise<string[]> {
    if (!this.#settings.offline) {
      try {
        const { sha, siblings } = await this.#persistently(() => this.#list());
        this.#cached.setCommit(this.#revision, sha);
        [this.#commit, this.#revision] = [sha, sha];
        return siblings.map(({ rfilename }) => rfilename);
      } catch (error) {
        const commit = this.#cached.commitOf(this.#revision);
        if (!(error instanceof UnreachableError) || !commit || !existsSync(this.#cached.snapshot(commit)))
          throw error;
        this.#fallBack(error, commit);
      }
    }
    this.#missing();
    return readdirSync(this.folder, { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map(({ parentPath, name }) => relative(this.folder, join(parentPath, name)).split(sep).join('/'));
  }

  async #list() {
    const { endpoint, token, timeout } = this.#settings;
    const { signal } = this.#options;
    const address = `${endpoint}/api/${this.#kind}s/${this.#id}/revision/${encodeURIComponent(this.#revision)}`;
    const response = await ask(address, { method: 'GET', token, timeout, signal, leave: false });
    if (response.status >= 400) throw refusal(response, this.#id, this.#kind);
    const parts: Uint8Array[] = [];
    let length = 0;
    for await (const part of bytesOf(response, timeout, signal)) {
      parts.push(part);
      length += part.length;
      if (length > longestListing) throw new UserError(`${address} answers without end`);
    }
    return parseJsonAs(
      listing,
      Buffer.concat(parts).toString('utf8'),
      `what ${endpoint} says of ${this.#id}`,
    );
  }

  #fallBack(error: UserError, commit: string): void {
    this.#options.progress?.note(
      `${error.message}. The copy in the cache is taken: ${this.#id} at ${commit}`,
    );
    this.#commit = commit;
    this.#settings = { ...this.#settings, offline: true };
  }

  /** Where the Hub can't be reached, what was had of the revision before is taken, and that is said. */
  async #lookOrCache(name: string) {
    try {
      return await this.#persistently(() => this.#look(name));
    } catch (error) {
      const commit = this.#commit === undefined ? this.#cached.commitOf(this.#revision) : undefined;
      if (!(error instanceof UnreachableError) || !commit || !this.#cached.has(commit, name)) throw error;
      this.#fallBack(error, commit);
      return 'cached';
    }
  }

  #missing(): boolean {
    if (this.#commit && existsSync(this.folder)) return false;
    throw new UserError(
      `${this.#id} is not in the cache ${this.#settings.cache}, and nothing is downloaded offline: go online once`,
    );
  }

  async #download(name: string, blob: string, etag: string, size: number, address: string): Promise<void> {
    const { progress = silent, signal } = this.#options;
    const { timeout, token } = this.#settings;
    const what = `${this.#id}/${name}`;
    const task = progress.task(`downloading ${what}`, megabytes(size), 'MB');
    try {
      await this.#persistently(() =>
        download({ address, what, size, etag, token }, blob, { timeout, task, signal }),
      );
    } finally {
      task.done();
    }
  }

  /** What the Hub says of a file; nothing when there is none of that name. */
  async #look(name: string) {
    const { endpoint, token, timeout } = this.#settings;
    const revision = encodeURIComponent(this.#revision);
    const path = name.split('/').map(encodeURIComponent).join('/');
    const address = `${endpoint}/${this.#kind === 'model' ? '' : 'datasets/'}${this.#id}/resolve/${revision}/${path}`;
    const { signal } = this.#options;
    const response = await ask(address, { method: 'HEAD', token, timeout, signal, leave: false });
    const { headers } = response;
    const code = headers.get('x-error-code');
    const absent = response.status === 404 && (code === null || code === 'EntryNotFound');
    if (absent && (this.#commit || code === 'EntryNotFound')) return undefined;
    if (response.status >= 400) throw refusal(response, this.#id, this.#kind);
    const etag = (headers.get('x-linked-etag') ?? headers.get('etag') ?? '').replace(/^W\/|"/g, '');
    const size = Number(headers.get('x-linked-size') ?? headers.get('content-length') ?? Number.NaN);
    const commit = headers.get('x-repo-commit') ?? '';
    if (!/^[\w.-]+$/.test(etag) || !/^[0-9a-f]{40}$/.test(commit) || !(size >= 0)) {
      throw new UserError(`${endpoint} does not answer as the Hub does: it names no etag, size and commit`);
    }
    return { commit, etag, size, address };
  }

  /** Does something until it works, or failed too often; a file that came damaged is fetched a second time. */
  async #persistently<T>(work: () => Promise<T>): Promise<T> {
    const { patience = 1000, signal } = this.#options;
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        const again = error instanceof DamagedError ? attempt < 2 : attempt < tries;
        if (!(error instanceof PassingError || error instanceof DamagedError)) throw error;
        if (!again) throw error instanceof PassingError ? this.#givenUp(error) : error;
        const asked = error instanceof PassingError ? error.wait : undefined;
        if (asked !== undefined && asked > longestWait) throw this.#givenUp(error as PassingError);
        await pause(asked === undefined ? patience * 2 ** (attempt - 1) : 1000 * asked, undefined, {
          signal,
        });
      }
    }
  }

  #givenUp({ message, wait }: PassingError): UserError {
    const later = wait === undefined ? '' : `; it asks to wait ${wait} s`;
    return new UnreachableError(`${message}${later}`);
  }
}
