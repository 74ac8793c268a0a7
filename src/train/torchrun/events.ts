import * as z from 'zod';

const step = z.object({
  step: z.number(),
  epoch: z.number(),
  loss: z.number(),
  lr: z.number(),
  gradNorm: z.number(),
});
const epoch = z.object({
  epoch: z.number(),
  loss: z.number(),
  trainTop1: z.number().optional(),
  top1: z.number().optional(),
});

/** What has been trained, as the trainer writes it. */
export const historySchema = z.object({ steps: z.array(step), epochs: z.array(epoch) });

/** What the trainer tells, a line each. */
const eventSchema = z.discriminatedUnion('event', [
  z.object({
    event: z.literal('begin'),
    processes: z.number(),
    device: z.string(),
    precision: z.string(),
    torch: z.string(),
  }),
  z.object({ event: z.literal('resumed'), epoch: z.number(), batch: z.number(), history: historySchema }),
  step.extend({ event: z.literal('step'), images: z.number() }),
  epoch.extend({ event: z.literal('epoch') }),
  z.object({ event: z.literal('stopped'), epoch: z.number(), batch: z.number() }),
  z.object({ event: z.literal('failed'), message: z.string() }),
  z.object({ event: z.literal('done') }),
]);

export type TrainerEvent = z.output<typeof eventSchema>;

/** The event that a line of the trainer's output is; undefined for any other line. */
export function eventIn(line: string): TrainerEvent | undefined {
  if (!line.startsWith('pqv {')) return undefined;
  try {
    return eventSchema.safeParse(JSON.parse(line.slice(4))).data;
  } catch {
    return undefined;
  }
}
