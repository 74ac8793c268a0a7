/** Image formats by what their files begin with, whatever they are called. */
const signatures: readonly {
  name: string;
  begins(at: (offset: number, text: string) => boolean): boolean;
}[] = [
  { name: 'JPEG', begins: (at) => at(0, '\xff\xd8\xff') },
  { name: 'PNG', begins: (at) => at(0, '\x89PNG\r\n\x1a\n') },
  { name: 'GIF', begins: (at) => at(0, 'GIF87a') || at(0, 'GIF89a') },
  { name: 'WebP', begins: (at) => at(0, 'RIFF') && at(8, 'WEBP') },
  { name: 'TIFF', begins: (at) => ['II*\0', 'MM\0*', 'II+\0', 'MM\0+'].some((mark) => at(0, mark)) },
  { name: 'AVIF', begins: (at) => at(4, 'ftypavif') || at(4, 'ftypavis') },
  {
    name: 'HEIC',
    begins: (at) => ['heic', 'heix', 'hevc', 'mif1', 'msf1'].some((mark) => at(4, `ftyp${mark}`)),
  },
  { name: 'BMP', begins: (at) => at(0, 'BM') },
];

/** The format of an image file: `JPEG`; undefined for anything else, a drawing or a document among it. */
export function imageFormat(bytes: Uint8Array): string | undefined {
  const at = (offset: number, text: string) =>
    Array.from(text).every((character, i) => bytes[offset + i] === character.charCodeAt(0));
  return signatures.find(({ begins }) => begins(at))?.name;
}
