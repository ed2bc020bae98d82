// The PTX of wgmma for each number of columns: an instruction names all of a thread's accumulators. Included by
// wgmma.cuh.
#pragma once

#include <cstdint>

namespace nnzoo {

#define NNZOO_WGMMA_NAMES_4 "%0, %1, %2, %3"
#define NNZOO_WGMMA_SUMS_4 "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
#define NNZOO_WGMMA_NAMES_8 NNZOO_WGMMA_NAMES_4 ", %4, %5, %6, %7"
#define NNZOO_WGMMA_SUMS_8 NNZOO_WGMMA_SUMS_4, "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
#define NNZOO_WGMMA_NAMES_12 NNZOO_WGMMA_NAMES_8 ", %8, %9, %10, %11"
#define NNZOO_WGMMA_SUMS_12 NNZOO_WGMMA_SUMS_8, "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11])
#define NNZOO_WGMMA_NAMES_16 NNZOO_WGMMA_NAMES_12 ", %12, %13, %14, %15"
#define NNZOO_WGMMA_SUMS_16 NNZOO_WGMMA_SUMS_12, "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
#define NNZOO_WGMMA_NAMES_20 NNZOO_WGMMA_NAMES_16 ", %16, %17, %18, %19"
#define NNZOO_WGMMA_SUMS_20 NNZOO_WGMMA_SUMS_16, "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19])
#define NNZOO_WGMMA_NAMES_24 NNZOO_WGMMA_NAMES_20 ", %20, %21, %22, %23"
#define NNZOO_WGMMA_SUMS_24 NNZOO_WGMMA_SUMS_20, "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23])
#define NNZOO_WGMMA_NAMES_28 NNZOO_WGMMA_NAMES_24 ", %24, %25, %26, %27"
#define NNZOO_WGMMA_SUMS_28 NNZOO_WGMMA_SUMS_24, "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27])
#define NNZOO_WGMMA_NAMES_32 NNZOO_WGMMA_NAMES_28 ", %28, %29, %30, %31"
#define NNZOO_WGMMA_SUMS_32 NNZOO_WGMMA_SUMS_28, "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
#define NNZOO_WGMMA_NAMES_40 NNZOO_WGMMA_NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define NNZOO_WGMMA_SUMS_40                                                                                       \
  NNZOO_WGMMA_SUMS_32, "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), \
      "+f"(d[39])
#define NNZOO_WGMMA_NAMES_48 NNZOO_WGMMA_NAMES_40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define NNZOO_WGMMA_SUMS_48                                                                                       \
  NNZOO_WGMMA_SUMS_40, "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), \
      "+f"(d[47])
#define NNZOO_WGMMA_NAMES_56 NNZOO_WGMMA_NAMES_48 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define NNZOO_WGMMA_SUMS_56                                                                                       \
  NNZOO_WGMMA_SUMS_48, "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), \
      "+f"(d[55])
#define NNZOO_WGMMA_NAMES_64 NNZOO_WGMMA_NAMES_56 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define NNZOO_WGMMA_SUMS_64                                                                                       \
  NNZOO_WGMMA_SUMS_56, "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), \
      "+f"(d[63])
#define NNZOO_WGMMA_NAMES_80 \
  NNZOO_WGMMA_NAMES_64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define NNZOO_WGMMA_SUMS_80                                                                                       \
  NNZOO_WGMMA_SUMS_64, "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), \
      "+f"(d[71]), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]),     \
      "+f"(d[79])
#define NNZOO_WGMMA_NAMES_96 \
  NNZOO_WGMMA_NAMES_80 ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define NNZOO_WGMMA_SUMS_96                                                                                       \
  NNZOO_WGMMA_SUMS_80, "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), \
      "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]),     \
      "+f"(d[95])
#define NNZOO_WGMMA_NAMES_112 \
  NNZOO_WGMMA_NAMES_96 ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"
#define NNZOO_WGMMA_SUMS_112                                                                                          \
  NNZOO_WGMMA_SUMS_96, "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]),  \
      "+f"(d[103]), "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), \
      "+f"(d[111])
#define NNZOO_WGMMA_NAMES_128 \
  NNZOO_WGMMA_NAMES_112       \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define NNZOO_WGMMA_SUMS_128                                                                                          \
  NNZOO_WGMMA_SUMS_112, "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]),           \
      "+f"(d[118]), "+f"(d[119]), "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), \
      "+f"(d[126]), "+f"(d[127])

// The operands after the accumulators are numbered on from them.
#define NNZOO_WGMMA_SHARED(columns, registers, type, o0, o1, o2, o3, o4)                                              \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, " o2 ", 0; wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." type \
               "." type " {" NNZOO_WGMMA_NAMES_##registers "}, " o0 ", " o1 ", p, 1, 1, " o3 ", " o4 "; }"            \
               : NNZOO_WGMMA_SUMS_##registers                                                                         \
               : "l"(a), "l"(b), "r"(accumulates), "n"(a_is_transposed), "n"(b_is_transposed))
#define NNZOO_WGMMA_REGISTERS(columns, registers, type, o0, o1, o2, o3, o4, o5, o6)                                    \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, " o5 ", 0; wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." type  \
               "." type " {" NNZOO_WGMMA_NAMES_##registers "}, {" o0 ", " o1 ", " o2 ", " o3 "}, " o4 ", p, 1, 1, " o6 \
                                                           "; }"                                                       \
               : NNZOO_WGMMA_SUMS_##registers                                                                          \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulates), "n"(b_is_transposed))

template <int columns>
struct WgmmaPtx;

#define NNZOO_WGMMA_SIZE(columns, registers, o0, o1, o2, o3, o4, o5, o6, o7)                                        \
  template <>                                                                                                       \
  struct WgmmaPtx<columns> {                                                                                        \
    template <bool is_half, int a_is_transposed, int b_is_transposed>                                               \
    static __device__ __forceinline__ void run(float (&d)[registers], std::uint64_t a, std::uint64_t b,             \
                                               int accumulates) {                                                   \
      if constexpr (is_half)                                                                                        \
        NNZOO_WGMMA_SHARED(columns, registers, "f16", o0, o1, o2, o3, o4);                                          \
      else                                                                                                          \
        NNZOO_WGMMA_SHARED(columns, registers, "bf16", o0, o1, o2, o3, o4);                                         \
    }                                                                                                               \
    template <bool is_half, int b_is_transposed>                                                                    \
    static __device__ __forceinline__ void run(float (&d)[registers], const std::uint32_t (&a)[4], std::uint64_t b, \
                                               int accumulates) {                                                   \
      if constexpr (is_half)                                                                                        \
        NNZOO_WGMMA_REGISTERS(columns, registers, "f16", o0, o1, o2, o3, o4, o5, o6);                               \
      else                                                                                                          \
        NNZOO_WGMMA_REGISTERS(columns, registers, "bf16", o0, o1, o2, o3, o4, o5, o6);                              \
    }                                                                                                               \
  };
NNZOO_WGMMA_SIZE(8, 4, "%4", "%5", "%6", "%7", "%8", "%9", "%10", "%11")
NNZOO_WGMMA_SIZE(16, 8, "%8", "%9", "%10", "%11", "%12", "%13", "%14", "%15")
NNZOO_WGMMA_SIZE(24, 12, "%12", "%13", "%14", "%15", "%16", "%17", "%18", "%19")
NNZOO_WGMMA_SIZE(32, 16, "%16", "%17", "%18", "%19", "%20", "%21", "%22", "%23")
NNZOO_WGMMA_SIZE(40, 20, "%20", "%21", "%22", "%23", "%24", "%25", "%26", "%27")
NNZOO_WGMMA_SIZE(48, 24, "%24", "%25", "%26", "%27", "%28", "%29", "%30", "%31")
NNZOO_WGMMA_SIZE(56, 28, "%28", "%29", "%30", "%31", "%32", "%33", "%34", "%35")
NNZOO_WGMMA_SIZE(64, 32, "%32", "%33", "%34", "%35", "%36", "%37", "%38", "%39")
NNZOO_WGMMA_SIZE(80, 40, "%40", "%41", "%42", "%43", "%44", "%45", "%46", "%47")
NNZOO_WGMMA_SIZE(96, 48, "%48", "%49", "%50", "%51", "%52", "%53", "%54", "%55")
NNZOO_WGMMA_SIZE(112, 56, "%56", "%57", "%58", "%59", "%60", "%61", "%62", "%63")
NNZOO_WGMMA_SIZE(128, 64, "%64", "%65", "%66", "%67", "%68", "%69", "%70", "%71")
NNZOO_WGMMA_SIZE(160, 80, "%80", "%81", "%82", "%83", "%84", "%85", "%86", "%87")
NNZOO_WGMMA_SIZE(192, 96, "%96", "%97", "%98", "%99", "%100", "%101", "%102", "%103")
NNZOO_WGMMA_SIZE(224, 112, "%112", "%113", "%114", "%115", "%116", "%117", "%118", "%119")
NNZOO_WGMMA_SIZE(256, 128, "%128", "%129", "%130", "%131", "%132", "%133", "%134", "%135")

}  // namespace nnzoo
