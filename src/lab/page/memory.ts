/**
 * Watches how large WebAssembly's memory gets in this worker, whichever runtime makes it.
 * @returns bytes of the largest memory so far; undefined when there is none
 */
export function watchMemory(): () => number | undefined {
  const seen: WebAssembly.Memory[] = [];
  const { Memory } = WebAssembly;
  WebAssembly.Memory = new Proxy(Memory, {
    construct(target, [descriptor]) {
      const memory = new target(descriptor as WebAssembly.MemoryDescriptor);
      seen.push(memory);
      return memory;
    },
  });
  const note = (instance: WebAssembly.Instance) => {
    for (const value of Object.values(instance.exports)) if (value instanceof Memory) seen.push(value);
  };
  const instantiate = WebAssembly.instantiate as (...given: unknown[]) => Promise<unknown>;
  WebAssembly.instantiate = (async (...given: unknown[]) => {
    const made = await instantiate(...given);
    note(
      made instanceof WebAssembly.Instance
        ? made
        : (made as WebAssembly.WebAssemblyInstantiatedSource).instance,
    );
    return made;
  }) as typeof WebAssembly.instantiate;
  const streaming = WebAssembly.instantiateStreaming;
  WebAssembly.instantiateStreaming = async (...given) => {
    const made = await streaming(...given);
    note(made.instance);
    return made;
  };
  return () => (seen.length > 0 ? Math.max(...seen.map(({ buffer }) => buffer.byteLength)) : undefined);
}
