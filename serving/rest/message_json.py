"""Protobuf messages as the stock server's REST front end writes them: status and metadata.

They come from protobuf's C++ converter, not from RapidJSON: indented by one space, members in the
order of the message's definition, and escaped so that a page may hold them.
"""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

# What `json_escaping.cc` of protobuf escapes beside what JSON demands.
_UNSEEN = (
    *(*range(0x7F, 0xA0), 0xAD, *range(0x600, 0x604), 0x6DD, 0x70F, 0x17B4, 0x17B5),
    *(*range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2065)),
    *(*range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFC), *range(0x1D173, 0x1D17B)),
    *(0xE0001, *range(0xE0020, 0xE0080)),
)
_ESCAPES = {ord("<"): r"\u003c", ord(">"): r"\u003e"} | {
    code: json.dumps(chr(code)).strip('"') for code in _UNSEEN
}


def message_json(message: Any) -> str:
    """A message as JSON with all of its fields, be they set or not, and a line break."""
    convert: Any = json_format.MessageToDict  # its stubs are of a later protobuf
    fields = convert(message, including_default_value_fields=True, preserving_proto_field_name=True)
    ordered = _ordered(fields, message.DESCRIPTOR)
    return json.dumps(ordered, indent=1, ensure_ascii=False).translate(_ESCAPES) + "\n"


def _ordered(fields: dict[str, Any], of: Descriptor) -> dict[str, Any]:
    """The fields as they are defined, after them those of which a message has only one."""
    defined = sorted(of.fields, key=lambda field: field.containing_oneof is not None)
    return {
        field.name: _value(fields[field.name], field) for field in defined if field.name in fields
    }


def _value(value: Any, field: FieldDescriptor) -> Any:
    kind = field.message_type
    if kind is None or isinstance(value, str):  # a wrapper is written as what it holds
        return value
    if kind.GetOptions().map_entry:
        of = kind.fields_by_name["value"]
        return {key: _value(element, of) for key, element in value.items()}
    if isinstance(value, list):
        return [_ordered(element, kind) for element in value]
    return _ordered(value, kind)
