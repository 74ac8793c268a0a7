import { Global, instance, type Pickled } from '../../checkpoint/torch/pickle.ts';
import { identifier, type TensorStore } from './archive.ts';
import type { Stored } from './program.ts';

/** Words that TorchScript's source can't use as attribute names; `getattr` reaches them. */
export const pythonKeywords = new Set(
  `and as assert async await break class continue def del elif else except finally for from global if
   import in is lambda nonlocal not or pass raise return try while with yield None True False`.split(/\s+/),
);

/** What a module has of its own, and can't also be an attribute. */
const reserved = new Set(['forward', 'training', 'self']);

/** The TorchScript type of a stored thing. */
const typeOf = (item: Stored): string => {
  if (item.kind === 'packed') return '__torch__.torch.classes.quantized.LinearPackedParamsBase';
  return item.kind === 'prepacked' ? `__torch__.torch.classes.xnnpack.${item.context}` : 'Tensor';
};

interface Module {
  type: string;
  children: Map<string, Module>;
  weights: Map<string, Stored>;
}

/**
 * Modules nested as the dots in parameter names say: `blocks.0.attn.qkv.weight` is the tensor `weight`
 * of four modules in each other. Each module is a class of its own that holds tensors and no code; only
 * the root has a `forward`.
 */
export class ModuleTree {
  readonly root: Module;
  /** Where the source belongs inside the archive's `code/`. */
  readonly file = '__torch__/pqv.py';
  readonly #types = new Set<string>();
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
    this.root = this.#module([]);
  }

  /**
   * Puts a weight in its place; returns the path to it. Names from a foreign file that can't be
   * attributes are changed: odd characters to `_`, and a dotted name that meets a tensor is flattened.
   */
  add(weight: Stored): string[] {
    const parts = weight.name.split('.').map(attributeName);
    const path = this.#isFree(parts) ? parts : [this.#flatName(parts)];
    let module = this.root;
    path.slice(0, -1).forEach((part, depth) => {
      let child = module.children.get(part);
      if (!child) {
        child = this.#module(path.slice(0, depth + 1));
        module.children.set(part, child);
      }
      module = child;
    });
    module.weights.set(path.at(-1)!, weight);
    return path;
  }

  /** The classes as TorchScript source; `forward` is the root's method, printed. */
  source(forward: string): string {
    const printed: string[] = [];
    const print = (module: Module) => {
      for (const child of module.children.values()) print(child);
      const held = (role: string) =>
        [...module.weights].flatMap(([name, weight]) =>
          weight.kind === 'weight' && weight.role === role ? `${JSON.stringify(name)}, ` : [],
        );
      const attributes = [
        ...[...module.weights].map(([name, w]) => [name, typeOf(w)] as const),
        ...[...module.children].map(([name, child]) => [name, child.type] as const),
      ];
      printed.push(
        `class ${module.type.split('.').at(-1)}(Module):`,
        `  __parameters__ = [${held('parameter').join('')}]`,
        `  __buffers__ = [${held('buffer').join('')}]`,
        '  training : bool',
        ...attributes.map(([name, type]) =>
          isPlain(name) ? `  ${name} : ${type}` : `  __annotations__[${JSON.stringify(name)}] = ${type}`,
        ),
      );
    };
    print(this.root);
    return `${printed.join('\n')}\n${forward}`;
  }

  /** The modules as objects with their tensors. */
  pickle(store: TensorStore): Pickled {
    const object = (module: Module): Pickled => {
      const state = new Map<Pickled, Pickled>([['training', false]]);
      for (const [name, weight] of module.weights) {
        const value =
          weight.kind === 'weight'
            ? store.tensor(weight.tensor, weight.role === 'parameter')
            : store.stored(weight);
        state.set(name, value);
      }
      for (const [name, child] of module.children) state.set(name, object(child));
      const dot = module.type.lastIndexOf('.');
      return instance(new Global(module.type.slice(0, dot), module.type.slice(dot + 1)), state);
    };
    return object(this.root);
  }

  #module(path: readonly string[]): Module {
    const base = [this.#name, ...path.map(identifier)].join('_');
    let name = base;
    for (let i = 2; this.#types.has(name); i++) name = `${base}_${i}`;
    this.#types.add(name);
    return { type: `__torch__.pqv.${name}`, children: new Map(), weights: new Map() };
  }

  /** Can a tensor stand here: no tensor on the way, nothing of that name at the end? */
  #isFree(parts: readonly string[]): boolean {
    let module: Module | undefined = this.root;
    for (const part of parts.slice(0, -1)) {
      if (module?.weights.has(part)) return false;
      module = module?.children.get(part);
    }
    const last = parts.at(-1)!;
    return !module?.weights.has(last) && !module?.children.has(last);
  }

  #flatName(parts: readonly string[]): string {
    const base = parts.join('_');
    let name = base;
    for (let i = 2; !this.#isFree([name]); i++) name = `${base}_${i}`;
    return name;
  }
}

function attributeName(part: string): string {
  const clean = part.replaceAll(/[^A-Za-z0-9_-]/g, '_');
  return clean === '' || reserved.has(clean) ? `${clean}_` : clean;
}

const isPlain = (name: string): boolean => /^[A-Za-z_]\w*$/.test(name) && !pythonKeywords.has(name);

/** How the source reaches an attribute: `self.blocks` and then `getattr(self.blocks, "0")`. */
export function attributePath(object: string, path: readonly string[]): string {
  return path.reduce(
    (at, name) => (isPlain(name) ? `${at}.${name}` : `getattr(${at}, ${JSON.stringify(name)})`),
    object,
  );
}
