/** The integer products that a processor has, from its feature flags: the first row whose flag is there. */
const classes: readonly { readonly name: string; readonly flag: string }[] = [
  { name: 'x86, AMX', flag: 'amx_int8' },
  { name: 'x86, AVX-512 with VNNI', flag: 'avx512_vnni' },
  { name: 'x86, AVX2 with VNNI', flag: 'avx_vnni' },
  { name: 'x86, AVX-512 without VNNI', flag: 'avx512bw' },
  { name: 'x86, AVX2 without VNNI', flag: 'avx2' },
  { name: 'x86, SSE4', flag: 'sse4_1' },
  { name: 'Arm with int8 matrix products', flag: 'i8mm' },
  { name: 'Arm with dot products', flag: 'asimddp' },
  { name: 'Arm without dot products', flag: 'asimd' },
];

/**
 * What of a processor decides how fast int8 is, and whether its sums can overflow: a name that figures go by.
 * @param flags as Linux lists them in /proc/cpuinfo (`flags`, on Arm `Features`)
 * @returns undefined when nothing is known of them
 */
export function processorClass(flags: readonly string[]): string | undefined {
  return classes.find(({ flag }) => flags.includes(flag))?.name;
}
