// `assert`: in a kernel a failed one ends the launch with a report, on the host the process. No include guard: as with
// the C library's, each inclusion obeys NDEBUG as it is then.
#include "cuemu/runtime.h"

#undef assert
#ifdef NDEBUG
#define assert(expression) static_cast<void>(0)
#else
#define assert(expression) \
  ((expression) ? static_cast<void>(0) : cuemu::assertion_failed(#expression, cuemu::Site::here()))
#endif
