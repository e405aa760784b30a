# SPDX-License-Identifier: Apache-2.0
# Usage: awk -v dir=build/gen -f tools/registry.awk SOURCES...
# Scans for OP(name and PASS(name at the start of a line and for ATTR(name
# anywhere; writes one sorted X(name) list for each.
function add(kind, name) { if (!((kind, name) in seen)) { seen[kind, name] = 1; list[kind, ++n[kind]] = name } }
function write(kind, file,   i, j, t) {
	for (i = 2; i <= n[kind]; i++)
		for (j = i; j > 1 && list[kind, j] < list[kind, j - 1]; j--) {
			t = list[kind, j]; list[kind, j] = list[kind, j - 1]; list[kind, j - 1] = t
		}
	printf "" > (dir "/" file)
	for (i = 1; i <= n[kind]; i++) print "X(" list[kind, i] ")" > (dir "/" file)
}
/^OP\(/ { match($0, /^OP\([A-Za-z0-9_]+/); add("op", substr($0, 4, RLENGTH - 3)) }
/^PASS\(/ { match($0, /^PASS\([A-Za-z0-9_]+/); add("pass", substr($0, 6, RLENGTH - 5)) }
{ line = $0; while (match(line, /ATTR\([A-Za-z0-9_]+/)) { name = substr(line, RSTART + 5, RLENGTH - 5); if (name != "id") add("attr", name); line = substr(line, RSTART + RLENGTH) } }
END { write("op", "opcodes.inc"); write("pass", "passes.inc"); write("attr", "attrs.inc") }
