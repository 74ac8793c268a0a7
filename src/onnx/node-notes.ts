import { fromBinary, type UnknownField } from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { Node } from '../graph/graph.ts';
import { StringStringEntryProtoSchema } from './generated/onnx_pb.ts';

/** NodeProto.metadata_props. */
const metadataField = 9;

/** What an exporter noted on a node of a file, by key: where in the source it is from. */
export function nodeNotes(node: Node): ReadonlyMap<string, string> {
  const notes = new Map<string, string>();
  for (const { no, data } of (node.carried as UnknownField[] | undefined) ?? []) {
    if (no !== metadataField) continue;
    const { key, value } = fromBinary(StringStringEntryProtoSchema, new BinaryReader(data).bytes());
    notes.set(key, value);
  }
  return notes;
}
