// Under the emulator, wrappers of instructions take the line of their caller as a last argument, for its reports.
#pragma once

#include "cuemu/cuda.h"

#ifdef NNZOO_CUEMU
#define NNZOO_SITE_ONLY cuemu::Site site = cuemu::Site::here()
#define NNZOO_SITE , NNZOO_SITE_ONLY
#else
#define NNZOO_SITE_ONLY
#define NNZOO_SITE
#endif
