import { pythonLoop } from './latency-child-python.ts';

/**
 * The program that runs one `.tflite` file for the benchmark, speaking the protocol in `latency-protocol.ts`, in the
 * interpreter of LiteRT's own package or of TensorFlow, with XNNPACK. Such files take one image a run.
 */
export const litertChild = `
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import warnings
warnings.filterwarnings("ignore")
import numpy as np
try:
    import ai_edge_litert as package
    from ai_edge_litert.interpreter import Interpreter
    engine = "litert " + getattr(package, "__version__", "")
except ImportError:
    import tensorflow as tf
    Interpreter, engine = tf.lite.Interpreter, "tensorflow lite " + tf.__version__

interpreter = None

def load(path, threads, batch, inputShape=None, settings={}):
    global interpreter
    if batch != 1:
        raise ValueError("a .tflite file takes one image a run; --batch-size must be 1")
    interpreter = Interpreter(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    random = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        shape, dtype = detail["shape"], detail["dtype"]
        whole = np.issubdtype(dtype, np.integer)
        numbers = random.integers(0, 256, shape) if whole else random.standard_normal(shape)
        interpreter.set_tensor(detail["index"], numbers.astype(dtype))
    return {"engine": engine.strip()}

def once():
    interpreter.invoke()

def told(said):
    return said
${pythonLoop}`;
