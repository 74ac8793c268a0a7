import * as z from 'zod';
import { classOrders } from './class-order.ts';

/** How a data set is read. */
export const dataOptions = z.object({
  maxPixels: z.number().int().min(1).default(50_000_000).meta({
    description: 'images of more pixels are skipped, before memory is taken for them',
  }),
  classOrder: z.enum(classOrders).default('names').meta({
    description:
      "names: classes are a model's by their names, in whatever order; folder: by the order of the data set's, whatever they are called",
    value: 'by',
  }),
});

export type DataOptions = z.input<typeof dataOptions>;
