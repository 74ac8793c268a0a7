// Written by scripts/op-schema.py from the operator schemas of onnx 1.23.1, operator set 28. Not to be edited.
import type { Tensor } from '../../tensor.ts';
import type { Value } from '../../types.ts';

/** The arguments of each operator, whichever version has them and in whichever place. */
export interface OpArguments {
  Abs: {};
  Acos: {};
  Add: {};
  And: {};
  ArgMax: { readonly axis: number; readonly keepdims: number; readonly select_last_index: number };
  ArgMin: { readonly axis: number; readonly keepdims: number; readonly select_last_index: number };
  Asin: {};
  Atan: {};
  Attention: { readonly is_causal: number; readonly kv_num_heads: number | undefined; readonly left_window_size: number; readonly q_num_heads: number | undefined; readonly qk_matmul_output_mode: number; readonly right_window_size: number; readonly scale: number | undefined; readonly softcap: number; readonly softmax_precision: number | undefined };
  AveragePool: { readonly auto_pad: string; readonly ceil_mode: number; readonly count_include_pad: number; readonly dilations: readonly number[] | undefined; readonly kernel_shape: readonly number[]; readonly pads: readonly number[] | undefined; readonly strides: readonly number[] | undefined };
  BatchNormalization: { readonly epsilon: number; readonly momentum: number; readonly spatial: number; readonly training_mode: number };
  Bernoulli: { readonly dtype: number | undefined; readonly seed: number | undefined };
  BitShift: { readonly direction: string };
  Cast: { readonly round_mode: string; readonly saturate: number; readonly to: number };
  CastLike: { readonly round_mode: string; readonly saturate: number };
  Ceil: {};
  Celu: { readonly alpha: number };
  Clip: { readonly max: number | Value | undefined; readonly min: number | Value | undefined };
  Concat: { readonly axis: number };
  Constant: { readonly value: Tensor | undefined; readonly value_float: number | undefined; readonly value_floats: readonly number[] | undefined; readonly value_int: number | undefined; readonly value_ints: readonly number[] | undefined; readonly value_string: string | undefined; readonly value_strings: readonly string[] | undefined };
  ConstantOfShape: { readonly shape: readonly number[] | Value; readonly value: Tensor | undefined };
  Conv: { readonly auto_pad: string; readonly dilations: readonly number[] | undefined; readonly group: number; readonly kernel_shape: readonly number[] | undefined; readonly pads: readonly number[] | undefined; readonly strides: readonly number[] | undefined };
  ConvInteger: { readonly auto_pad: string; readonly dilations: readonly number[] | undefined; readonly group: number; readonly kernel_shape: readonly number[] | undefined; readonly pads: readonly number[] | undefined; readonly strides: readonly number[] | undefined };
  ConvTranspose: { readonly auto_pad: string; readonly dilations: readonly number[] | undefined; readonly group: number; readonly kernel_shape: readonly number[] | undefined; readonly output_padding: readonly number[] | undefined; readonly output_shape: readonly number[] | undefined; readonly pads: readonly number[] | undefined; readonly strides: readonly number[] | undefined };
  Cos: {};
  Cosh: {};
  CumSum: { readonly axis: number | Value; readonly exclusive: number; readonly reverse: number };
  DequantizeLinear: { readonly axis: number; readonly block_size: number; readonly output_dtype: number };
  Div: {};
  Dropout: { readonly ratio: number | Value; readonly seed: number | undefined; readonly training_mode: number | Value | undefined };
  DynamicQuantizeLinear: {};
  Einsum: { readonly equation: string };
  Elu: { readonly alpha: number };
  Equal: {};
  Erf: {};
  Exp: {};
  Expand: { readonly shape: readonly number[] | Value };
  Flatten: { readonly axis: number };
  Floor: {};
  Gather: { readonly axis: number; readonly indices: readonly number[] | Value };
  GatherElements: { readonly axis: number };
  GatherND: { readonly batch_dims: number };
  Gelu: { readonly approximate: string };
  Gemm: { readonly alpha: number; readonly beta: number; readonly transA: number; readonly transB: number };
  GlobalAveragePool: {};
  GlobalMaxPool: {};
  Greater: {};
  GreaterOrEqual: {};
  GroupNormalization: { readonly epsilon: number; readonly num_groups: number; readonly stash_type: number };
  HardSigmoid: { readonly alpha: number; readonly beta: number };
  HardSwish: {};
  Hardmax: { readonly axis: number };
  Identity: {};
  InstanceNormalization: { readonly epsilon: number };
  IsInf: { readonly detect_negative: number; readonly detect_positive: number };
  IsNaN: {};
  LayerNormalization: { readonly axis: number; readonly epsilon: number; readonly stash_type: number };
  LeakyRelu: { readonly alpha: number };
  Less: {};
  LessOrEqual: {};
  Log: {};
  LogSoftmax: { readonly axis: number };
  LpNormalization: { readonly axis: number; readonly p: number };
  MatMul: {};
  MatMulInteger: {};
  Max: {};
  MaxPool: { readonly auto_pad: string; readonly ceil_mode: number; readonly dilations: readonly number[] | undefined; readonly kernel_shape: readonly number[]; readonly pads: readonly number[] | undefined; readonly storage_order: number; readonly strides: readonly number[] | undefined };
  Mean: {};
  Min: {};
  Mish: {};
  Mod: { readonly fmod: number };
  Mul: {};
  Multinomial: { readonly dtype: number; readonly sample_size: number; readonly seed: number | undefined };
  Neg: {};
  Not: {};
  OneHot: { readonly axis: number; readonly depth: number | Value };
  Or: {};
  PRelu: {};
  Pad: { readonly axes: readonly number[] | Value | undefined; readonly mode: string; readonly pads: readonly number[] | Value; readonly value: number | Value };
  Pow: {};
  QLinearConv: { readonly auto_pad: string; readonly dilations: readonly number[] | undefined; readonly group: number; readonly kernel_shape: readonly number[] | undefined; readonly pads: readonly number[] | undefined; readonly strides: readonly number[] | undefined };
  QLinearMatMul: {};
  QuantizeLinear: { readonly axis: number; readonly block_size: number; readonly output_dtype: number; readonly precision: number; readonly saturate: number };
  RMSNormalization: { readonly axis: number; readonly epsilon: number; readonly stash_type: number };
  RandomNormal: { readonly dtype: number; readonly mean: number; readonly scale: number; readonly seed: number | undefined; readonly shape: readonly number[] };
  RandomNormalLike: { readonly dtype: number | undefined; readonly mean: number; readonly scale: number; readonly seed: number | undefined };
  RandomUniform: { readonly dtype: number; readonly high: number; readonly low: number; readonly seed: number | undefined; readonly shape: readonly number[] };
  RandomUniformLike: { readonly dtype: number | undefined; readonly high: number; readonly low: number; readonly seed: number | undefined };
  Range: { readonly stash_type: number };
  Reciprocal: {};
  ReduceL1: { readonly axes: readonly number[] | Value | undefined; readonly keepdims: number; readonly noop_with_empty_axes: number };
  ReduceL2: { readonly axes: readonly number[] | Value | undefined; readonly keepdims: number; readonly noop_with_empty_axes: number };
  ReduceLogSum: { readonly axes: readonly number[] | Value | undefined; readonly keepdims: number; readonly noop_with_empty_axes: number };
  ReduceLogSumExp: { readonly axes: readonly number[] | Value | undefined; readonly keepdims: number; readonly noop_with_empty_axes: number };
  ReduceMax: { readonly axes: readonly number[] | Value | undefined; readonly keepdims: number; readonly noop_with_empty_axes: number };
  ReduceMean: { readonly axes: readonly number[] | Value | undefined; readonly keepdims: number; readonly noop_with_empty_axes: number };
  ReduceMin: { readonly axes: readonly number[] | Value | undefined; readonly keepdims: number; readonly noop_with_empty_axes: number };
  ReduceProd: { readonly axes: readonly number[] | Value | undefined; readonly keepdims: number; readonly noop_with_empty_axes: number };
  ReduceSum: { readonly axes: readonly number[] | Value | undefined; readonly keepdims: number; readonly noop_with_empty_axes: number };
  ReduceSumSquare: { readonly axes: readonly number[] | Value | undefined; readonly keepdims: number; readonly noop_with_empty_axes: number };
  Relu: {};
  Reshape: { readonly allowzero: number; readonly shape: readonly number[] | Value };
  Resize: { readonly antialias: number; readonly axes: readonly number[] | undefined; readonly coordinate_transformation_mode: string; readonly cubic_coeff_a: number; readonly exclude_outside: number; readonly extrapolation_value: number; readonly keep_aspect_ratio_policy: string; readonly mode: string; readonly nearest_mode: string; readonly scales: readonly number[] | Value | undefined; readonly sizes: readonly number[] | Value | undefined };
  RotaryEmbedding: { readonly interleaved: number; readonly num_heads: number | undefined; readonly rotary_embedding_dim: number };
  Round: {};
  ScatterElements: { readonly axis: number; readonly reduction: string };
  ScatterND: { readonly reduction: string };
  Selu: { readonly alpha: number; readonly gamma: number };
  Shape: { readonly end: number | undefined; readonly start: number };
  Sigmoid: {};
  Sign: {};
  SimplifiedLayerNormalization: { readonly axis: number; readonly epsilon: number; readonly stash_type: number };
  Sin: {};
  Sinh: {};
  Size: {};
  Slice: { readonly axes: readonly number[] | Value | undefined; readonly ends: readonly number[] | Value; readonly starts: readonly number[] | Value; readonly steps: readonly number[] | Value | undefined };
  Softmax: { readonly axis: number };
  Softplus: {};
  Softsign: {};
  Split: { readonly axis: number; readonly num_outputs: number | undefined; readonly split: readonly number[] | Value | undefined };
  Sqrt: {};
  Squeeze: { readonly axes: readonly number[] | Value | undefined };
  Sub: {};
  Sum: {};
  Swish: { readonly alpha: number };
  Tan: {};
  Tanh: {};
  ThresholdedRelu: { readonly alpha: number };
  Tile: { readonly repeats: readonly number[] | Value };
  TopK: { readonly axis: number; readonly k: number | Value; readonly largest: number; readonly sorted: number };
  Transpose: { readonly perm: readonly number[] | undefined };
  Unsqueeze: { readonly axes: readonly number[] | Value };
  Upsample: { readonly mode: string; readonly scales: readonly number[] | Value };
  Where: {};
  Xor: {};
  'com.microsoft.Attention': { readonly do_rotary: number; readonly mask_filter_value: number; readonly num_heads: number; readonly qkv_hidden_sizes: readonly number[] | undefined; readonly scale: number | undefined; readonly unidirectional: number };
  'com.microsoft.BiasGelu': {};
  'com.microsoft.BiasSoftmax': { readonly axis: number; readonly is_inner_broadcast: number };
  'com.microsoft.DequantizeLinear': { readonly axis: number };
  'com.microsoft.DynamicQuantizeMatMul': {};
  'com.microsoft.FastGelu': {};
  'com.microsoft.FusedConv': { readonly activation: string | undefined; readonly activation_params: readonly number[] | undefined; readonly auto_pad: string; readonly dilations: readonly number[] | undefined; readonly group: number; readonly kernel_shape: readonly number[] | undefined; readonly pads: readonly number[] | undefined; readonly strides: readonly number[] | undefined };
  'com.microsoft.FusedGemm': { readonly activation: string | undefined; readonly activation_alpha: number | undefined; readonly activation_beta: number | undefined; readonly activation_gamma: number | undefined; readonly alpha: number; readonly beta: number; readonly transA: number; readonly transB: number };
  'com.microsoft.FusedMatMul': { readonly alpha: number; readonly transA: number; readonly transB: number; readonly transBatchA: number; readonly transBatchB: number };
  'com.microsoft.Gelu': {};
  'com.microsoft.MatMulIntegerToFloat': {};
  'com.microsoft.MatMulNBits': { readonly K: number; readonly N: number; readonly accuracy_level: number; readonly bits: number; readonly block_size: number; readonly weight_prepacked: number };
  'com.microsoft.MultiHeadAttention': { readonly mask_filter_value: number; readonly num_heads: number; readonly scale: number | undefined; readonly unidirectional: number };
  'com.microsoft.QAttention': { readonly do_rotary: number; readonly mask_filter_value: number; readonly num_heads: number; readonly scale: number | undefined; readonly unidirectional: number };
  'com.microsoft.QGemm': { readonly alpha: number; readonly transA: number; readonly transB: number };
  'com.microsoft.QLinearAdd': {};
  'com.microsoft.QLinearAveragePool': { readonly auto_pad: string; readonly ceil_mode: number; readonly channels_last: number; readonly count_include_pad: number; readonly kernel_shape: readonly number[]; readonly pads: readonly number[] | undefined; readonly strides: readonly number[] | undefined };
  'com.microsoft.QLinearConcat': { readonly axis: number };
  'com.microsoft.QLinearGlobalAveragePool': { readonly channels_last: number };
  'com.microsoft.QLinearLeakyRelu': { readonly alpha: number };
  'com.microsoft.QLinearMul': {};
  'com.microsoft.QLinearReduceMean': { readonly axes: readonly number[]; readonly keepdims: number };
  'com.microsoft.QLinearSigmoid': {};
  'com.microsoft.QLinearSoftmax': { readonly axis: number; readonly opset: number };
  'com.microsoft.QLinearWhere': {};
  'com.microsoft.QuantizeLinear': { readonly axis: number };
  'com.microsoft.QuickGelu': { readonly alpha: number };
  'com.microsoft.SkipLayerNormalization': { readonly epsilon: number };
  'com.microsoft.SkipSimplifiedLayerNormalization': { readonly epsilon: number };
}

/** For each operator its versions, oldest first: since which operator set, inputs, attributes, outputs. */
export const operators: { [O in keyof OpArguments]: readonly (readonly [number, string, string, string])[] } = {
  Abs: [[1, 'X', '', 'Y']],
  Acos: [[7, 'input', '', 'output']],
  Add: [[7, 'A B', '', 'C']],
  And: [[7, 'A B', '', 'C']],
  ArgMax: [[1, 'data', 'axis:i=0 keepdims:i=1', 'reduced'], [12, 'data', 'axis:i=0 keepdims:i=1 select_last_index:i=0', 'reduced']],
  ArgMin: [[1, 'data', 'axis:i=0 keepdims:i=1', 'reduced'], [12, 'data', 'axis:i=0 keepdims:i=1 select_last_index:i=0', 'reduced']],
  Asin: [[7, 'input', '', 'output']],
  Atan: [[7, 'input', '', 'output']],
  Attention: [[23, 'Q K V attn_mask? past_key? past_value?', 'is_causal:i=0 kv_num_heads:i? q_num_heads:i? qk_matmul_output_mode:i=0 scale:f? softcap:f=0 softmax_precision:i?', 'Y present_key? present_value? qk_matmul_output?'], [24, 'Q K V attn_mask? past_key? past_value? nonpad_kv_seqlen?', 'is_causal:i=0 kv_num_heads:i? q_num_heads:i? qk_matmul_output_mode:i=0 scale:f? softcap:f=0 softmax_precision:i?', 'Y present_key? present_value? qk_matmul_output?'], [25, 'Q K V attn_mask? past_key? past_value? nonpad_kv_seqlen?', 'is_causal:i=0 kv_num_heads:i? left_window_size:i=-1 q_num_heads:i? qk_matmul_output_mode:i=0 right_window_size:i=-1 scale:f? softcap:f=0 softmax_precision:i?', 'Y present_key? present_value? qk_matmul_output?']],
  AveragePool: [[7, 'X', 'auto_pad:s=NOTSET count_include_pad:i=0 kernel_shape:I pads:I? strides:I?', 'Y'], [10, 'X', 'auto_pad:s=NOTSET ceil_mode:i=0 count_include_pad:i=0 kernel_shape:I pads:I? strides:I?', 'Y'], [19, 'X', 'auto_pad:s=NOTSET ceil_mode:i=0 count_include_pad:i=0 dilations:I? kernel_shape:I pads:I? strides:I?', 'Y']],
  BatchNormalization: [[7, 'X scale B mean var', 'epsilon:f=1e-05 momentum:f=0.9 spatial:i=1', 'Y mean? var? saved_mean? saved_var?'], [9, 'X scale B mean var', 'epsilon:f=1e-05 momentum:f=0.9', 'Y mean? var? saved_mean? saved_var?'], [14, 'X scale B input_mean input_var', 'epsilon:f=1e-05 momentum:f=0.9 training_mode:i=0', 'Y running_mean? running_var?']],
  Bernoulli: [[15, 'input', 'dtype:i? seed:f?', 'output']],
  BitShift: [[11, 'X Y', 'direction:s', 'Z']],
  Cast: [[6, 'input', 'to:i', 'output'], [19, 'input', 'saturate:i=1 to:i', 'output'], [24, 'input', 'round_mode:s=up saturate:i=1 to:i', 'output']],
  CastLike: [[15, 'input target_type', '', 'output'], [19, 'input target_type', 'saturate:i=1', 'output'], [24, 'input target_type', 'round_mode:s=up saturate:i=1', 'output']],
  Ceil: [[1, 'X', '', 'Y']],
  Celu: [[12, 'X', 'alpha:f=1', 'Y']],
  Clip: [[1, 'input', 'max:f? min:f?', 'output'], [11, 'input min:f? max:f?', '', 'output']],
  Concat: [[4, 'inputs*', 'axis:i', 'concat_result']],
  Constant: [[1, '', 'value:t', 'output'], [11, '', 'value:t?', 'output'], [12, '', 'value:t? value_float:f? value_floats:F? value_int:i? value_ints:I? value_string:s? value_strings:S?', 'output']],
  ConstantOfShape: [[9, 'shape:I', 'value:t?', 'output']],
  Conv: [[1, 'X W B?', 'auto_pad:s=NOTSET dilations:I? group:i=1 kernel_shape:I? pads:I? strides:I?', 'Y']],
  ConvInteger: [[10, 'x w x_zero_point? w_zero_point?', 'auto_pad:s=NOTSET dilations:I? group:i=1 kernel_shape:I? pads:I? strides:I?', 'y']],
  ConvTranspose: [[1, 'X W B?', 'auto_pad:s=NOTSET dilations:I? group:i=1 kernel_shape:I? output_padding:I? output_shape:I? pads:I? strides:I?', 'Y']],
  Cos: [[7, 'input', '', 'output']],
  Cosh: [[9, 'input', '', 'output']],
  CumSum: [[11, 'x axis:i', 'exclusive:i=0 reverse:i=0', 'y']],
  DequantizeLinear: [[10, 'x x_scale x_zero_point?', '', 'y'], [13, 'x x_scale x_zero_point?', 'axis:i=1', 'y'], [21, 'x x_scale x_zero_point?', 'axis:i=1 block_size:i=0', 'y'], [23, 'x x_scale x_zero_point?', 'axis:i=1 block_size:i=0 output_dtype:i=0', 'y']],
  Div: [[7, 'A B', '', 'C']],
  Dropout: [[7, 'data', 'ratio:f=0.5', 'output mask?'], [12, 'data ratio:f? training_mode:i?', 'seed:i?', 'output mask?']],
  DynamicQuantizeLinear: [[11, 'x', '', 'y y_scale y_zero_point']],
  Einsum: [[12, 'Inputs*', 'equation:s', 'Output']],
  Elu: [[1, 'X', 'alpha:f=1', 'Y']],
  Equal: [[7, 'A B', '', 'C']],
  Erf: [[9, 'input', '', 'output']],
  Exp: [[1, 'input', '', 'output']],
  Expand: [[8, 'input shape:I', '', 'output']],
  Flatten: [[1, 'input', 'axis:i=1', 'output']],
  Floor: [[1, 'X', '', 'Y']],
  Gather: [[1, 'data indices:I', 'axis:i=0', 'output']],
  GatherElements: [[11, 'data indices', 'axis:i=0', 'output']],
  GatherND: [[11, 'data indices', '', 'output'], [12, 'data indices', 'batch_dims:i=0', 'output']],
  Gelu: [[20, 'X', 'approximate:s=none', 'Y']],
  Gemm: [[7, 'A B C', 'alpha:f=1 beta:f=1 transA:i=0 transB:i=0', 'Y'], [11, 'A B C?', 'alpha:f=1 beta:f=1 transA:i=0 transB:i=0', 'Y']],
  GlobalAveragePool: [[1, 'X', '', 'Y']],
  GlobalMaxPool: [[1, 'X', '', 'Y']],
  Greater: [[7, 'A B', '', 'C']],
  GreaterOrEqual: [[12, 'A B', '', 'C']],
  GroupNormalization: [[18, 'X scale bias', 'epsilon:f=1e-05 num_groups:i', 'Y'], [21, 'X scale bias', 'epsilon:f=1e-05 num_groups:i stash_type:i=1', 'Y']],
  HardSigmoid: [[1, 'X', 'alpha:f=0.2 beta:f=0.5', 'Y']],
  HardSwish: [[14, 'X', '', 'Y']],
  Hardmax: [[1, 'input', 'axis:i=1', 'output'], [13, 'input', 'axis:i=-1', 'output']],
  Identity: [[1, 'input', '', 'output']],
  InstanceNormalization: [[1, 'input scale B', 'epsilon:f=1e-05', 'output']],
  IsInf: [[10, 'X', 'detect_negative:i=1 detect_positive:i=1', 'Y']],
  IsNaN: [[9, 'X', '', 'Y']],
  LayerNormalization: [[17, 'X Scale B?', 'axis:i=-1 epsilon:f=1e-05 stash_type:i=1', 'Y Mean? InvStdDev?']],
  LeakyRelu: [[1, 'X', 'alpha:f=0.01', 'Y']],
  Less: [[7, 'A B', '', 'C']],
  LessOrEqual: [[12, 'A B', '', 'C']],
  Log: [[1, 'input', '', 'output']],
  LogSoftmax: [[1, 'input', 'axis:i=1', 'output'], [13, 'input', 'axis:i=-1', 'output']],
  LpNormalization: [[1, 'input', 'axis:i=-1 p:i=2', 'output']],
  MatMul: [[1, 'A B', '', 'Y']],
  MatMulInteger: [[10, 'A B a_zero_point? b_zero_point?', '', 'Y']],
  Max: [[1, 'data_0*', '', 'max']],
  MaxPool: [[1, 'X', 'auto_pad:s=NOTSET kernel_shape:I pads:I? strides:I?', 'Y'], [8, 'X', 'auto_pad:s=NOTSET kernel_shape:I pads:I? storage_order:i=0 strides:I?', 'Y Indices?'], [10, 'X', 'auto_pad:s=NOTSET ceil_mode:i=0 dilations:I? kernel_shape:I pads:I? storage_order:i=0 strides:I?', 'Y Indices?']],
  Mean: [[1, 'data_0*', '', 'mean']],
  Min: [[1, 'data_0*', '', 'min']],
  Mish: [[18, 'X', '', 'Y']],
  Mod: [[10, 'A B', 'fmod:i=0', 'C']],
  Mul: [[7, 'A B', '', 'C']],
  Multinomial: [[7, 'input', 'dtype:i=6 sample_size:i=1 seed:f?', 'output']],
  Neg: [[1, 'X', '', 'Y']],
  Not: [[1, 'X', '', 'Y']],
  OneHot: [[9, 'indices depth:i values', 'axis:i=-1', 'output']],
  Or: [[7, 'A B', '', 'C']],
  PRelu: [[1, 'X slope', '', 'Y']],
  Pad: [[2, 'data', 'mode:s=constant pads:I value:f=0', 'output'], [11, 'data pads:I value:f?', 'mode:s=constant', 'output'], [18, 'data pads:I value:f? axes:I?', 'mode:s=constant', 'output']],
  Pow: [[7, 'X Y', '', 'Z']],
  QLinearConv: [[10, 'x x_scale x_zero_point w w_scale w_zero_point y_scale y_zero_point B?', 'auto_pad:s=NOTSET dilations:I? group:i=1 kernel_shape:I? pads:I? strides:I?', 'y']],
  QLinearMatMul: [[10, 'a a_scale a_zero_point b b_scale b_zero_point y_scale y_zero_point', '', 'y']],
  QuantizeLinear: [[10, 'x y_scale y_zero_point?', '', 'y'], [13, 'x y_scale y_zero_point?', 'axis:i=1', 'y'], [19, 'x y_scale y_zero_point?', 'axis:i=1 saturate:i=1', 'y'], [21, 'x y_scale y_zero_point?', 'axis:i=1 block_size:i=0 output_dtype:i=0 saturate:i=1', 'y'], [23, 'x y_scale y_zero_point?', 'axis:i=1 block_size:i=0 output_dtype:i=0 precision:i=0 saturate:i=1', 'y']],
  RMSNormalization: [[23, 'X scale', 'axis:i=-1 epsilon:f=1e-05 stash_type:i=1', 'Y']],
  RandomNormal: [[1, '', 'dtype:i=1 mean:f=0 scale:f=1 seed:f? shape:I', 'output']],
  RandomNormalLike: [[1, 'input', 'dtype:i? mean:f=0 scale:f=1 seed:f?', 'output']],
  RandomUniform: [[1, '', 'dtype:i=1 high:f=1 low:f=0 seed:f? shape:I', 'output']],
  RandomUniformLike: [[1, 'input', 'dtype:i? high:f=1 low:f=0 seed:f?', 'output']],
  Range: [[11, 'start limit delta', '', 'output'], [27, 'start limit delta', 'stash_type:i=1', 'output']],
  Reciprocal: [[1, 'X', '', 'Y']],
  ReduceL1: [[1, 'data', 'axes:I? keepdims:i=1', 'reduced'], [18, 'data axes:I?', 'keepdims:i=1 noop_with_empty_axes:i=0', 'reduced']],
  ReduceL2: [[1, 'data', 'axes:I? keepdims:i=1', 'reduced'], [18, 'data axes:I?', 'keepdims:i=1 noop_with_empty_axes:i=0', 'reduced']],
  ReduceLogSum: [[1, 'data', 'axes:I? keepdims:i=1', 'reduced'], [18, 'data axes:I?', 'keepdims:i=1 noop_with_empty_axes:i=0', 'reduced']],
  ReduceLogSumExp: [[1, 'data', 'axes:I? keepdims:i=1', 'reduced'], [18, 'data axes:I?', 'keepdims:i=1 noop_with_empty_axes:i=0', 'reduced']],
  ReduceMax: [[1, 'data', 'axes:I? keepdims:i=1', 'reduced'], [18, 'data axes:I?', 'keepdims:i=1 noop_with_empty_axes:i=0', 'reduced']],
  ReduceMean: [[1, 'data', 'axes:I? keepdims:i=1', 'reduced'], [18, 'data axes:I?', 'keepdims:i=1 noop_with_empty_axes:i=0', 'reduced']],
  ReduceMin: [[1, 'data', 'axes:I? keepdims:i=1', 'reduced'], [18, 'data axes:I?', 'keepdims:i=1 noop_with_empty_axes:i=0', 'reduced']],
  ReduceProd: [[1, 'data', 'axes:I? keepdims:i=1', 'reduced'], [18, 'data axes:I?', 'keepdims:i=1 noop_with_empty_axes:i=0', 'reduced']],
  ReduceSum: [[1, 'data', 'axes:I? keepdims:i=1', 'reduced'], [13, 'data axes:I?', 'keepdims:i=1 noop_with_empty_axes:i=0', 'reduced']],
  ReduceSumSquare: [[1, 'data', 'axes:I? keepdims:i=1', 'reduced'], [18, 'data axes:I?', 'keepdims:i=1 noop_with_empty_axes:i=0', 'reduced']],
  Relu: [[1, 'X', '', 'Y']],
  Reshape: [[5, 'data shape:I', '', 'reshaped'], [14, 'data shape:I', 'allowzero:i=0', 'reshaped']],
  Resize: [[10, 'X scales:F', 'mode:s=nearest', 'Y'], [11, 'X roi scales:F sizes:I?', 'coordinate_transformation_mode:s=half_pixel cubic_coeff_a:f=-0.75 exclude_outside:i=0 extrapolation_value:f=0 mode:s=nearest nearest_mode:s=round_prefer_floor', 'Y'], [13, 'X roi? scales:F? sizes:I?', 'coordinate_transformation_mode:s=half_pixel cubic_coeff_a:f=-0.75 exclude_outside:i=0 extrapolation_value:f=0 mode:s=nearest nearest_mode:s=round_prefer_floor', 'Y'], [18, 'X roi? scales:F? sizes:I?', 'antialias:i=0 axes:I? coordinate_transformation_mode:s=half_pixel cubic_coeff_a:f=-0.75 exclude_outside:i=0 extrapolation_value:f=0 keep_aspect_ratio_policy:s=stretch mode:s=nearest nearest_mode:s=round_prefer_floor', 'Y']],
  RotaryEmbedding: [[23, 'X cos_cache sin_cache position_ids?', 'interleaved:i=0 num_heads:i? rotary_embedding_dim:i=0', 'Y']],
  Round: [[11, 'X', '', 'Y']],
  ScatterElements: [[11, 'data indices updates', 'axis:i=0', 'output'], [16, 'data indices updates', 'axis:i=0 reduction:s=none', 'output']],
  ScatterND: [[11, 'data indices updates', '', 'output'], [16, 'data indices updates', 'reduction:s=none', 'output']],
  Selu: [[6, 'X', 'alpha:f=1.6732632 gamma:f=1.050701', 'Y']],
  Shape: [[1, 'data', '', 'shape'], [15, 'data', 'end:i? start:i=0', 'shape']],
  Sigmoid: [[1, 'X', '', 'Y']],
  Sign: [[9, 'input', '', 'output']],
  SimplifiedLayerNormalization: [[1, 'X scale', 'axis:i=-1 epsilon:f=0.00001 stash_type:i=1', 'Y inv_std_var?']],
  Sin: [[7, 'input', '', 'output']],
  Sinh: [[9, 'input', '', 'output']],
  Size: [[1, 'data', '', 'size']],
  Slice: [[1, 'data', 'axes:I? ends:I starts:I', 'output'], [10, 'data starts:I ends:I axes:I? steps:I?', '', 'output']],
  Softmax: [[1, 'input', 'axis:i=1', 'output'], [13, 'input', 'axis:i=-1', 'output']],
  Softplus: [[1, 'X', '', 'Y']],
  Softsign: [[1, 'input', '', 'output']],
  Split: [[2, 'input', 'axis:i=0 split:I?', 'outputs*'], [13, 'input split:I?', 'axis:i=0', 'outputs*'], [18, 'input split:I?', 'axis:i=0 num_outputs:i?', 'outputs*']],
  Sqrt: [[1, 'X', '', 'Y']],
  Squeeze: [[1, 'data', 'axes:I?', 'squeezed'], [13, 'data axes:I?', '', 'squeezed']],
  Sub: [[7, 'A B', '', 'C']],
  Sum: [[1, 'data_0*', '', 'sum']],
  Swish: [[24, 'X', 'alpha:f=1', 'Y']],
  Tan: [[7, 'input', '', 'output']],
  Tanh: [[1, 'input', '', 'output']],
  ThresholdedRelu: [[10, 'X', 'alpha:f=1', 'Y']],
  Tile: [[6, 'input repeats:I', '', 'output']],
  TopK: [[1, 'X', 'axis:i=-1 k:i', 'Values Indices'], [10, 'X k:i', 'axis:i=-1', 'Values Indices'], [11, 'X k:i', 'axis:i=-1 largest:i=1 sorted:i=1', 'Values Indices']],
  Transpose: [[1, 'data', 'perm:I?', 'transposed']],
  Unsqueeze: [[1, 'data', 'axes:I', 'expanded'], [13, 'data axes:I', '', 'expanded']],
  Upsample: [[7, 'X', 'mode:s=nearest scales:F', 'Y'], [9, 'X scales:F', 'mode:s=nearest', 'Y']],
  Where: [[9, 'condition X Y', '', 'output']],
  Xor: [[7, 'A B', '', 'C']],
  'com.microsoft.Attention': [[1, 'input weights bias? mask_index? past? attention_bias? past_sequence_length?', 'do_rotary:i=0 mask_filter_value:f=-10000 num_heads:i qkv_hidden_sizes:I? scale:f? unidirectional:i=0', 'output present?']],
  'com.microsoft.BiasGelu': [[1, 'A B', '', 'C']],
  'com.microsoft.BiasSoftmax': [[1, 'data bias', 'axis:i=1 is_inner_broadcast:i', 'output']],
  'com.microsoft.DequantizeLinear': [[1, 'x x_scale x_zero_point?', 'axis:i=1', 'y']],
  'com.microsoft.DynamicQuantizeMatMul': [[1, 'A B b_scale b_zero_point? bias?', '', 'Y']],
  'com.microsoft.FastGelu': [[1, 'X bias?', '', 'Y']],
  'com.microsoft.FusedConv': [[1, 'X W B? Z?', 'activation:s? activation_params:F? auto_pad:s=NOTSET dilations:I? group:i=1 kernel_shape:I? pads:I? strides:I?', 'Y']],
  'com.microsoft.FusedGemm': [[1, 'A B C?', 'activation:s? activation_alpha:f? activation_beta:f? activation_gamma:f? alpha:f=1 beta:f=1 transA:i=0 transB:i=0', 'Y']],
  'com.microsoft.FusedMatMul': [[1, 'A B', 'alpha:f=1 transA:i=0 transB:i=0 transBatchA:i=0 transBatchB:i=0', 'Y']],
  'com.microsoft.Gelu': [[1, 'X', '', 'Y']],
  'com.microsoft.MatMulIntegerToFloat': [[1, 'A B a_scale b_scale a_zero_point? b_zero_point? bias?', '', 'Y']],
  'com.microsoft.MatMulNBits': [[1, 'A B scales zero_points? g_idx? bias?', 'K:i N:i accuracy_level:i=0 bits:i=4 block_size:i weight_prepacked:i=0', 'Y']],
  'com.microsoft.MultiHeadAttention': [[1, 'query key? value? bias? key_padding_mask? attention_bias? past_key? past_value? past_sequence_length? cache_indirection?', 'mask_filter_value:f=-10000 num_heads:i scale:f? unidirectional:i=0', 'output present_key? present_value? qk?']],
  'com.microsoft.QAttention': [[1, 'input weight bias input_scale weight_scale mask_index? input_zero_point? weight_zero_point? past?', 'do_rotary:i=0 mask_filter_value:f=-10000 num_heads:i scale:f? unidirectional:i=0', 'output present?']],
  'com.microsoft.QGemm': [[1, 'A a_scale a_zero_point B b_scale b_zero_point C? y_scale? y_zero_point?', 'alpha:f=1 transA:i=0 transB:i=0', 'Y']],
  'com.microsoft.QLinearAdd': [[1, 'A A_scale A_zero_point? B B_scale B_zero_point? C_scale C_zero_point?', '', 'C']],
  'com.microsoft.QLinearAveragePool': [[1, 'X x_scale x_zero_point? y_scale y_zero_point?', 'auto_pad:s=NOTSET ceil_mode:i=0 channels_last:i=0 count_include_pad:i=0 kernel_shape:I pads:I? strides:I?', 'Y']],
  'com.microsoft.QLinearConcat': [[1, 'Y_scale Y_zero_point inputs*', 'axis:i', 'Y']],
  'com.microsoft.QLinearGlobalAveragePool': [[1, 'X x_scale x_zero_point y_scale y_zero_point', 'channels_last:i=0', 'Y']],
  'com.microsoft.QLinearLeakyRelu': [[1, 'X X_scale X_zero_point? Y_scale Y_zero_point?', 'alpha:f=0.01', 'Y']],
  'com.microsoft.QLinearMul': [[1, 'A A_scale A_zero_point? B B_scale B_zero_point? C_scale C_zero_point?', '', 'C']],
  'com.microsoft.QLinearReduceMean': [[1, 'data data_scale data_zero_point? reduced_scale reduced_zero_point?', 'axes:I keepdims:i', 'reduced']],
  'com.microsoft.QLinearSigmoid': [[1, 'X X_scale X_zero_point? Y_scale Y_zero_point?', '', 'Y']],
  'com.microsoft.QLinearSoftmax': [[1, 'X X_scale x_zero_point? y_scale y_zero_point', 'axis:i=-1 opset:i', 'Y']],
  'com.microsoft.QLinearWhere': [[1, 'condition X x_scale x_zero_point Y y_scale y_zero_point z_scale z_zero_point', '', 'Z']],
  'com.microsoft.QuantizeLinear': [[1, 'x y_scale y_zero_point?', 'axis:i=1', 'y']],
  'com.microsoft.QuickGelu': [[1, 'X', 'alpha:f=1.702', 'Y']],
  'com.microsoft.SkipLayerNormalization': [[1, 'input skip gamma beta? bias?', 'epsilon:f=0.00001', 'output mean? inv_std_var? input_skip_bias_sum?']],
  'com.microsoft.SkipSimplifiedLayerNormalization': [[1, 'input skip gamma bias?', 'epsilon:f=0.00001', 'output mean? inv_std_var? input_skip_bias_sum?']],
};
