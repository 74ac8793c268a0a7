import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Labels } from './labels.ts';

const pairs = fc.array(fc.tuple(fc.nat(15), fc.nat(15)), { maxLength: 60 });

it('labels are united exactly where a chain of pairs joins them, in whatever order', () => {
  fc.assert(
    fc.property(pairs, fc.array(fc.nat(15), { maxLength: 3 }), (united, pinned) => {
      const labels = new Labels();
      const made = labels.fresh(16);
      for (const [a, b] of united) labels.unite(made[a]!, made[b]!);
      labels.pin(pinned.map((i) => made[i]!));
      // Components by spreading from each label until nothing changes.
      const component = Array.from({ length: 16 }, (_, i) => i);
      for (let changed = true; changed; ) {
        changed = false;
        for (const [a, b] of united) {
          const least = Math.min(component[a]!, component[b]!);
          if (component[a] === least && component[b] === least) continue;
          component[a] = component[b] = least;
          changed = true;
        }
      }
      const fixed = new Set(pinned.map((i) => component[i]));
      for (let a = 0; a < 16; a++) {
        expect(labels.isPinned(made[a]!)).toBe(fixed.has(component[a]));
        for (let b = 0; b < a; b++) {
          const joined =
            component[a] === component[b] || (fixed.has(component[a]) && fixed.has(component[b]));
          expect(labels.find(made[a]!) === labels.find(made[b]!)).toBe(joined);
        }
      }
    }),
  );
});
