/**
 * Whether a constant bears the name that its module gave it (`blocks.0.attn.qkv.weight`), rather than one that
 * an exporter made up.
 */
export const isParameterName = (name: string): boolean =>
  /^[A-Za-z_]\w*(\.\w+)*$/.test(name) &&
  !/^(val|const|constant|scalar|ints|lifted_tensor|_to_copy|node|t)(_?\d+)?$/i.test(name);
