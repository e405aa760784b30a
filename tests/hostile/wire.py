# SPDX-License-Identifier: Apache-2.0
"""Just enough of protobuf to write ONNX files, right or wrong ones."""
import struct

FLOAT, UINT8, INT8, INT32, INT64, STRING, BOOL, FLOAT16 = 1, 2, 3, 6, 7, 8, 9, 10


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def tag(number, wire):
    return varint(number << 3 | wire)


def integer(number, value):
    return tag(number, 0) + varint(value)


def data(number, value):
    if isinstance(value, str):
        value = value.encode()
    return tag(number, 2) + varint(len(value)) + value


def many(number, values, encode=data):
    return b''.join(encode(number, v) for v in values)


def attribute(name, kind, body=b'', ref=None):
    return (data(1, name) + integer(20, kind) + body +
            (data(21, ref) if ref else b''))


def a_int(name, value):
    return attribute(name, 2, integer(3, value))


def a_float(name, value):
    return attribute(name, 1, tag(2, 5) + struct.pack('<f', value))


def a_ints(name, values):
    return attribute(name, 7, many(8, values, integer))


def a_string(name, value):
    return attribute(name, 3, data(4, value))


def a_tensor(name, value):
    return attribute(name, 4, data(5, value))


def a_graph(name, value):
    return attribute(name, 5, data(6, value))


def node(op, inputs, outputs, *attributes, name='', domain=''):
    return (many(1, inputs) + many(2, outputs) + data(4, op) +
            (data(3, name) if name else b'') +
            (data(7, domain) if domain else b'') + many(5, attributes))


def tensor(name, dims, kind=FLOAT, body=b''):
    return many(1, dims, integer) + integer(2, kind) + data(8, name) + body


def raw(value):
    return data(9, value)


def floats(number, values):
    return data(number, struct.pack(f'<{len(values)}f', *values))


def packed(number, values):
    return data(number, b''.join(varint(v) for v in values))


def pair(key, value):
    return data(1, key) + data(2, value)


def external(**keys):
    return (integer(14, 1) +
            b''.join(data(13, pair(k, str(v))) for k, v in keys.items()))


def dim(value):
    if value is None:
        return b''
    return data(2, value) if isinstance(value, str) else integer(1, value)


def tensor_type(dims, kind=FLOAT):
    shape = b'' if dims is ... else data(2, many(1, map(dim, dims)))
    return data(1, integer(1, kind) + shape)


def value(name, dims, kind=FLOAT):
    return data(1, name) + data(2, tensor_type(dims, kind))


def graph(nodes, inputs=(), outputs=(), initializers=(), extra=b''):
    return (many(1, nodes) + data(2, 'g') + many(5, initializers) +
            many(11, inputs) + many(12, outputs) + extra)


def opset(version, domain=''):
    return (data(1, domain) if domain else b'') + integer(2, version)


def function(name, inputs, outputs, nodes, domain='local', attributes=(),
             opsets=((17, ''),)):
    return (data(1, name) + many(4, inputs) + many(5, outputs) +
            many(6, attributes) + many(7, nodes) + data(10, domain) +
            many(9, [opset(*o) for o in opsets]))


def model(body, functions=(), opsets=((17, ''), (1, 'local')), ir=8,
          extra=b''):
    return ((integer(1, ir) if ir is not None else b'') +
            (data(7, body) if body is not None else b'') +
            many(8, [opset(*o) for o in opsets]) + many(25, functions) +
            extra)
