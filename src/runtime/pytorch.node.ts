import { spawnSync } from 'node:child_process';
import { Tensor } from '../graph/tensor.ts';
import { findPython } from './python.node.ts';

/** Reads the images from standard input; writes the logits' shape as a line of JSON, then the numbers. */
const program = `
import json, sys, warnings
warnings.filterwarnings("ignore")
import torch
from torch.jit.mobile import _load_for_lite_interpreter
path, shape, dtype = sys.argv[1], json.loads(sys.argv[2]), getattr(torch, sys.argv[3])
pixels = torch.frombuffer(bytearray(sys.stdin.buffer.read()), dtype=dtype).reshape(shape)
try:
    model = _load_for_lite_interpreter(path) if path.endswith(".ptl") else torch.jit.load(path).eval()
    with torch.no_grad():
        found = model(pixels)
except Exception as error:
    sys.exit(" ".join(str(error).split()) or type(error).__name__)
logits = (found[0] if isinstance(found, (tuple, list)) else found).float().contiguous()
sys.stdout.buffer.write((json.dumps(list(logits.shape)) + "\\n").encode())
sys.stdout.buffer.write(bytes(logits.reshape(-1).view(torch.uint8).tolist()))
`;

/**
 * The first output, `[N, classes]` as float32, of a `.pt` or `.ptl` file on images `[N, C, H, W]`
 * float32 (or pixels `[N, H, W, C]` uint8), computed by PyTorch in a child process.
 * @throws UserError when there is no Python with torch; Error with PyTorch's words when it can't load or run the file
 */
export function runTorchArtifact(path: string, pixels: Tensor): Tensor {
  const python = findPython('torch');
  const { status, stdout, stderr, error } = spawnSync(
    python,
    ['-c', program, path, JSON.stringify(pixels.shape), pixels.dtype],
    { input: pixels.bytes, maxBuffer: 1 << 30 },
  );
  if (error) throw error;
  if (status !== 0) {
    const said = stderr.toString().trim().split('\n').at(-1);
    throw new Error(`PyTorch can't run ${path}: ${said || `it ended with ${status}`}`);
  }
  const end = stdout.indexOf(10);
  const shape = JSON.parse(stdout.subarray(0, end).toString()) as number[];
  return Tensor.float32(shape, new Float32Array(new Uint8Array(stdout.subarray(end + 1)).buffer));
}
