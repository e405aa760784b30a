/* SPDX-License-Identifier: Apache-2.0 */
/* dlcc: compiles ONNX models to objects, and runs them. */
#include "driver.h"

int main(int argc, char **argv)
{
	struct arena a = { 0 };

	output_setup();
	struct options o = options_parse(&a, argc, argv);
	int status = o.run	 ? run_main(&o)
		   : o.calibrate ? calibrate_main(&o)
		   : o.inspect	 ? inspect_main(&o)
				 : compile_main(&o);

	arena_free(&a);
	return status;
}
