"""Protobuf message classes from a table of fields, where a package ships no module with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "bool": _Field.TYPE_BOOL,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}

Schema = Mapping[str, Mapping[str, tuple[int, str]]]
"""Message name to field name to (number, type); a type may be `repeated T` or another message."""


def build(package: str, schema: Schema) -> dict[str, Any]:
    """Classes by message name, in a descriptor pool of their own.

    Args:
        package: the messages' protobuf package.
        schema: their fields.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3"
    )
    for name, fields in schema.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            repeated = kind.startswith("repeated ")
            kind = kind.removeprefix("repeated ")
            entry = message.field.add(name=field, number=number)
            entry.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if kind in _SCALARS:
                entry.type = _SCALARS[kind]
            else:
                entry.type = _Field.TYPE_MESSAGE
                entry.type_name = f".{package}.{kind}"
    # The stubs of protobuf 3.20 leave the pool's methods untyped.
    pool: Any = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory: Any = message_factory.MessageFactory(pool)
    return {
        name: factory.GetPrototype(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in schema
    }
