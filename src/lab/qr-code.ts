import { encode } from 'uqr';

/** A text as a QR code for a terminal: half a line a row, black on white whatever the terminal's colours are. */
export function qrCode(text: string): string {
  const { data, size } = encode(text, { border: 2, ecc: 'M' });
  const rows: string[] = [];
  for (let y = 0; y < size; y += 2) {
    let row = '';
    for (let x = 0; x < size; x++) {
      const [upper, lower] = [data[y]![x], data[y + 1]?.[x] ?? false];
      row += upper ? (lower ? '█' : '▀') : lower ? '▄' : ' ';
    }
    rows.push(`\u001b[30;107m${row}\u001b[0m`);
  }
  return rows.join('\n');
}
