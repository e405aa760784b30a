# SPDX-License-Identifier: Apache-2.0
"""
The hostile models.  Each case is a file NAME.CODE.onnx, where CODE is the exit
status that dlcc must give; CODExN stands for N diagnostics.  The first letter
and the number are the row in the catalogue: W wire format, G graph, A
attributes and shapes, T tensors, X external data, N names.
"""
import hashlib
import os
import struct

from wire import *

X, Y = value('x', [2, 3]), value('y', [2, 3])
RELU = node('Relu', ['x'], ['y'])


def relu(**kw):
    """A right model, parts of which may be replaced."""
    kw.setdefault('body', graph([RELU], [X], [Y]))
    return model(**kw)


def nodes(*list_, inputs=(X,), outputs=(Y,), init=(), extra=b'', **kw):
    return model(graph(list_, inputs, outputs, init, extra), **kw)


def attr_case(*attributes, op='Softmax'):
    return nodes(node(op, ['x'], ['y'], *attributes))


def weight(body, dims=(2, 3), kind=FLOAT):
    """x + w, where w is the tensor under test."""
    cast = node('Cast', ['w'], ['v'], a_int('to', FLOAT))
    return nodes(cast, node('Add', ['x', 'v'], ['y']),
                 init=[tensor('w', dims, kind, body)])


def wrap(depth, inner, *numbers):
    """Messages in messages: built from the inside with known lengths."""
    parts, size = [], len(inner)
    for level in range(depth):
        head = tag(numbers[level % len(numbers)], 2) + varint(size)
        parts.append(head)
        size += len(head)
    return b''.join(reversed(parts)) + inner


W24 = struct.pack('<6f', *range(6))


def wire_cases():
    good = relu()
    yield 'w00-good.0', good
    yield 'w01-empty.2', b''
    yield 'w01-one-byte.2', b'\x08'
    yield 'w01-zeros.2', bytes(1 << 20)
    yield 'w02-cut.2', good[:len(good) // 2]
    yield 'w02-cut-last.2', good[:-1]
    yield 'w03-length-2e63.2', tag(7, 2) + varint((1 << 63) - 1)
    yield 'w03-length-2e64.2', tag(7, 2) + varint((1 << 64) - 1)
    yield 'w03-raw-length.2', weight(tag(9, 2) + varint(1 << 40))
    yield 'w04-long-varint.2', good + tag(1, 0) + b'\x80' * 11 + b'\x01'
    yield 'w04-tag-zero.2', good + b'\x00\x00'
    yield 'w04-field-number.2', good + varint(1 << 33 | 8)
    for wire in 3, 4, 6, 7:
        yield f'w04-wire-type-{wire}.2', good + tag(100, wire)
    yield 'w04-wrong-wire-type.2', good + tag(7, 0) + varint(5)
    yield 'w05-nested-graphs.4', (integer(1, 8) + many(8, [opset(17)]) +
                                  data(7, wrap(9000, b'', 6, 5, 1)))
    yield 'w06-nested-types.4', nodes(RELU, inputs=[
        X, data(1, 'z') + data(2, wrap(3000, b'', 1, 4))])
    yield 'w07-million-initializers.4', model(
        graph([RELU], [X], [Y], extra=data(5, b'') * 1000000))
    yield 'w08-repeated-graph.2', good + data(7, b'') * 80000
    yield 'w09-packed-part.2', weight(data(4, W24[:23]))
    yield 'w09-packed-varint.2', weight(data(7, b'\x80'), kind=INT64)
    yield 'w10-unknown-fields.0', good + integer(900, 7) * 20000
    yield 'w10-unknown-attr-type.2', attr_case(attribute('axis', 77))
    yield 'w11-nul-in-name.2', nodes(node('Relu', ['x'], ['y'], name='a\0b'))
    yield 'w11-strange-name.0', nodes(
        node('Relu', ['x'], ['y'], name='\u202e\x1b]0;t\x07\n'))
    yield 'w12-no-graph.2', relu(body=None)
    yield 'w12-no-outputs.2', nodes(RELU, outputs=())
    yield 'w12-no-nodes.0', nodes(outputs=(X,))
    yield 'w14-zip.2', b'PK\x03\x04' + bytes(100)
    yield 'w14-gzip.2', b'\x1f\x8b\x08' + bytes(100)
    yield 'w14-text.2', b'ir_version: 8\ngraph { name: "g" }\n'


def graph_cases():
    add = node('Add', ['x', 'a'], ['y'])
    yield 'g01-cycle.2', nodes(node('Add', ['x', 'b'], ['a']),
                               node('Relu', ['a'], ['b']),
                               node('Relu', ['b'], ['y']))
    yield 'g01-own-output.2', nodes(node('Add', ['x', 'y'], ['y']))
    yield 'g02-not-sorted.2', nodes(add, node('Relu', ['x'], ['a']))
    yield 'g03-output-twice.2', nodes(node('Relu', ['x'], ['a']),
                                      node('Relu', ['x'], ['a']), add)
    yield 'g03-output-is-input.2', nodes(node('Relu', ['x'], ['x']), RELU)
    yield 'g03-input-twice.2', nodes(RELU, inputs=(X, X))
    w = tensor('a', [2, 3], FLOAT, raw(W24))
    yield 'g03-initializer-twice.2', nodes(add, init=(w, w))
    yield 'g03-output-is-initializer.2', nodes(
        node('Relu', ['x'], ['a']), add, init=(w,))
    yield 'g03-graph-output-twice.2', nodes(RELU, outputs=(Y, Y))
    yield 'g04-undefined-input.2', nodes(add)
    yield 'g04-undefined-output.2', nodes(node('Relu', ['x'], ['a']))
    yield 'g05-missing-input.2', nodes(node('Relu', [''], ['y']))
    yield 'g05-too-many-inputs.2', nodes(node('Relu', ['x', 'x'], ['y']))
    yield 'g05-no-inputs.2', nodes(node('Concat', [], ['y'],
                                        a_int('axis', 0)))
    yield 'g05-trailing-empty-inputs.0', nodes(
        node('Clip', ['x', '', ''], ['y']))
    yield 'g05-too-many-outputs.2', nodes(
        node('Relu', ['x'], ['y', 'z']), outputs=(Y, value('z', [2, 3])))
    yield 'g06-dead-nodes.0', nodes(
        RELU, *(node('Relu', ['x'], [f'd{i}']) for i in range(20000)))
    yield 'g06-dead-unknown-op.0', nodes(RELU, node('Nonsense', ['x'], ['z']))
    yield 'g07-ir-zero.2', relu(ir=0)
    yield 'g07-ir-missing.2', relu(ir=None)
    yield 'g07-ir-future.3', relu(ir=10**9)
    yield 'g07-no-opset.2', relu(opsets=())
    yield 'g07-opset-zero.2', relu(opsets=((0, ''),))
    yield 'g07-opset-negative.2', relu(opsets=((-1, ''),))
    yield 'g07-opset-old.3', relu(opsets=((5, ''),))
    yield 'g07-opset-future.3', relu(opsets=((1 << 40, ''),))
    yield 'g07-opset-twice.2', relu(opsets=((17, ''), (13, '')))
    yield 'g07-opset-two-spellings.2', relu(opsets=((17, ''),
                                                    (17, 'ai.onnx')))
    yield 'g08-two-unknown-ops.3x2', nodes(
        node('Nonsense', ['x'], ['a']), node('Nonsense', ['a'], ['b']),
        node('Rubbish', ['b'], ['y']))
    yield 'g08-unknown-domain.2', nodes(
        node('Relu', ['x'], ['y'], domain='no.such'))
    yield 'g08-newer-than-opset.3', nodes(node('Gelu', ['x'], ['y']))
    yield 'g08-control-character.3', nodes(
        node('\x1b[31mRelu', ['x'], ['y']))
    yield 'g14-rank-claim.2', nodes(RELU, outputs=(value('y', [2, 3, 1]),))
    yield 'g14-dim-claim.2', nodes(RELU, outputs=(value('y', [2, 4]),))
    yield 'g14-type-claim.2', nodes(RELU,
                                    outputs=(value('y', [2, 3], INT64),))
    yield 'g16-initializer-is-input.0', nodes(
        add, inputs=(X, value('a', [2, 3])), init=(w,))
    sparse = (data(1, tensor('a', [1], FLOAT, raw(W24[:4]))) +
              data(2, tensor('i', [1], INT64, raw(bytes(8)))) +
              many(3, [1 << 62, 1 << 62], integer))
    yield 'g17-sparse.3', nodes(add, init=(), extra=data(15, sparse))
    sequence = data(1, 'x') + data(2, data(4, data(1, tensor_type([2]))))
    yield 'g18-sequence-input.3', nodes(RELU, inputs=(sequence,))
    yield 'g18-string-input.3', nodes(
        RELU, inputs=(X, value('s', [1], STRING)))
    yield 'g18-no-type.2', nodes(RELU, inputs=(data(1, 'x'),))
    yield 'g18-no-rank.3', nodes(RELU, inputs=(value('x', ...),))
    yield 'g19-metadata.0', relu(extra=data(14, pair('k', 'v')) * 20000)


def function_cases():
    def call(name, a, b, *attributes):
        return node(name, [a], [b], *attributes, domain='local')

    main = call('f', 'x', 'y')
    relu_f = function('f', ['a'], ['b'], [node('Relu', ['a'], ['b'])])
    yield 'g09-good-function.0', nodes(main, functions=[relu_f])
    yield 'g09-recursion.2', nodes(
        main, functions=[function('f', ['a'], ['b'], [call('f', 'a', 'b')])])
    yield 'g09-mutual-recursion.2', nodes(
        main, functions=[function('f', ['a'], ['b'], [call('h', 'a', 'b')]),
                         function('h', ['a'], ['b'], [call('f', 'a', 'b')])])
    branch = graph([call('f', 'a', 'c')], [], [data(1, 'c')])
    cond = node('Constant', [], ['k'], a_tensor(
        'value', tensor('', [], BOOL, raw(b'\1'))))
    choose = node('If', ['k'], ['b'], a_graph('then_branch', branch),
                  a_graph('else_branch', branch))
    yield 'g09-recursion-in-branch.2', nodes(
        main, functions=[function('f', ['a'], ['b'], [cond, choose])])
    yield 'g10-billion-laughs.4', nodes(
        call('f39', 'x', 'y'),
        functions=[function('f0', ['a'], ['b'], [node('Relu', ['a'], ['b'])])]
        + [function(f'f{k}', ['a'], ['b'],
                    [call(f'f{k - 1}', 'a', 'c'), call(f'f{k - 1}', 'c', 'b')])
           for k in range(1, 40)])
    yield 'g10-deep-calls.4', nodes(
        call('f200', 'x', 'y'),
        functions=[function('f0', ['a'], ['b'], [node('Relu', ['a'], ['b'])])]
        + [function(f'f{k}', ['a'], ['b'], [call(f'f{k - 1}', 'a', 'b')])
           for k in range(1, 201)])
    yield 'g10-too-many-functions.4', nodes(
        main, functions=[relu_f] + [data(1, f'h{k}') + data(10, 'local')
                                    for k in range(10001)])
    yield 'g11-function-twice.2', nodes(main, functions=[relu_f, relu_f])
    yield 'g11-extra-input.2', nodes(
        node('f', ['x', 'x'], ['y'], domain='local'), functions=[relu_f])
    yield 'g11-missing-input.2', nodes(
        node('f', [], ['y'], domain='local'), functions=[relu_f])
    yield 'g11-extra-output.2', nodes(
        node('f', ['x'], ['y', 'z'], domain='local'), functions=[relu_f])
    yield 'g11-unknown-attribute.2', nodes(
        call('f', 'x', 'y', a_int('k', 1)), functions=[relu_f])
    yield 'g11-shadows-standard.2', nodes(
        RELU, functions=[function('Relu', ['a'], ['b'],
                                  [node('Abs', ['a'], ['b'])], domain='')])
    leaky = node('LeakyRelu', ['a'], ['b'],
                 attribute('alpha', 1, ref='slope'))
    yield 'g11-reference.0', nodes(
        call('f', 'x', 'y', a_float('slope', .5)),
        functions=[function('f', ['a'], ['b'], [leaky],
                            attributes=['slope'])])
    yield 'g11-reference-left-out.0', nodes(
        main, functions=[function('f', ['a'], ['b'], [leaky],
                                  attributes=['slope'])])
    yield 'g11-reference-wrong-type.2', nodes(
        call('f', 'x', 'y', a_int('slope', 1)),
        functions=[function('f', ['a'], ['b'], [leaky],
                            attributes=['slope'])])
    yield 'g11-reference-unknown.2', nodes(
        main, functions=[function('f', ['a'], ['b'], [leaky])])
    yield 'g11-reference-outside.2', attr_case(
        attribute('alpha', 1, ref='slope'), op='LeakyRelu')
    yield 'g11-undefined-in-body.2', nodes(
        main, functions=[function('f', ['a'], ['b'],
                                  [node('Relu', ['z'], ['b'])])])
    yield 'g12-branch-missing.2', nodes(cond, node('If', ['k'], ['y']))
    inner = graph([node('Relu', ['x'], ['t'])], [], [data(1, 't')])
    yield 'g12-constant-if.0', nodes(
        cond, node('If', ['k'], ['y'], a_graph('then_branch', inner),
                   a_graph('else_branch', inner)))
    yield 'g12-branch-outputs.2', nodes(
        cond, node('If', ['k'], ['y', 'z'], a_graph('then_branch', inner),
                   a_graph('else_branch', inner)))
    yield 'g12-shadowed-name.2', nodes(
        cond, node('If', ['k'], ['y'], a_graph('then_branch', graph(
            [node('Relu', ['x'], ['x'])], [], [data(1, 'x')]))))
    yield 'g12-undefined-in-branch.2', nodes(
        cond, node('If', ['k'], ['y'], a_graph('then_branch', graph(
            [node('Relu', ['q'], ['t'])], [], [data(1, 't')]))))


def attribute_cases():
    for name, axis in (('min', -1 << 63), ('max', (1 << 63) - 1),
                       ('rank', 2), ('below', -3)):
        yield f'a01-axis-{name}.2', attr_case(a_int('axis', axis))
    yield 'a02-perm-repeats.2', nodes(
        node('Transpose', ['x'], ['y'], a_ints('perm', [0, 0])))
    yield 'a02-perm-range.2', nodes(
        node('Transpose', ['x'], ['y'], a_ints('perm', [0, 7])))
    yield 'a02-perm-short.2', nodes(
        node('Transpose', ['x'], ['y'], a_ints('perm', [0])))
    image = value('x', [1, 4, 8, 8])
    kernel = tensor('w', [4, 4, 3, 3], FLOAT, raw(bytes(4 * 144)))

    def conv(*attributes):
        return nodes(node('Conv', ['x', 'w'], ['y'], *attributes),
                     inputs=(image,), init=(kernel,),
                     outputs=(value('y', [None] * 4),))

    yield 'a03-conv-good.0', conv()
    yield 'a03-stride-zero.2', conv(a_ints('strides', [0, 1]))
    yield 'a03-dilation-zero.2', conv(a_ints('dilations', [0, 1]))
    yield 'a03-kernel-zero.2', conv(a_ints('kernel_shape', [0, 3]))
    yield 'a04-group-zero.2', conv(a_int('group', 0))
    yield 'a04-group-negative.2', conv(a_int('group', -1))
    yield 'a04-group-not-dividing.2', conv(a_int('group', 3))
    yield 'a06-attribute-twice.2', attr_case(a_int('axis', 0),
                                             a_int('axis', 1))
    yield 'a06-two-values.2', attr_case(
        a_int('axis', 1) + data(4, 'text'))
    yield 'a06-type-contradicts.2', attr_case(
        attribute('axis', 1, integer(3, 1)))
    yield 'a06-type-zero.2', attr_case(attribute('axis', 0, integer(3, 1)))
    yield 'a06-no-name.2', attr_case(attribute('', 2, integer(3, 1)))
    yield 'a06-unknown-attribute.2', attr_case(a_int('axes', 1))
    yield 'a06-wrong-kind.2', attr_case(a_float('axis', 1))
    yield 'a06-nul-in-string.2', nodes(node(
        'Cast', ['x'], ['y'], a_int('to', 1), a_string('to', 'a\0b')))
    yield 'a06-tensor-missing.2', nodes(
        node('Constant', [], ['y'], attribute('value', 4)))
    yield 'a06-constant-empty.2', nodes(node('Constant', [], ['y']))
    yield 'a06-constant-two.2', nodes(node(
        'Constant', [], ['y'], a_int('value_int', 1),
        a_float('value_float', 1)))
    yield 'a06-many-attributes.4', attr_case(
        *(a_int(f'a{i}', 1) for i in range(300)))
    yield 'a07-negative-dim.2', nodes(RELU, inputs=(value('x', [-5]),))
    yield 'a07-any-dim.0', nodes(
        RELU, inputs=(value('x', [-1, 3]),),
        outputs=(value('y', [None, 3]),))
    yield 'a07-product.4', nodes(
        RELU, inputs=(value('x', [1 << 32, 1 << 32]),),
        outputs=(value('y', [None, None]),))
    yield 'a07-huge-dim.4', nodes(
        RELU, inputs=(value('x', [(1 << 63) - 1]),),
        outputs=(value('y', [None]),))
    yield 'a07-zero-size.0', nodes(
        RELU, inputs=(value('x', [0, 3]),), outputs=(value('y', [0, 3]),))
    yield 'a08-empty-constant.0', nodes(
        node('Shape', ['x'], ['y'], a_int('start', 2)),
        outputs=(value('y', [0], INT64),))
    yield 'a08-empty-initializer.0', nodes(
        node('Concat', ['w', 'x', 'v'], ['y'], a_int('axis', 0)),
        init=(tensor('w', [0, 3]), tensor('v', [2, 3], FLOAT, raw(W24))),
        outputs=(value('y', [4, 3]),))
    yield 'a08-empty-inner.0', nodes(
        node('MatMul', ['x', 'w'], ['y']), init=(tensor('w', [0, 3]),),
        inputs=(value('x', [2, 0]),))
    yield 'a08-empty-softmax.0', nodes(
        node('Softmax', ['x'], ['y']), inputs=(value('x', [2, 0]),),
        outputs=(value('y', [2, 0]),))
    yield 'a08-empty-batch.0', nodes(
        node('Conv', ['x', 'w'], ['y']), init=(kernel,),
        inputs=(value('x', [0, 4, 8, 8]),),
        outputs=(value('y', [None] * 4),))
    # No index is in range; that is for the call to say.
    yield 'a08-empty-gather.0', nodes(
        node('Gather', ['w', 'i'], ['y']),
        init=(tensor('w', [0, 3]), tensor('i', [2], INT64, raw(bytes(16)))),
        inputs=(), outputs=(value('y', [2, 3]),))
    # Heads of no elements: their size divides nothing.
    yield 'a08-empty-heads.0', nodes(
        node('Attention', ['x', 'x', 'x'], ['y'], a_int('q_num_heads', 3),
             a_int('kv_num_heads', 3)), inputs=(value('x', [1, 2, 0]),),
        outputs=(value('y', [1, 2, 0]),), opsets=((23, ''),))
    yield 'a08-empty-everywhere.0', nodes(
        RELU, inputs=(value('x', [0, 1 << 62]),),
        outputs=(value('y', [0, None]),))
    yield from operand_cases()
    yield from microsoft_cases()
    yield 'a11-rank.4', nodes(
        RELU, inputs=(value('x', [1] * 33),),
        outputs=(value('y', [1] * 33),))
    yield 'a12-cast-undefined.3', nodes(
        node('Cast', ['x'], ['y'], a_int('to', 0)))


def microsoft_cases():
    """Operators of another domain, which has to be imported."""
    ms, most = 'com.microsoft', (1 << 63) - 1
    u8 = 2

    def case(op, inputs, *attributes, opsets=((17, ''), (1, ms))):
        return nodes(node(op, inputs, ['y'], *attributes, domain=ms),
                     inputs=[value('x', [2, 3]), value('b', [2, 3], u8),
                             value('s', [1]), value('i', [1], INT64)],
                     opsets=opsets)

    yield 'a13-shared.0', case('Gelu', ['x'])
    yield 'a13-not-imported.2', case('Gelu', ['x'], opsets=((17, ''),))
    yield 'a13-unknown.3', case('NoSuchOperator', ['x'])
    yield 'a13-standard-only.3', case('Relu', ['x'])
    for name, k, n, bits, block in (
            ('huge', most, most, 4, 16), ('negative', -1, -5, 4, 16),
            ('bits', 3, 2, 9, 16), ('block', 3, 2, 4, most),
            ('empty-block', 3, 2, 4, 0), ('sizes', 3, 2, 4, 16)):
        yield f'a13-nbits-{name}.2', case(
            'MatMulNBits', ['x', 'b', 's'], a_int('K', k), a_int('N', n),
            a_int('bits', bits), a_int('block_size', block))
    yield 'a13-bnb4-block.2', case(
        'MatMulBnb4', ['x', 'b', 's'], a_int('K', 3), a_int('N', 2),
        a_int('block_size', most), a_int('quant_type', 0))
    yield 'a13-gather-bits.2', case(
        'GatherBlockQuantized', ['b', 'i', 's'], a_int('bits', 0))
    yield 'a13-concat-count.2', case(
        'QLinearConcat', ['s', 'b', 'b', 's', 'b', 'b'], a_int('axis', 0))
    for count in (0, -1, most, 5):
        yield f'a13-heads-{count}.2', nodes(
            node('Attention', ['x', 'w'], ['y'], a_int('num_heads', count),
                 domain=ms),
            inputs=[value('x', [2, 3, 4]), value('w', [4, 12])],
            outputs=(value('y', [2, 3, 4]),), opsets=((17, ''), (1, ms)))


def operand_cases():
    """Operands of integer lists that are constants of the model."""
    low, high = -1 << 63, (1 << 63) - 1

    def ints(name, *values):
        return tensor(name, [len(values)], INT64,
                      raw(struct.pack(f'<{len(values)}q', *values)))

    def case(op, *operands, attributes=(), rank=2):
        return nodes(
            node(op, ['x'] + [f'c{i}' for i in range(len(operands))], ['y'],
                 *attributes),
            init=[ints(f'c{i}', *v) for i, v in enumerate(operands)],
            outputs=(value('y', [None] * rank),))

    yield 'a13-reshape-negative.2', case('Reshape', [-2, 3])
    yield 'a13-reshape-two-rests.2', case('Reshape', [-1, -1])
    yield 'a13-reshape-not-dividing.2', case('Reshape', [4, -1])
    yield 'a13-reshape-other-size.2', case('Reshape', [5, 5])
    yield 'a13-reshape-overflow.4', case('Reshape', [1 << 32, 1 << 32])
    yield 'a13-reshape-copy-beyond.2', case('Reshape', [2, 3, 0], rank=3)
    yield 'a13-slice-extremes.0', case('Slice', [low, low], [high, high],
                                       [0, 1])
    yield 'a13-slice-step-zero.2', case('Slice', [0], [1], [0], [0])
    yield 'a13-slice-axis.2', case('Slice', [0], [1], [2])
    yield 'a13-slice-axis-twice.2', case('Slice', [0, 0], [1, 1], [1, -1])
    yield 'a13-slice-lengths.2', case('Slice', [0, 0], [1])
    yield 'a13-expand-mismatch.2', case('Expand', [2, 4])
    yield 'a13-expand-negative.2', case('Expand', [2, -3])
    yield 'a13-tile-negative.2', case('Tile', [1, -1])
    yield 'a13-tile-length.2', case('Tile', [1])
    yield 'a13-tile-overflow.4', case('Tile', [1 << 62, 1 << 62])
    yield 'a13-pad-length.2', case('Pad', [1, 1, 1])
    yield 'a13-pad-below-zero.2', case('Pad', [-3, 0, 0, 0])
    yield 'a13-unsqueeze-twice.2', case('Unsqueeze', [1, 1], rank=4)
    yield 'a13-unsqueeze-range.2', case('Unsqueeze', [1 << 31], rank=3)
    yield 'a13-squeeze-not-one.2', case('Squeeze', [0], rank=1)
    yield 'a13-split-sum.2', nodes(
        node('Split', ['x', 'c'], ['y', 'z']), init=(ints('c', 1, 2),),
        outputs=(value('y', [None, 3]),))
    yield 'a13-split-negative.2', nodes(
        node('Split', ['x', 'c'], ['y', 'z']), init=(ints('c', -1, 3),),
        outputs=(value('y', [None, 3]),))


def tensor_cases():
    yield 't01-good.0', weight(raw(W24))
    yield 't01-short.2', weight(raw(W24[:20]))
    yield 't01-long.2', weight(raw(W24 + b'\0\0\0\0'))
    yield 't01-part.2', weight(raw(W24[:23]))
    yield 't01-none.2', weight(b'')
    yield 't02-both.2', weight(raw(W24) + floats(4, range(6)))
    yield 't02-other-list.2', weight(floats(4, range(6)), kind=INT64)
    yield 't02-count.2', weight(floats(4, range(5)))
    yield 't02-list.0', weight(floats(4, range(6)))
    yield 't03-huge-dims.4', weight(raw(b'\0'), dims=(1 << 40, 1 << 40))
    yield 't03-large-dims.2', weight(raw(b'\0'), dims=(1 << 30,))
    yield 't03-negative-dim.2', weight(raw(W24), dims=(-2, -3))
    yield 't03-float6.3', weight(raw(b'\0' * 5), kind=27)
    yield 't03-int4.0', weight(raw(b'\0\0\0'), kind=22)
    yield 't03-int4-unpacked.2', weight(raw(b'\0' * 6), kind=22)
    yield 't03-int4-short.2', weight(raw(b'\0\0'), kind=22)
    yield 't04-int4-list.0', weight(packed(5, [255, 0, 136]), kind=22)
    yield 't04-int4-unpacked.2', weight(packed(5, [1] * 6), kind=22)
    yield 't04-int4-range.2', weight(packed(5, [255, 0, 256]), kind=22)
    yield 't04-float8-range.2', weight(packed(5, [1] * 5 + [256]), kind=17)
    yield 't04-bool.0', weight(raw(b'\0\1\2\xff\0\1'), kind=BOOL)
    yield 't04-int8-range.2', weight(packed(5, [0, 1, 2, 3, 4, 300]),
                                     kind=INT8)
    yield 't04-half-range.2', weight(packed(5, [0, 1, 2, 3, 4, 65536]),
                                     kind=FLOAT16)
    yield 't04-uint8-negative.2', weight(packed(5, [0, 1, 2, 3, 4, -1]),
                                         kind=UINT8)
    yield 't05-nan.0', weight(raw(struct.pack(
        '<6f', float('nan'), float('inf'), -0.0, 1e-45, -float('inf'), 1)))
    yield 't06-strings.3', weight(data(6, 'a') * 6, kind=STRING)
    yield 't07-segment.3', weight(raw(W24) + data(3, integer(1, 0)))
    yield 't07-no-type.2', weight(raw(W24), kind=0)
    yield 't07-unknown-type.2', weight(raw(W24), kind=9999)
    yield 't07-rank.4', weight(raw(W24[:4]), dims=[1] * 40)


def external_cases(root):
    """The files beside the models come first."""
    os.mkdir(f'{root}/sub')
    for name in 'w.bin', 'w..bin', 'sub/w.bin':
        with open(f'{root}/{name}', 'wb') as f:
            f.write(W24)
    open(f'{root}/empty.bin', 'wb').close()
    with open(f'{root}/sparse.bin', 'wb') as f:
        f.truncate(1 << 40)
    with open(f'{root}/hole.bin', 'wb') as f:
        f.truncate(64 << 20)
    os.symlink('/etc/passwd', f'{root}/out.bin')
    os.symlink('/etc', f'{root}/etc')
    os.symlink('sub/w.bin', f'{root}/within.bin')
    os.symlink('loop.bin', f'{root}/loop.bin')
    os.mkfifo(f'{root}/fifo.bin')

    def case(location=None, **keys):
        if location is not None:
            keys['location'] = location
        return weight(external(**keys))

    yield 'x00-good.0', case('w.bin')
    yield 'x00-offset.0', case('w.bin', offset=0, length=24)
    for i, bad in enumerate((
            '../../etc/passwd', '/etc/passwd', 'sub/../../w.bin', '..',
            'sub/..', '.', '', 'C:\\w.bin', '\\\\host\\w.bin',
            'file://w.bin', 'sub/', 'a/' * 2500 + 'w')):
        yield f'x01-location-{i}.2', case(bad)
    yield 'x01-dots-in-name.0', case('w..bin')
    yield 'x01-nul.2', case('w.bin\0x')
    yield 'x01-below.0', case('sub/w.bin')
    yield 'x02-link-out.2', case('out.bin', length=24)
    yield 'x02-link-out-in-path.2', case('etc/passwd', length=24)
    yield 'x02-link-within.0', case('within.bin')
    yield 'x02-link-loop.2', case('loop.bin')
    yield 'x04-fifo.5', case('fifo.bin')
    yield 'x04-directory.5', case('sub')
    yield 'x04-missing.5', case('none.bin')
    yield 'x04-empty.2', case('empty.bin')
    yield 'x04-sparse.4', case('sparse.bin', length=24)
    for i, bad in enumerate(('-1', '1e3', ' 12', '0x10', '+4', '12 ', '',
                             str((1 << 64) + 4), '1.0')):
        yield f'x05-offset-{i}.2', case('w.bin', offset=bad, length=24)
        yield f'x05-length-{i}.2', case('w.bin', length=bad)
    yield 'x05-offset-beyond.2', case('w.bin', offset=25)
    yield 'x05-sum-overflows.2', case('w.bin', offset=(1 << 63) - 1,
                                      length=(1 << 63) - 1)
    yield 'x05-length-short.2', case('w.bin', length=20)
    yield 'x05-length-long.2', case('w.bin', length=28)
    yield 'x05-rest-too-short.2', case('w.bin', offset=4)
    yield 'x06-key-twice.2', weight(
        external(location='w.bin') + data(13, pair('location', 'w..bin')))
    yield 'x06-unknown-key.0', case('w.bin', whatever='7')
    yield 'x06-checksum.0', case(
        'w.bin', checksum=hashlib.sha1(W24).hexdigest())
    yield 'x06-checksum-wrong.2', case('w.bin', checksum='0' * 40)
    yield 'x06-no-location.2', case(length=24)
    yield 'x07-both.2', weight(raw(W24) + external(location='w.bin'))
    count, size = 100, 4 << 20
    parts = [tensor(f'w{i}', [size], FLOAT, external(
        location='hole.bin', offset=i, length=4 * size)) for i in range(count)]
    yield 'x07-overlaps.4', nodes(
        node('Sum', [f'w{i}' for i in range(count)], ['y']), init=parts,
        outputs=(value('y', [size]),))
    yield 'x09-in-attribute.2', nodes(
        node('Constant', [], ['w'], a_tensor('value', tensor(
            '', [2, 3], FLOAT, external(location='../w.bin')))),
        node('Add', ['x', 'w'], ['y']))


def name_cases():
    for i, name in enumerate((
            'x*/ ;int evil; /*', '"', '%s%n', 'end\\', '??/', 'a\nb', 'int',
            '__x', '9', '$(id)', '-o/etc/x', '.globl main', '\x1b]0;t\x07')):
        yield f'n01-name-{i}.0', nodes(
            node('Relu', [name], ['y']), inputs=(value(name, [2, 3]),))
        yield f'n01-dim-{i}.0', nodes(
            RELU, inputs=(value('x', [name, 3]),),
            outputs=(value('y', [None, 3]),))
    yield 'n03-colliding.0', nodes(
        node('Sum', ['a.b', 'a_b', 'a/b', 'A_b'], ['y']),
        inputs=[value(n, [2, 3]) for n in ('a.b', 'a_b', 'a/b', 'A_b')])
    yield 'n04-long-name.4', nodes(
        node('Relu', ['x' * 5000], ['y']),
        inputs=(value('x' * 5000, [2, 3]),))
    yield 'n04-many-inputs.4', nodes(
        RELU, inputs=[X] + [value(f'i{k}', [1]) for k in range(5000)])


# Names of files that are no models, with the exit status.
SPECIAL = {'w01-directory.5.onnx': os.mkdir, 'w01-fifo.5.onnx': os.mkfifo,
           'w01-device.5.onnx': lambda p: os.symlink('/dev/zero', p),
           'w01-missing.5.onnx': lambda p: None}


def write_all(root):
    """Writes every case into root and returns their paths."""
    paths = []
    for cases in (wire_cases(), graph_cases(), function_cases(),
                  attribute_cases(), tensor_cases(), external_cases(root),
                  name_cases()):
        for name, content in cases:
            paths.append(f'{root}/{name}.onnx')
            with open(paths[-1], 'xb') as f:
                f.write(content)
    for name, make in SPECIAL.items():
        paths.append(f'{root}/{name}')
        make(paths[-1])
    return paths
