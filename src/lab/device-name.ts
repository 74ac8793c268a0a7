/** What browsers tell of a device beside the user agent: Chromium's client hints. */
export interface DeviceHints {
  readonly model?: string | undefined;
  readonly platform?: string | undefined;
  readonly platformVersion?: string | undefined;
}

/** From the one that others claim to be as well to the one that all claim to be. */
const browsers: readonly (readonly [name: string, version: RegExp])[] = [
  ['Edge', /Edg(?:A|iOS)?\/(\d+)/],
  ['Samsung Internet', /SamsungBrowser\/(\d+)/],
  ['Opera', /OPR\/(\d+)/],
  ['Firefox', /(?:Firefox|FxiOS)\/(\d+)/],
  ['Chrome', /(?:Chrome|CriOS)\/(\d+)/],
  ['Safari', /Version\/(\d+(?:\.\d+)?).*Safari/],
];

const systems: readonly (readonly [name: string, sign: RegExp])[] = [
  ['iPhone', /iPhone/],
  ['iPad', /iPad/],
  ['Android', /Android/],
  ['Windows', /Windows/],
  ['Mac', /Macintosh/],
  ['ChromeOS', /CrOS/],
  ['Linux', /Linux|X11/],
];

/** `Pixel 8, Chrome 141`, `iPhone, Safari 18.1`: what a column of results is called unless somebody says better. */
export function deviceName(userAgent: string, { model, platform }: DeviceHints = {}): string {
  const told = /Android [\d.]+; ([^;)]+?)(?: Build|\))/.exec(userAgent)?.[1];
  const system = systems.find(([, sign]) => sign.test(userAgent))?.[0] ?? platform;
  // Chrome says "K" in place of every Android device, Firefox "Mobile".
  const named = model || (told && !/^(K|Mobile|Tablet)$/.test(told.trim()) ? told : undefined);
  const browser = browsers.flatMap(([name, version]) => {
    const found = version.exec(userAgent);
    return found ? [`${name} ${found[1]}`] : [];
  })[0];
  return [named || system || 'a device', browser].filter(Boolean).join(', ');
}
