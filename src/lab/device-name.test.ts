import { expect, it } from 'vitest';
import { deviceName } from './device-name.ts';

const chrome = (system: string) =>
  `Mozilla/5.0 (${system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36`;

it.each([
  [chrome('Linux; Android 10; K'), { model: 'Pixel 8', platform: 'Android' }, 'Pixel 8, Chrome 141'],
  [chrome('Linux; Android 10; K'), {}, 'Android, Chrome 141'],
  [chrome('Linux; Android 13; SM-S911B Build/TP1A'), {}, 'SM-S911B, Chrome 141'],
  [`${chrome('Linux; Android 13; K')} EdgA/140.0`, {}, 'Android, Edge 140'],
  [
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1',
    {},
    'iPhone, Safari 18.1',
  ],
  ['Mozilla/5.0 (Android 14; Mobile; rv:130.0) Gecko/130.0 Firefox/130.0', {}, 'Android, Firefox 130'],
  [
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36',
    { model: '', platform: 'Windows' },
    'Windows, Chrome 141',
  ],
  ['something else', {}, 'a device'],
])('names %s', (userAgent, hints, name) => {
  expect(deviceName(userAgent, hints)).toBe(name);
});
