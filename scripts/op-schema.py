"""Writes src/graph/schema/generated/operators.ts: what the operators that our rule tables know take, by
operator set version, from the schemas in `onnx.defs` and, for those of ONNX Runtime, from the rows below.

    python scripts/op-schema.py

Needs the onnx package. An operator that a rule table is to know is added to OPERATORS (or CONTRIB).
"""

import pathlib

import numpy
import onnx
import onnx.defs
import onnx.helper

OPERATORS = """
Abs Acos Add And ArgMax ArgMin Asin Atan Attention AveragePool BatchNormalization Bernoulli BitShift Cast CastLike Ceil
Celu Clip Concat Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumSum DequantizeLinear Div
Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND
Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Hardmax
Identity InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax
LpNormalization MatMul MatMulInteger Max MaxPool Mean Min Mish Mod Mul Multinomial Neg Not OneHot Or PRelu Pad
Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RandomNormal RandomNormalLike RandomUniform
RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize RotaryEmbedding Round ScatterElements ScatterND Selu Shape Sigmoid
Sign Sin Sinh Size Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile
TopK Transpose Unsqueeze Upsample Where Xor
""".split()

# ONNX Runtime's own, as its ContribOperators.md describes them: inputs, attributes, outputs, in the notation of
# the written table. SimplifiedLayerNormalization stands in the standard domain though ONNX does not have it.
CONTRIB = {
    "SimplifiedLayerNormalization": ("X scale", "axis:i=-1 epsilon:f=0.00001 stash_type:i=1", "Y inv_std_var?"),
    "com.microsoft.Attention": (
        "input weights bias? mask_index? past? attention_bias? past_sequence_length?",
        "do_rotary:i=0 mask_filter_value:f=-10000 num_heads:i qkv_hidden_sizes:I? scale:f? unidirectional:i=0",
        "output present?",
    ),
    "com.microsoft.BiasGelu": ("A B", "", "C"),
    "com.microsoft.BiasSoftmax": ("data bias", "axis:i=1 is_inner_broadcast:i", "output"),
    "com.microsoft.DequantizeLinear": ("x x_scale x_zero_point?", "axis:i=1", "y"),
    "com.microsoft.DynamicQuantizeMatMul": ("A B b_scale b_zero_point? bias?", "", "Y"),
    "com.microsoft.FastGelu": ("X bias?", "", "Y"),
    "com.microsoft.FusedConv": (
        "X W B? Z?",
        "activation:s? activation_params:F? auto_pad:s=NOTSET dilations:I? group:i=1 kernel_shape:I? pads:I? strides:I?",
        "Y",
    ),
    "com.microsoft.FusedGemm": (
        "A B C?",
        "activation:s? activation_alpha:f? activation_beta:f? activation_gamma:f? alpha:f=1 beta:f=1 transA:i=0"
        " transB:i=0",
        "Y",
    ),
    "com.microsoft.FusedMatMul": (
        "A B",
        "alpha:f=1 transA:i=0 transB:i=0 transBatchA:i=0 transBatchB:i=0",
        "Y",
    ),
    "com.microsoft.Gelu": ("X", "", "Y"),
    "com.microsoft.MatMulIntegerToFloat": (
        "A B a_scale b_scale a_zero_point? b_zero_point? bias?",
        "",
        "Y",
    ),
    "com.microsoft.MatMulNBits": (
        "A B scales zero_points? g_idx? bias?",
        "K:i N:i accuracy_level:i=0 bits:i=4 block_size:i weight_prepacked:i=0",
        "Y",
    ),
    "com.microsoft.MultiHeadAttention": (
        "query key? value? bias? key_padding_mask? attention_bias? past_key? past_value? past_sequence_length?"
        " cache_indirection?",
        "mask_filter_value:f=-10000 num_heads:i scale:f? unidirectional:i=0",
        "output present_key? present_value? qk?",
    ),
    "com.microsoft.QAttention": (
        "input weight bias input_scale weight_scale mask_index? input_zero_point? weight_zero_point? past?",
        "do_rotary:i=0 mask_filter_value:f=-10000 num_heads:i scale:f? unidirectional:i=0",
        "output present?",
    ),
    "com.microsoft.QGemm": (
        "A a_scale a_zero_point B b_scale b_zero_point C? y_scale? y_zero_point?",
        "alpha:f=1 transA:i=0 transB:i=0",
        "Y",
    ),
    "com.microsoft.QLinearAdd": ("A A_scale A_zero_point? B B_scale B_zero_point? C_scale C_zero_point?", "", "C"),
    "com.microsoft.QLinearAveragePool": (
        "X x_scale x_zero_point? y_scale y_zero_point?",
        "auto_pad:s=NOTSET ceil_mode:i=0 channels_last:i=0 count_include_pad:i=0 kernel_shape:I pads:I? strides:I?",
        "Y",
    ),
    "com.microsoft.QLinearConcat": ("Y_scale Y_zero_point inputs*", "axis:i", "Y"),
    "com.microsoft.QLinearGlobalAveragePool": (
        "X x_scale x_zero_point y_scale y_zero_point",
        "channels_last:i=0",
        "Y",
    ),
    "com.microsoft.QLinearLeakyRelu": ("X X_scale X_zero_point? Y_scale Y_zero_point?", "alpha:f=0.01", "Y"),
    "com.microsoft.QLinearMul": ("A A_scale A_zero_point? B B_scale B_zero_point? C_scale C_zero_point?", "", "C"),
    "com.microsoft.QLinearReduceMean": (
        "data data_scale data_zero_point? reduced_scale reduced_zero_point?",
        "axes:I keepdims:i",
        "reduced",
    ),
    "com.microsoft.QLinearSigmoid": ("X X_scale X_zero_point? Y_scale Y_zero_point?", "", "Y"),
    "com.microsoft.QLinearSoftmax": ("X X_scale x_zero_point? y_scale y_zero_point", "axis:i=-1 opset:i", "Y"),
    "com.microsoft.QLinearWhere": (
        "condition X x_scale x_zero_point Y y_scale y_zero_point z_scale z_zero_point",
        "",
        "Z",
    ),
    "com.microsoft.QuantizeLinear": ("x y_scale y_zero_point?", "axis:i=1", "y"),
    "com.microsoft.QuickGelu": ("X", "alpha:f=1.702", "Y"),
    "com.microsoft.SkipSimplifiedLayerNormalization": (
        "input skip gamma bias?",
        "epsilon:f=0.00001",
        "output mean? inv_std_var? input_skip_bias_sum?",
    ),
    "com.microsoft.SkipLayerNormalization": (
        "input skip gamma beta? bias?",
        "epsilon:f=0.00001",
        "output mean? inv_std_var? input_skip_bias_sum?",
    ),
}

# One name for what changed its name.
ALIASES = {
    ("ConstantOfShape", "input"): "shape",
    ("Pad", "constant_value"): "value",
    ("TopK", "K"): "k",
}
# Inputs that say how and not what: lengths, places, counts. With them goes every input that is an attribute in
# another version.
PARAMETERS = """
axes:I axis:i depth:i ends:I indices:I k:i pads:I repeats:I scales:F shape:I sizes:I split:I starts:I steps:I
training_mode:i
"""
KINDS = dict(entry.split(":") for entry in PARAMETERS.split())
# `indices` are data wherever they have the rank of the data.
DATA = {
    (op, "indices") for op in ("GatherElements", "GatherND", "OneHot", "ScatterElements", "ScatterND")
}
# A bound that is not there is not the largest number there is.
NO_DEFAULT = {("Clip", "min"), ("Clip", "max")}
DROPPED = {"consumed_inputs"}
# Where the same arguments came to mean something else.
MEANINGS = {("Resize", 11), ("GroupNormalization", 21)}
OLDEST = 7

LETTERS = {"INT": "i", "FLOAT": "f", "STRING": "s", "INTS": "I", "FLOATS": "F", "STRINGS": "S", "TENSOR": "t"}
TYPES = {
    "i": "number",
    "f": "number",
    "s": "string",
    "I": "readonly number[]",
    "F": "readonly number[]",
    "S": "readonly string[]",
    "t": "Tensor",
}


def number(value):
    """The shortest text that is this float32."""
    return str(int(value)) if float(value).is_integer() else str(numpy.float32(value))


def attribute(op, entry):
    kind = LETTERS.get(entry.type.name)
    if kind is None or entry.name in DROPPED:
        return None
    text = f"{entry.name}:{kind}"
    has_default = entry.default_value.name != "" or entry.default_value.type != 0
    if has_default and (op, entry.name) not in NO_DEFAULT:
        value = onnx.helper.get_attribute_value(entry.default_value)
        if kind == "s":
            return f"{text}={value.decode()}"
        if kind in "if":
            return f"{text}={number(value)}"
        raise ValueError(f"{op}.{entry.name}: default {value}")
    return text if entry.required else f"{text}?"


def history(op):
    versions = sorted(
        (s for s in onnx.defs.get_all_schemas_with_history() if s.name == op and s.domain == ""),
        key=lambda s: s.since_version,
    )

    def name(entry):
        return ALIASES.get((op, entry), entry)

    attributes = {
        a.name: LETTERS[a.type.name] for s in versions for a in s.attributes.values() if a.type.name in LETTERS
    }
    rows = []
    for s in versions:
        def formal(entry):
            mark = {"Optional": "?", "Variadic": "*"}.get(entry.option.name, "")
            kind = attributes.get(name(entry.name)) or KINDS.get(name(entry.name))
            isdata = kind is None or (op, entry.name) in DATA
            return name(entry.name) + mark if isdata else f"{name(entry.name)}:{kind}{mark}"

        inputs = " ".join(formal(entry) for entry in s.inputs)
        given = filter(None, (attribute(op, entry) for _, entry in sorted(s.attributes.items())))
        outputs = " ".join(o.name + {"Optional": "?", "Variadic": "*"}.get(o.option.name, "") for o in s.outputs)
        rows.append((s.since_version, inputs, " ".join(given), outputs))
    # Names of operands and results are those of the newest version; what only renames them is no new row.
    def form(row):
        return [entry if ":" in entry else entry[-1] in "?*" and entry[-1] for entry in row[1].split()], row[2]

    merged = []
    for row in rows:
        if merged and form(merged[-1]) == form(row) and (op, row[0]) not in MEANINGS:
            merged[-1] = (merged[-1][0], *row[1:])
        else:
            merged.append(row)
    effective = [i for i, row in enumerate(merged) if row[0] <= OLDEST]
    return merged[effective[-1] if effective else 0 :]


def split(entry):
    name, _, rest = entry.partition(":")
    kind, _, default = rest.partition("=")
    return name.rstrip("?*"), kind.rstrip("?*"), default, entry.endswith("?")


def arguments(rows):
    """Each argument of any version: its TypeScript type."""
    found = {}
    for _, inputs, attributes, _ in rows:
        for entry in inputs.split():
            if ":" in entry:
                name, kind, _, optional = split(entry)
                one = found.setdefault(name, {"kinds": set(), "computed": False, "optional": False, "default": False})
                one["kinds"].add(kind)
                one["computed"] = True
                one["optional"] |= optional
        for entry in attributes.split():
            name, kind, default, optional = split(entry)
            one = found.setdefault(name, {"kinds": set(), "computed": False, "optional": False, "default": False})
            one["kinds"].add(kind)
            one["optional"] |= optional
            one["default"] |= default != ""
    for name, one in found.items():
        everywhere = all(
            name in [split(entry)[0] for entry in f"{inputs} {attributes}".split() if ":" in entry]
            for _, inputs, attributes, _ in rows
        )
        parts = [TYPES[kind] for kind in sorted(one["kinds"])]
        if one["computed"]:
            parts.append("Value")
        if (one["optional"] or not everywhere) and not one["default"]:
            parts.append("undefined")
        one["type"] = " | ".join(parts)
    return {name: one["type"] for name, one in sorted(found.items())}


def quoted(op):
    return f"'{op}'" if "." in op else op


def main():
    table = {op: history(op) for op in OPERATORS}
    table |= {op: [(1, *rows)] for op, rows in CONTRIB.items()}
    lines = [
        f"// Written by scripts/op-schema.py from the operator schemas of onnx {onnx.__version__}, operator set"
        f" {onnx.defs.onnx_opset_version()}. Not to be edited.",
        "import type { Tensor } from '../../tensor.ts';",
        "import type { Value } from '../../types.ts';",
        "",
        "/** The arguments of each operator, whichever version has them and in whichever place. */",
        "export interface OpArguments {",
    ]
    for op, rows in sorted(table.items()):
        entries = [f"readonly {name}: {kind}" for name, kind in arguments(rows).items()]
        lines.append(f"  {quoted(op)}: {{ {'; '.join(entries)} }};" if entries else f"  {quoted(op)}: {{}};")
    lines += [
        "}",
        "",
        "/** For each operator its versions, oldest first: since which operator set, inputs, attributes, outputs. */",
        "export const operators: { [O in keyof OpArguments]: readonly (readonly [number, string, string, string])[] } = {",
    ]
    for op, rows in sorted(table.items()):
        text = ", ".join(f"[{since}, '{i}', '{a}', '{o}']" for since, i, a, o in rows)
        lines.append(f"  {quoted(op)}: [{text}],")
    lines += ["};", ""]
    target = pathlib.Path(__file__).parent.parent / "src/graph/schema/generated/operators.ts"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines))
    print(f"{target.name}: {len(table)} operators")


if __name__ == "__main__":
    main()
