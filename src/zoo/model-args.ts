/** Arguments of an architecture's constructor, under timm's names. */
export type ModelArgs = Record<string, unknown>;
