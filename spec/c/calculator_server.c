/* The example, as it is, for spec/sysv_interop_spec.lua. */
#include "../../examples/sysv_shm_calculator_server.c"
