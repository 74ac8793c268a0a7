import { UserError } from '../../common/errors.ts';

/** A failure that may pass: the network, a busy server. */
export class PassingError extends Error {
  /** Seconds that the server asks to wait. */
  readonly wait: number | undefined;

  constructor(message: string, wait?: number) {
    super(message);
    this.wait = wait;
  }
}

export interface RequestOptions {
  readonly method: 'HEAD' | 'GET';
  readonly token: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** Milliseconds to an answer. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
  /** Whether redirects to other hosts are followed; those on the same host always are. */
  readonly leave: boolean;
}

const redirects = new Set([301, 302, 303, 307, 308]);
const hops = 5;

/**
 * Asks a server, following redirects by hand: the token is for the host that was asked, and no other.
 * @throws PassingError when there is no answer; UserError when redirects do not end
 */
export async function ask(address: string, options: RequestOptions): Promise<Response> {
  let url = new URL(address);
  const { origin } = url;
  for (let hop = 0; hop <= hops; hop++) {
    const response = await answer(url, url.origin === origin ? options.token : undefined, options);
    const location = response.headers.get('location');
    if (!redirects.has(response.status) || !location) return response;
    const next = new URL(location, url);
    if (next.origin !== origin && !options.leave) return response;
    if (next.protocol !== 'https:' && next.protocol !== url.protocol) {
      throw new UserError(`${url.host} redirects to ${next.protocol}//${next.host}, which is not safe`);
    }
    await response.body?.cancel();
    url = next;
  }
  throw new UserError(`${address}: redirected more than ${hops} times`);
}

async function answer(url: URL, token: string | undefined, options: RequestOptions): Promise<Response> {
  const { method, headers, timeout, signal } = options;
  const waiting = new AbortController();
  const timer = setTimeout(() => waiting.abort(), timeout);
  try {
    return await fetch(url, {
      method,
      redirect: 'manual',
      headers: {
        // A compressed answer has another length than the file.
        'accept-encoding': 'identity',
        ...headers,
        ...(token ? { authorization: `Bearer ${token}` } : {}),
      },
      signal: signal ? AbortSignal.any([waiting.signal, signal]) : waiting.signal,
    });
  } catch (error) {
    signal?.throwIfAborted();
    const cause = (error as { cause?: { code?: string; message?: string } }).cause;
    const why = waiting.signal.aborted
      ? `no answer in ${timeout / 1000} s`
      : (cause?.code ?? cause?.message ?? (error as Error).message);
    throw new PassingError(`can't reach ${url.origin}: ${why}`);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Reads an answer to its end, giving up where no byte comes for a while.
 * @throws PassingError when it breaks off or stalls
 */
export async function* bytesOf(
  response: Response,
  timeout: number,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { done, value } = await inTime(reader.read(), timeout);
      if (done) return;
      yield value;
    }
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof PassingError) throw error;
    throw new PassingError(`the connection broke off: ${(error as Error).message}`);
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function inTime<T>(work: Promise<T>, timeout: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new PassingError(`no byte came in ${timeout / 1000} s`)), timeout);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What a server's refusal means. @param what was asked for, in words, a `kind` of thing */
export function refusal(response: Response, what: string, kind: 'model' | 'dataset' = 'model'): Error {
  const { status, headers } = response;
  const code = headers.get('x-error-code');
  if (status === 429 || status >= 500) {
    const asked = Number(headers.get('retry-after'));
    const why = status === 429 ? 'too many requests' : `the server says ${status}`;
    return new PassingError(`${what}: ${why}`, asked > 0 ? asked : undefined);
  }
  if (code === 'GatedRepo' || status === 403) {
    return new UserError(
      `${what}: access denied; accept its conditions on the Hub, and give your token in HF_TOKEN`,
    );
  }
  if (status === 401 || code === 'RepoNotFound') {
    return new UserError(
      `${what}: there is no such ${kind === 'model' ? kind : 'data set'}, or it is private: check its name, or give a token in HF_TOKEN`,
    );
  }
  if (code === 'RevisionNotFound') return new UserError(`${what}: there is no such revision`);
  return new UserError(`${what}: the server says ${status}`);
}
