/** Loads a model, prunes and quantizes it on ONNX Runtime's WebAssembly, and offers the file for download. */
import * as ort from 'onnxruntime-web/wasm';
import {
  exportModel,
  inspect,
  loadModel,
  onnxruntimeWeb,
  provideTimmModels,
  prune,
  quantize,
} from 'pqv-mobile/web';

const element = (selector) => document.querySelector(selector);
const [form, files, ratio, int8] = ['form', '#files', '#ratio', '#int8'].map(element);
const [button, bar, alert] = ['button', 'progress', '[role=alert]'].map(element);

// `build.mjs` lays the WebAssembly and timm's table of architectures beside this file.
const beside = (name) => new URL(name, import.meta.url).href;
ort.env.wasm.wasmPaths = { wasm: beside('ort-wasm-simd-threaded.wasm') };
const engine = onnxruntimeWeb(ort);
const table = fetch(beside('timm-models.json')).then((response) => response.json());

/** Shows how far a stage is. */
const progress = {
  task(label, total) {
    Object.assign(bar, { hidden: false, max: total || 1, title: label });
    bar.removeAttribute('value');
    return {
      update: (done) => {
        bar.value = done;
      },
      done: () => {
        bar.hidden = true;
      },
    };
  },
  note: (text) => console.info(text),
};

const size = async (model) => {
  const { parameters, macs } = await inspect(model);
  return `${(parameters / 1e6).toFixed(2)} M parameters, ${(macs / 1e6).toFixed(1)} M multiply-accumulates`;
};

/** Does something that takes a while; what goes wrong is said on the page. */
async function busy(work) {
  button.disabled = true;
  alert.textContent = '';
  try {
    await work();
    button.disabled = false;
  } catch (error) {
    alert.textContent = error.message;
  }
}

let model;

files.addEventListener('change', () =>
  busy(async () => {
    element('#result').textContent = '';
    provideTimmModels(await table);
    model = await loadModel([...files.files]);
    element('#model').textContent = await size(model);
  }),
);

ratio.addEventListener('input', () => {
  element('output').textContent = `${(100 * ratio.value).toFixed(1)} %`;
});

form.addEventListener('submit', (event) => {
  event.preventDefault();
  busy(async () => {
    let small = model;
    if (Number(ratio.value) > 0) {
      const options = { ratio: Number(ratio.value), importance: 'l1', progress };
      small = (await prune(engine, model, options)).graph;
    }
    const summary = await size(small);
    if (int8.checked) small = await quantize(engine, small, { dtype: 'int8', progress });
    const { name, bytes } = await exportModel(engine, small, { format: 'onnx' });
    const link = Object.assign(document.createElement('a'), {
      href: URL.createObjectURL(new Blob([bytes])),
      download: name,
      textContent: `${name}, ${(bytes.length / 1e6).toFixed(2)} MB`,
    });
    element('#result').replaceChildren(`${summary}: `, link);
  });
});
