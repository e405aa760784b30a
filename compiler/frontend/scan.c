/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pre-scan in front of protobuf-c.  protobuf-c recurses on nested messages
 * without a limit, merges a singular message that is repeated in quadratic
 * time, turns two bytes into hundreds, and cuts a string at its first NUL.
 * This walk is driven by the same descriptors, keeps its own stack of bounded
 * depth, and looks at every byte of structure once.
 */
#include <string.h>

#include "frontend/internal.h"

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

/* What protobuf-c keeps per field while it parses one message. */
enum { SCRATCH_PER_FIELD = 80, ALLOC_OVERHEAD = 32 };

struct scan_frame {
	const ProtobufCMessageDescriptor *desc;
	size_t end;
	uint64_t seen; /* singular messages, by field index */
	uint64_t scratch;
};

struct walk {
	const uint8_t *p;
	size_t pos;
	struct scan_frame stack[MAX_WIRE_DEPTH];
	unsigned depth;
	uint64_t heap, scratch, heap_limit;
	enum exit_code code;
	const char *why;
};

static bool refuse(struct walk *s, enum exit_code code, const char *why)
{
	s->code = code;
	s->why = why;
	return false;
}

static bool read_varint(struct walk *s, size_t end, uint64_t *v)
{
	*v = 0;
	for (unsigned shift = 0; shift < 70; shift += 7) {
		if (s->pos == end)
			return refuse(s, EXIT_MODEL, "the file is cut off");
		uint8_t byte = s->p[s->pos++];

		if (shift == 63 && byte > 1)
			break;
		*v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return refuse(s, EXIT_MODEL, "a number has more than 64 bits");
}

static bool skip(struct walk *s, size_t end, uint64_t n)
{
	if (n > end - s->pos)
		return refuse(s, EXIT_MODEL, "a length exceeds the message");
	s->pos += (size_t)n;
	return true;
}

static bool charge(struct walk *s, uint64_t n)
{
	s->heap += n;
	if (s->heap + s->scratch > s->heap_limit)
		return refuse(s, EXIT_LIMIT,
			      "unpacked, the model is out of proportion");
	return true;
}

static enum wire wire_of(ProtobufCType t)
{
	switch (t) {
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT: return FIXED32;
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE: return FIXED64;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE: return BYTES;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_BOOL:
	case PROTOBUF_C_TYPE_ENUM: break;
	}
	return VARINT;
}

/* A list of scalars in one field. */
static bool scan_packed(struct walk *s, size_t end, enum wire wire)
{
	size_t size = end - s->pos;
	uint64_t v;

	if (wire != VARINT) {
		size_t each = wire == FIXED32 ? 4 : 8;

		if (size % each)
			return refuse(s, EXIT_MODEL,
				      "a list has a part of a number");
		return charge(s, size) && skip(s, end, size);
	}
	while (s->pos < end)
		if (!read_varint(s, end, &v) || !charge(s, 8))
			return false;
	return true;
}

static bool scan_message(struct walk *s, const ProtobufCFieldDescriptor *f,
			 size_t end)
{
	struct scan_frame *up = &s->stack[s->depth - 1];
	const ProtobufCMessageDescriptor *desc = f->descriptor;
	unsigned index = (unsigned)(f - up->desc->fields);

	if (f->label != PROTOBUF_C_LABEL_REPEATED) {
		if (up->seen >> (index & 63) & 1)
			return refuse(s, EXIT_MODEL,
				      "a field that may be there once is "
				      "repeated");
		up->seen |= UINT64_C(1) << (index & 63);
	}
	if (s->depth == MAX_WIRE_DEPTH)
		return refuse(s, EXIT_LIMIT,
			      "messages are nested more than 100 deep");
	s->stack[s->depth++] = (struct scan_frame){ desc, end, 0, 0 };
	return charge(s, desc->sizeof_message + ALLOC_OVERHEAD + 8);
}

/* The content of a length-delimited field. */
static bool scan_bytes(struct walk *s, const ProtobufCFieldDescriptor *f,
		       size_t outer_end)
{
	uint64_t n;

	if (!read_varint(s, outer_end, &n))
		return false;
	size_t start = s->pos;

	if (!skip(s, outer_end, n))
		return false;
	size_t end = s->pos;

	if (!f)
		return charge(s, n + 2 * ALLOC_OVERHEAD);
	if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
		s->pos = start;
		return scan_message(s, f, end);
	}
	if (f->type == PROTOBUF_C_TYPE_STRING &&
	    memchr(s->p + start, 0, (size_t)n))
		return refuse(s, EXIT_MODEL, "a name has a NUL byte in it");
	if (wire_of(f->type) == BYTES)
		return charge(s, n + 1 + 16 + ALLOC_OVERHEAD);
	s->pos = start;
	return scan_packed(s, end, wire_of(f->type));
}

static bool scan_field(struct walk *s)
{
	struct scan_frame *top = &s->stack[s->depth - 1];
	size_t end = top->end;
	uint64_t tag, v;

	if (!read_varint(s, end, &tag))
		return false;
	if (tag >> 3 == 0 || tag >> 32)
		return refuse(s, EXIT_MODEL, "a field has no valid number");

	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field(top->desc,
							(unsigned)(tag >> 3));
	unsigned wire = tag & 7;

	top->scratch += SCRATCH_PER_FIELD;
	s->scratch += SCRATCH_PER_FIELD;
	if (f && wire != wire_of(f->type) &&
	    !(wire == BYTES && f->label == PROTOBUF_C_LABEL_REPEATED))
		return refuse(s, EXIT_MODEL, "a field has the wrong type");
	if (!charge(s, f ? 8 : 3 * ALLOC_OVERHEAD))
		return false;
	switch (wire) {
	case VARINT: return read_varint(s, end, &v);
	case FIXED64: return skip(s, end, 8);
	case FIXED32: return skip(s, end, 4);
	case BYTES: return scan_bytes(s, f, end);
	default: return refuse(s, EXIT_MODEL, "a field has no valid type");
	}
}

struct scan_result wire_scan(const ProtobufCMessageDescriptor *desc,
			     const uint8_t *p, size_t size, uint64_t heap_limit)
{
	struct walk s = {
		.p = p, .depth = 1, .heap_limit = heap_limit, .code = EXIT_OK
	};

	s.stack[0] = (struct scan_frame){ desc, size, 0, 0 };
	s.heap = desc->sizeof_message;
	while (s.depth) {
		struct scan_frame *top = &s.stack[s.depth - 1];

		if (s.pos == top->end) {
			s.scratch -= top->scratch;
			s.depth--;
		} else if (!scan_field(&s)) {
			break;
		}
	}
	return (struct scan_result){ s.code, s.why, s.pos, s.heap };
}
