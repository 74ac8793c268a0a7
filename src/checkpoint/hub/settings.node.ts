import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { UserError } from '../../common/errors.ts';

/** Where the Hub is, where its files are kept, and who asks. */
export interface HubSettings {
  /** Address without a slash at its end. */
  readonly endpoint: string;
  /** The folder that Python's huggingface_hub keeps models in, too. */
  readonly cache: string;
  readonly token: string | undefined;
  readonly offline: boolean;
  /** Milliseconds without an answer, or without a byte of it, after which a request is given up. */
  readonly timeout: number;
}

const yes = new Set(['1', 'ON', 'YES', 'TRUE']);

/**
 * The settings as huggingface_hub finds them: `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_HOME`, `HF_TOKEN` or the token that
 * "hf auth login" keeps, `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT` (seconds).
 * @throws UserError on an endpoint that is no address
 */
export function hubSettings(environment: NodeJS.ProcessEnv = process.env): HubSettings {
  const { HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE, XDG_CACHE_HOME, HF_HUB_DOWNLOAD_TIMEOUT } = environment;
  const home = HF_HOME || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface');
  const endpoint = (HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  if (!/^https?:\/\/[^/]/.test(endpoint)) {
    throw new UserError(`HF_ENDPOINT=${endpoint} is no address: it must begin with https:// or http://`);
  }
  const seconds = Number(HF_HUB_DOWNLOAD_TIMEOUT);
  return {
    endpoint,
    cache: environment.HF_HUB_CACHE || environment.HUGGINGFACE_HUB_CACHE || join(home, 'hub'),
    token: tokenOf(environment, home),
    offline: yes.has((HF_HUB_OFFLINE ?? '').toUpperCase()),
    timeout: seconds > 0 ? 1000 * seconds : 10_000,
  };
}

function tokenOf(environment: NodeJS.ProcessEnv, home: string): string | undefined {
  const given = environment.HF_TOKEN || environment.HUGGING_FACE_HUB_TOKEN;
  if (given) return given.trim();
  try {
    return readFileSync(environment.HF_TOKEN_PATH || join(home, 'token'), 'utf8').trim() || undefined;
  } catch {
    return undefined;
  }
}
