# SPDX-License-Identifier: Apache-2.0
"""What ONNX Runtime's tools are asked for: name -> maker(source, path,
reader).  The makers load these; a list of names does not need them."""
U8, S8 = "QUInt8", "QInt8"
QDQ, QOPERATOR = "QDQ", "QOperator"


def static(activations, weights, form, per_channel):
    def make(source, path, reader):
        from onnxruntime import quantization as q

        q.quantize_static(source, path, reader,
                          quant_format=q.QuantFormat[form],
                          activation_type=q.QuantType[activations],
                          weight_type=q.QuantType[weights],
                          per_channel=per_channel)
    return make


def dynamic(weights, per_channel):
    def make(source, path, reader):
        from onnxruntime import quantization as q

        q.quantize_dynamic(source, path, weight_type=q.QuantType[weights],
                           per_channel=per_channel,
                           extra_options={"MatMulConstBOnly": True})
    return make


def blocks(bits, form, symmetric):
    def make(source, path, reader):
        import onnx
        from onnxruntime import quantization as q
        from onnxruntime.quantization import matmul_nbits_quantizer as nbits

        m = nbits.MatMulNBitsQuantizer(
            onnx.load(source),
            algo_config=nbits.DefaultWeightOnlyQuantConfig(
                block_size=32, is_symmetric=symmetric, bits=bits,
                quant_format=q.QuantFormat[form]))
        m.process()
        m.model.save_model_to_file(path)
    return make


IMAGE = {
    "qdq-u8s8-channel": static(U8, S8, QDQ, True),
    "qdq-u8u8-tensor": static(U8, U8, QDQ, False),
    "qdq-s8s8-channel": static(S8, S8, QDQ, True),
    "qop-u8s8-channel": static(U8, S8, QOPERATOR, True),
    "qop-u8u8-tensor": static(U8, U8, QOPERATOR, False),
    "qop-s8s8-channel": static(S8, S8, QOPERATOR, True),
}
TEXT = {
    "qdq-u8s8-channel": static(U8, S8, QDQ, True),
    "qdq-u8u8-tensor": static(U8, U8, QDQ, False),
    "qdq-s8s8-channel": static(S8, S8, QDQ, True),
    "qop-u8s8-channel": static(U8, S8, QOPERATOR, True),
    "qop-u8u8-tensor": static(U8, U8, QOPERATOR, False),
    "dynamic-s8-channel": dynamic(S8, True),
    "dynamic-u8-tensor": dynamic(U8, False),
    "nbits4-qop": blocks(4, QOPERATOR, False),
    "nbits4-qop-symmetric": blocks(4, QOPERATOR, True),
    "nbits8-qop": blocks(8, QOPERATOR, False),
    "nbits4-qdq": blocks(4, QDQ, False),
}
# Much the same as BERT's.
MINILM = ("qdq-u8s8-channel", "qop-u8s8-channel", "dynamic-s8-channel",
          "nbits8-qop", "nbits4-qdq")
NETWORKS = {"resnet50": IMAGE, "mobilenetv2": IMAGE,
            "minilm_l6": {k: TEXT[k] for k in MINILM}, "bert_base": TEXT}
