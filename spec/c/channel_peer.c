/* The example, for the specs. */
#include "../../examples/channel_peer.c"
