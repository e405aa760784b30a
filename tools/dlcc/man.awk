# SPDX-License-Identifier: Apache-2.0
# Usage: awk -f tools/dlcc/man.awk tools/dlcc/options.def tools/dlcc/dlcc.1.in
# Makes the man page: @COMPILE@, @RUN@, @CALIBRATE@ and @INSPECT@ become the
# rows of options.def.
function roff(s) {
	gsub(/\\/, "\\e", s)
	gsub(/-/, "\\-", s)
	return s
}
function list(command,   i, head) {
	for (i = 1; i <= n; i++) {
		if (flags[i] !~ command)
			continue
		head = "\\fB" roff((flags[i] ~ /ONE_DASH/ ? "-" : "--") name[i]) "\\fR"
		if (letter[i] != "0")
			head = "\\fB\\-" letter[i] "\\fR, " head
		if (arg[i] != "NULL")
			head = head "=\\fI" roff(arg[i]) "\\fR"
		print ".TP\n" head "\n" roff(help[i])
	}
}
/^OPTION\(/ {
	line = $0
	sub(/^OPTION\([A-Z_]+, "/, "", line)
	n++
	split(line, f, /", /)
	name[n] = f[1]
	letter[n] = substr(line, length(f[1]) + 4)
	rest = letter[n]
	letter[n] = rest ~ /^'/ ? substr(rest, 2, 1) : "0"
	sub(/^[^,]*, /, "", rest)
	arg[n] = rest ~ /^NULL/ ? "NULL" : substr(rest, 2, index(substr(rest, 2), "\"") - 1)
	sub(/^("[^"]*"|NULL), /, "", rest)
	flags[n] = substr(rest, 1, index(rest, ",") - 1)
	help[n] = rest
	sub(/^[^"]*"/, "", help[n])
	sub(/"\)$/, "", help[n])
	next
}
FILENAME ~ /options.def$/ { next }
/^@COMPILE@$/ { list("COMPILE"); next }
/^@RUN@$/ { list("RUN"); next }
/^@CALIBRATE@$/ { list("CALIBRATE"); next }
/^@INSPECT@$/ { list("INSPECT"); next }
{ print }
