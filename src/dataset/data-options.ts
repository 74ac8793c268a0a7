import { z } from 'zod';

/** How a data set is read. */
export const dataOptions = z.object({
  maxPixels: z.number().int().min(1).default(50_000_000).meta({
    description: 'images of more pixels are skipped, before memory is taken for them',
  }),
});

export type DataOptions = z.input<typeof dataOptions>;
