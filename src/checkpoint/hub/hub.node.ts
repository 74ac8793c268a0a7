import { existsSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { UserError } from '../../common/errors.ts';
import { type Progress, silent } from '../../common/progress.ts';
import { CachedRepository } from './cache.node.ts';
import { DamagedError, download, megabytes } from './download.node.ts';
import { ask, PassingError, refusal } from './request.ts';
import { type HubSettings, hubSettings } from './settings.node.ts';

/** A model on the Hub. */
export interface HubModel {
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

/**
 * The files of one commit of a model on the Hub, each in the cache that Python shares, fetched where it is not
 * there. Broken downloads go on where they broke off, and nothing that does not match its checksum is kept.
 */
export class HubSnapshot {
  readonly #id: string;
  readonly #options: HubOptions;
  #settings: HubSettings;
  readonly #cached: CachedRepository;
  #revision: string;
  #commit: string | undefined;

  /** @throws UserError when the settings in the environment are wrong */
  constructor({ id, revision = 'main' }: HubModel, options: HubOptions = {}) {
    this.#id = id;
    this.#options = options;
    const settings = options.settings ?? hubSettings();
    this.#settings = { ...settings, offline: options.offline ?? settings.offline };
    this.#cached = new CachedRepository(this.#settings.cache, id);
    this.#revision = revision;
    if (this.#settings.offline) this.#commit = this.#cached.commitOf(revision);
  }

  /** The folder that the files are in. */
  get folder(): string {
    return this.#cached.snapshot(this.#commit ?? 'none');
  }

  /**
   * Sees to it that a file is there.
   * @returns whether the model has such a file
   * @throws UserError when the model can't be had, or the file is damaged
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

  /** Where the Hub can't be reached, what was had of the revision before is taken, and that is said. */
  async #lookOrCache(name: string) {
    try {
      return await this.#persistently(() => this.#look(name));
    } catch (error) {
      const commit = this.#commit === undefined ? this.#cached.commitOf(this.#revision) : undefined;
      if (!(error instanceof UnreachableError) || !commit || !this.#cached.has(commit, name)) throw error;
      this.#options.progress?.note(
        `${error.message}. The copy in the cache is taken: ${this.#id} at ${commit}`,
      );
      this.#commit = commit;
      this.#settings = { ...this.#settings, offline: true };
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
    const address = `${endpoint}/${this.#id}/resolve/${revision}/${name}`;
    const { signal } = this.#options;
    const response = await ask(address, { method: 'HEAD', token, timeout, signal, leave: false });
    const { headers } = response;
    const code = headers.get('x-error-code');
    const absent = response.status === 404 && (code === null || code === 'EntryNotFound');
    if (absent && (this.#commit || code === 'EntryNotFound')) return undefined;
    if (response.status >= 400) throw refusal(response, this.#id);
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
